"""Which pixels are the part: the background plane, the pieces, and what is said of them."""

import numpy as np
import pytest
import torch

import cmad
from cmad import ops
from cmad.background import Background
from cmad.foreground import Rule, find_part, outermost
from cmad.presets import PRESETS

SIZE = 120
row, column = np.mgrid[:SIZE, :SIZE]
RULES = {name: preset.preparation.rule for name, preset in PRESETS.items()}
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))


def scene(height, noise=1e-4, seed=0):
    """Points (H, W, 3) of a table half a metre away, with something ``height`` mm high on it.

    A pixel is 1.2 mm wide on the table; NaN where the height is.
    """
    z = 0.5 - np.asarray(height) / 1000
    z = z + noise * np.random.default_rng(seed).standard_normal((SIZE, SIZE))
    focal = SIZE * 0.5 / 0.14
    return torch.from_numpy(cmad.xyz_from_depth(z, (focal, focal, SIZE / 2 - 0.2, SIZE / 2 - 0.8)))


def box(top, left, bottom, right):
    return (row >= top) & (row < bottom) & (column >= left) & (column < right)


def find(xyz, background="plane", rule=None, seed=0):
    valid = (xyz != 0).any(-1)
    return find_part(xyz, valid, Background.of(background), rule or Rule(), seed)


def told(part):
    return [note.kind for note in part.notes]


MIDDLE = box(40, 30, 80, 90)


@each_rule
@pytest.mark.parametrize(("height", "kept"), [(4.97, 0), (5.03, MIDDLE.sum())])
def test_points_nearer_than_five_millimetres_to_the_plane_are_background(height, kept, rule):
    part = find(scene(MIDDLE * height, noise=0), rule=rule)
    assert int(part.keep.sum()) == kept
    assert part.keep[torch.from_numpy(MIDDLE)].sum() == kept
    np.testing.assert_allclose(part.plane, [0, 0, -1, 0.5], atol=1e-6)
    assert told(part) == []


@each_rule
def test_the_seed_decides_the_plane_of_a_noisy_background(rule):
    xyz = scene(MIDDLE * 20.0, noise=4e-3)
    keep = [find(xyz, rule=rule, seed=seed).keep for seed in (0, 0, 1, 2, 3)]
    assert torch.equal(keep[0], keep[1])
    assert not all(torch.equal(keep[0], other) for other in keep[2:])


@each_rule
def test_a_tilted_background_plane_is_removed(rule):
    xyz = scene(MIDDLE * 20.0)
    xyz[..., 2] += 0.3 * xyz[..., 0] - 0.2 * xyz[..., 1]
    np.testing.assert_array_equal(find(xyz, rule=rule).keep, MIDDLE)


def test_the_plane_is_sought_among_the_outermost_pixels_that_have_a_point():
    valid = torch.ones(40, 50, dtype=torch.bool)
    want = torch.ones(40, 50, dtype=torch.bool)
    want[10:-10, 10:-10] = False
    assert torch.equal(outermost(valid), want)  # the image's border
    valid[:6] = valid[:, -7:] = False
    inner = torch.zeros(40, 50, dtype=torch.bool)
    inner[6:, :-7] = True
    inner[16:-10, 10:-17] = False
    assert torch.equal(outermost(valid), inner)
    assert not outermost(torch.zeros(4, 4, dtype=torch.bool)).any()


MISSING = {
    "frame of 6": box(6, 6, SIZE - 6, SIZE - 6),
    "frame of 10": box(10, 10, SIZE - 10, SIZE - 10),
    "frame of 14": box(14, 14, SIZE - 14, SIZE - 14),
    "left quarter": box(0, 28, SIZE, SIZE),
    "corners": (row - 60) ** 2 + (column - 60) ** 2 < 62**2,
}


@pytest.mark.parametrize("seen", MISSING.values(), ids=list(MISSING))
@pytest.mark.parametrize("lost", [0, 0.3])
def test_a_background_is_found_where_the_border_has_no_points(seen, lost):
    gone = ~seen | (np.random.default_rng(1).random(seen.shape) < lost)
    xyz = scene(np.where(gone, np.nan, MIDDLE * 20.0))
    part = find(xyz)
    np.testing.assert_array_equal(part.keep, MIDDLE & ~gone)
    assert set(told(part)) <= {"inset"}
    explicit = find(xyz, 0.005)
    assert torch.equal(explicit.keep, part.keep)
    assert told(explicit) == []


def test_what_the_plane_is_taken_for_is_said_where_the_border_has_no_points():
    inset = find(scene(np.where(MISSING["frame of 10"], MIDDLE * 20.0, np.nan)))
    assert told(inset) == ["inset"]
    small = np.where(box(30, 20, 90, 100), MIDDLE * 20.0, np.nan)
    removed = find(scene(small))
    assert told(removed) == ["rim"]
    assert torch.equal(removed.keep, (scene(small) != 0).any(-1))  # all is looked at
    assert removed.plane is None
    assert told(find(scene(small), "none")) == []
    np.testing.assert_array_equal(find(scene(small), 0.005).keep, MIDDLE)


@each_rule
def test_a_part_whose_background_has_been_removed_is_kept_whole(rule):
    r2 = ((row - 60) ** 2 + (column - 60) ** 2) / 50**2
    shapes = {
        "flat": np.where(MIDDLE, 20.0, np.nan),
        "flat at the edge": np.where(box(60, 40, SIZE, 80), 20.0, np.nan),
        "dome": np.where(r2 < 1, 40 * np.sqrt(np.clip(1 - r2, 0, 1)), np.nan),
        "dome that fills the image": np.where(
            r2 < 1.4, 40 * np.sqrt(np.clip(1.4 - r2, 0, 2)), np.nan
        ),
        "one row": np.where(box(0, 40, 1, 80), 20.0, np.nan),
        "one column": np.where(box(0, 60, SIZE, 61), 20.0, np.nan),
    }
    for name, height in shapes.items():
        xyz = scene(height)
        part = find(xyz, rule=rule)
        valid = (xyz != 0).any(-1)
        lost = int((valid & ~part.keep).sum())  # the steep rim of a dome is noise
        assert lost <= (0.06 * int(valid.sum()) if "dome" in name else 0), name
        assert part.plane is None, name


def test_of_two_planes_the_farther_one_is_the_background():
    """A strip of material runs through the image; the belt is seen beside it."""
    for beside in (3, 8):
        web = (row >= beside) & (row < SIZE - beside)
        part = find(scene(np.where(web, 20.0, 0)))
        np.testing.assert_array_equal(part.keep, web)
        assert told(part) == ["farther"]
        np.testing.assert_allclose(part.plane, [0, 0, -1, 0.5], atol=2e-3)


def test_a_board_with_holes_that_fills_the_image_is_not_the_background():
    board = np.ones((SIZE, SIZE), bool)
    for r, c in ((30, 30), (30, 80), (80, 40), (85, 90)):
        board &= ~box(r, c, r + 12, c + 12)
    part = find(scene(np.where(board, 15.0, 0)))
    np.testing.assert_array_equal(part.keep, board)
    assert told(part) == ["farther"]


def test_a_floor_behind_the_table_and_a_hole_in_it_are_not_what_the_part_lies_on():
    floor = scene(np.where(column < 15, -400.0, MIDDLE * 20.0))
    np.testing.assert_array_equal(find(floor).keep, MIDDLE)
    hole = scene(np.where(box(5, 5, 20, 20), -30.0, MIDDLE * 20.0))
    np.testing.assert_array_equal(find(hole).keep, MIDDLE)
    wall = scene(np.where(column < 15, (15 - column) * 20.0, MIDDLE * 20.0))
    np.testing.assert_array_equal(find(wall).keep & torch.from_numpy(column >= 15), MIDDLE)


def test_hardly_anything_beside_the_background_is_said():
    board = find(scene(box(50, 50, 60, 70) * 20.0))  # parts on a board that fills the image
    assert told(board) == ["little"]
    assert "1.4% of the points" in board.notes[0].text
    assert told(find(scene(box(50, 50, 60, 70) * 20.0), 0.005)) == []


@pytest.mark.parametrize("missing", [5, 8, 20])
def test_a_stripe_without_points_does_not_hide_half_of_the_part(missing):
    height = np.where(box(40, 60, 80, 60 + missing), np.nan, MIDDLE * 20.0)
    part = find(scene(height))
    np.testing.assert_array_equal(part.keep, MIDDLE & ~box(40, 60, 80, 60 + missing))
    assert told(part) == []


def test_a_step_does_not_hide_half_of_the_part():
    height = np.where(box(40, 55, 80, 90), 35.0, MIDDLE * 10.0)
    np.testing.assert_array_equal(find(scene(height)).keep, MIDDLE)


def test_pieces_that_are_small_or_far_are_dropped_and_many_of_them_said():
    crumb = box(60, 95, 66, 101)  # 36 of 2400 pixels
    part = find(scene(np.where(crumb, 20.0, MIDDLE * 20.0)))
    np.testing.assert_array_equal(part.keep, MIDDLE)
    assert told(part) == []
    left, right = box(20, 15, 100, 45), box(40, 85, 80, 105)  # 47 mm apart
    apart = find(scene((left | right) * 20.0))
    np.testing.assert_array_equal(apart.keep, left)
    assert told(apart) == ["dropped"]
    assert "25% of the points beside the background" in apart.notes[0].text
    near = left | box(40, 65, 80, 85)
    np.testing.assert_array_equal(find(scene(near * 20.0)).keep, near)


def test_the_published_rule_keeps_one_cluster_and_says_what_it_drops():
    stripe = box(40, 60, 80, 68)
    part = find(scene(np.where(stripe, np.nan, MIDDLE * 20.0)), rule=RULES["official"])
    np.testing.assert_array_equal(part.keep, box(40, 30, 80, 60))
    assert told(part) == ["dropped"]
    assert "42% of the points" in part.notes[0].text


def test_a_chain_of_pieces_is_kept_from_the_largest_on():
    chain = box(40, 10, 80, 40) | box(45, 55, 75, 70) | box(45, 85, 75, 100)
    np.testing.assert_array_equal(find(scene(chain * 20.0)).keep, chain)


def test_noise_is_dropped():
    height = MIDDLE * 20.0
    height[20:24, 100:104] = 60  # 16 points in the air
    np.testing.assert_array_equal(find(scene(height)).keep, MIDDLE)


def test_a_part_seen_by_a_coarse_camera_is_kept_whole():
    """Pixels 2.5 mm apart: nowhere but at a dense spot are 30 points within 6 mm."""
    v, u = np.indices((60, 60))
    xyz = np.stack([u * 2.5e-3, v * 2.5e-3, 0.5 + 0 * u], -1).astype(np.float32)
    xyz[:10, :, 0] *= 0.3
    xyz[:10] *= np.arange(60)[None, :, None] < 20
    xyz[10:, :20] = xyz[10:, -5:] = xyz[-5:] = 0
    xyz = torch.from_numpy(xyz)
    label = ops.clusters(xyz[(xyz != 0).any(-1)], 0.006, 30)
    assert 0 < (label >= 0).sum() < len(label) / 2  # there is a cluster, of a few
    assert torch.equal(find(xyz).keep, (xyz != 0).any(-1))


def test_scattered_points_without_a_cluster_are_kept():
    xyz = torch.zeros(60, 60, 3)
    xyz[20:40:10, 20:40:10] = torch.rand(2, 2, 3, generator=torch.Generator().manual_seed(0)) + 0.5
    assert torch.equal(find(xyz).keep, (xyz != 0).any(-1))


@each_rule
def test_a_thin_part_takes_a_smaller_distance(rule):
    thin = scene(MIDDLE * 3.0)
    assert not find(thin, rule=rule).keep.any()
    np.testing.assert_array_equal(find(thin, 0.0015, rule).keep, MIDDLE)


@each_rule
def test_a_known_plane_and_all_behind_it_is_background(rule):
    xyz = scene(np.where(column < 15, -100.0, MIDDLE * 20.0))
    for plane in ((0, 0, -1, 0.5), (0, 0, 2, -1.0)):
        part = find(xyz, plane, rule)
        np.testing.assert_array_equal(part.keep, MIDDLE)
        np.testing.assert_allclose(part.plane, [0, 0, -1, 0.5], atol=1e-12)
    np.testing.assert_array_equal(find(xyz, (0, 0, -1, 0.55)).keep, column >= 15)
    near = Background("fixed", distance=0.03, plane=(0.0, 0.0, -1.0, 0.5))
    assert not find(xyz, near, rule).keep.any()


@each_rule
def test_none_and_regions_of_interest_keep_every_point(rule):
    xyz = scene(np.where(box(0, 0, 10, 10), np.nan, MIDDLE * 20.0))
    valid = (xyz != 0).any(-1)
    assert torch.equal(find(xyz, "none", rule).keep, valid)
    region = box(5, 5, 50, 60)
    np.testing.assert_array_equal(find(xyz, region, rule).keep, region & valid.numpy())
    corners = [(4.5, 4.5), (59.5, 4.5), (59.5, 49.5), (4.5, 49.5)]
    np.testing.assert_array_equal(find(xyz, corners, rule).keep, region & valid.numpy())
