"""`cmad.register`: the colours of another camera's image on the points' pixels."""

import math

import numpy as np
import pytest
import torch

import cmad
from cmad import notices, registration

K = (50.0, 60.0, 15.5, 11.5)
SIZE = (24, 32)


def rigid(turn=(0.0, 0.0, 0.0), move=(0.0, 0.0, 0.0)):
    """A transform by angles about x, y and z, then a translation in metres."""
    e = np.eye(4)
    for axis, angle in enumerate(turn):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        one = np.eye(3)
        one[[i, i, j, j], [i, j, i, j]] = (
            math.cos(angle),
            -math.sin(angle),
            math.sin(angle),
            math.cos(angle),
        )
        e[:3, :3] = one @ e[:3, :3]
    e[:3, 3] = move
    return e


def picture(size=SIZE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def wall(z=0.5, size=SIZE, k=K):
    return cmad.xyz_from_depth(np.full(size, z), k)


def stage(size=SIZE):
    """A wall with a block 0.2 m before it in the middle, and some missing points."""
    depth = np.full(size, 0.6)
    depth[8:16, 12:20] = 0.4
    depth += np.random.default_rng(1).uniform(0, 1e-3, size)
    depth[3, 5:9] = 0
    return cmad.xyz_from_depth(depth, K)


def by_loops(rgb, xyz, k, e, tolerance, cell):
    """The definition, point by point."""
    fx, fy, cx, cy = k
    h2, w2 = rgb.shape[:2]
    nearest, kept = {}, []
    for pixel in np.ndindex(xyz.shape[:2]):
        point = xyz[pixel].astype(float)
        if not point.any():
            continue
        x, y, z = (math.fsum(e[i, :3] * point) + e[i, 3] for i in range(3))
        if z <= 0:
            continue
        u, v = fx * x / z + cx, fy * y / z + cy
        if not (-0.5 <= u < w2 - 0.5 and -0.5 <= v < h2 - 0.5):
            continue
        at = math.floor(u + 0.5) // cell, math.floor(v + 0.5) // cell
        nearest[at] = min(nearest.get(at, math.inf), z)
        kept.append((pixel, u, v, z, at))
    result, seen = np.zeros((*xyz.shape[:2], 3), np.uint8), np.zeros(xyz.shape[:2], bool)
    for pixel, u, v, z, at in kept:
        if z > nearest[at] + max(tolerance, 2 * cell * z / min(fx, fy)):
            continue
        u, v = min(max(u, 0), w2 - 1), min(max(v, 0), h2 - 1)
        i, j = int(v), int(u)
        value = np.zeros(3)
        for di, dj in np.ndindex(2, 2):
            weight = abs(1 - di - (v - i)) * abs(1 - dj - (u - j))
            value += weight * rgb[min(i + di, h2 - 1), min(j + dj, w2 - 1)]
        result[pixel], seen[pixel] = np.rint(value), True
    return result, seen


@pytest.mark.parametrize(
    ("e", "k", "size", "cell"),
    [
        (rigid(), K, SIZE, 1),
        (rigid(move=(0.05, 0.01, 0.0)), K, SIZE, 2),
        (rigid((0.05, -0.2, 0.1), (0.1, 0.02, 0.1)), (48.0, 52.0, 15.0, 12.0), (26, 30), 1),
        (rigid((0, -0.1, 0), (0.06, 0, 0)), (200.0, 240.0, 63.5, 47.5), (96, 128), 4),
        (rigid((0, 0, 3.0)), (25.0, 30.0, 7.5, 5.5), (12, 16), 1),
    ],
)
@pytest.mark.filterwarnings("ignore:register")
def test_it_agrees_with_plain_loops(e, k, size, cell, monkeypatch):
    rgb, xyz = picture(size), stage()
    monkeypatch.setattr(registration, "_spacing", lambda *_: cell)
    got = cmad.register(rgb, xyz, k, e, tolerance=0.01)
    colours, seen = by_loops(rgb, xyz, k, e, 0.01, cell)
    np.testing.assert_array_equal(got.seen, seen)
    # One step where the last bit of a sum decides how a half is rounded.
    assert np.abs(got.rgb.astype(int) - colours).max() <= 1
    assert (got.rgb == colours).mean() > 0.999
    np.testing.assert_array_equal(got.valid, (xyz != 0).any(-1))
    assert 0.1 < got.seen.mean() < 1


def test_one_camera_for_both_gives_the_image_back_to_the_bit():
    rgb, depth = picture((96, 128)), np.random.default_rng(2).uniform(0.3, 1.2, (96, 128))
    k = (130.0, 125.0, 60.25, 49.75)
    for matrix in (k, [[130.0, 0, 60.25], [0, 125.0, 49.75], [0, 0, 1]]):
        for e in (np.eye(4), np.eye(4)[:3]):
            got = cmad.register(rgb, cmad.xyz_from_depth(depth, k), matrix, e)
            assert got.rgb.dtype == np.uint8
            assert (got.rgb == rgb).all()
            assert got.seen.all()
            assert got.uncoloured == 0


def test_a_hand_worked_row():
    # A camera with f = 10 and its centre at pixel (1, 0), moved 0.1 m to the left: what is 1 m
    # away moves by 10 * 0.1 / 1 = 1 pixel to the right, what is 2 m away by half a pixel.
    rgb = np.array([[[10, 0, 0], [20, 0, 0], [40, 0, 0], [80, 0, 0]]], np.uint8)
    xyz = cmad.xyz_from_depth(np.array([[1.0, 2.0, 1.0, 1.0]]), (10, 10, 1, 0))
    got = cmad.register(rgb, xyz, (10, 10, 1, 0), rigid(move=(0.1, 0, 0)))
    # Columns 0, 1, 2, 3 are seen at 1, 1.5, 3 and 4: the last is outside.
    assert got.rgb[0, :, 0].tolist() == [20, 30, 80, 0]
    assert got.seen.tolist() == [[True, True, True, False]]
    assert got.uncoloured == 0.25


def test_the_image_reaches_half_a_pixel_beyond_its_centres():
    rgb = np.array([[[10, 0, 0], [90, 0, 0]]], np.uint8)
    for shift, want in ((-0.49, [10, 51]), (-0.51, [0, 49]), (0.49, [49, 90]), (0.51, [51, 0])):
        xyz = cmad.xyz_from_depth(np.ones((1, 2)), (10, 10, 0, 0))
        k = (10, 10, shift, 0)
        if 0 in want:
            with pytest.warns(UserWarning, match="50% of the points have no colour"):
                got = cmad.register(rgb, xyz, k, np.eye(4))
        else:
            got = cmad.register(rgb, xyz, k, np.eye(4))
        assert got.rgb[0, :, 0].tolist() == want
        assert got.seen[0].tolist() == [n > 0 for n in want]


@pytest.mark.parametrize("scale", [0.5, 1, 4])
def test_what_a_nearer_surface_hides_has_no_colour(scale):
    # The colour camera stands 0.1 m to the right. The block, at 0.4 m, hides from it a strip of
    # the wall at 0.6 m to the left of the block: 50 * 0.1 * (1/0.4 - 1/0.6) = 4.2 columns.
    k = (50 * scale, 60 * scale, 16 * scale - 0.5, 12 * scale - 0.5)
    rgb = np.full((round(24 * scale), round(32 * scale), 3), 200, np.uint8)
    got = cmad.register(rgb, stage(), k, rigid(move=(-0.1, 0, 0)))
    hidden = (got.valid & ~got.seen)[8:16]
    assert hidden[1:-1, 8:12].all()  # also where the image is finer than the points
    assert not hidden[:, 12:].any()  # the block itself, and the wall to its right
    outside = 50 * 0.1 / 0.6  # columns of the wall, on the left
    assert (
        got.seen[:7, math.ceil(outside) + 1 : -1].sum()
        == got.valid[:7, math.ceil(outside) + 1 : -1].sum()
    )


def test_a_steep_surface_hides_nothing_of_itself():
    # A wall that recedes by 60 degrees, seen by a camera that sees it as well.
    columns = (np.arange(64) - 31.5) / 60
    depth = np.broadcast_to(0.5 / (1 - math.tan(math.radians(60)) * columns / 2), (48, 64))
    k = (60.0, 60.0, 31.5, 23.5)
    for size, f in (((48, 64), 60.0), ((24, 32), 30.0)):
        camera = (f, f, (size[1] - 1) / 2, (size[0] - 1) / 2)
        xyz = cmad.xyz_from_depth(depth, k)
        got = cmad.register(picture(size), xyz, camera, rigid(move=(-0.01, 0, 0)))
        away = np.arange(64) >= 4  # the first columns lie outside the image
        assert got.seen[:, away].all()


def test_tolerance_decides_what_is_hidden():
    # Two points in one line of sight, 20 mm apart; a fine image, so that its cells decide nothing.
    xyz = np.array([[[0, 0, 0.5], [0, 0, 0.52]]], np.float32)
    rgb, k = picture((3, 3)), (5000.0, 5000.0, 1.0, 1.0)
    with pytest.warns(UserWarning, match=r"50% of the points have no colour \(50% are hidden"):
        strict = cmad.register(rgb, xyz, k, np.eye(4))
    assert strict.seen.tolist() == [[True, False]]
    assert cmad.register(rgb, xyz, k, np.eye(4), tolerance=0.03).seen.all()


def test_what_is_behind_the_camera_has_no_colour():
    # Of varied depth: many points of one z behind the camera are taken for a sensor's mark.
    xyz = cmad.xyz_from_depth(np.random.default_rng(0).uniform(0.5, 0.502, SIZE), K)
    xyz[:12, :, :] *= -1  # would project into the image as well
    with pytest.warns(UserWarning, match=r"50% of the points have no colour \(0% are hidden"):
        got = cmad.register(picture(), xyz, K, np.eye(4))
    assert not got.seen[:12].any()
    assert got.seen[12:].all()


def test_missing_points_have_no_colour_and_count_for_nothing():
    xyz = wall()
    xyz[0], xyz[1] = 0, np.nan
    got = cmad.register(picture(), xyz, K, np.eye(4))
    assert not got.valid[:2].any()
    assert not got.seen[:2].any()
    assert not got.rgb[:2].any()
    assert got.valid[2:].all()
    assert got.uncoloured == 0


def test_tensors_and_floats_are_taken():
    rgb, xyz = picture(), wall()
    want = cmad.register(rgb, xyz, K, rigid(move=(0.004, 0, 0)))
    for image, points in (
        (torch.from_numpy(rgb), torch.from_numpy(xyz)),
        (rgb / 255, xyz.astype(np.float64)),
        ((rgb / 255).astype(np.float32), xyz),
    ):
        got = cmad.register(image, points, K, rigid(move=(0.004, 0, 0)))
        np.testing.assert_array_equal(got.rgb, want.rgb)


@pytest.mark.filterwarnings("ignore:register")
def test_a_move_of_both_frames_changes_nothing():
    rgb, xyz = picture(), stage()
    e, move = rigid((0, 0.1, 0), (0.05, 0, 0)), rigid((0.3, -0.2, 0.4), (0.1, 0.2, -0.1))
    there = (xyz != 0).any(-1)
    moved = np.where(there[..., None], xyz @ move[:3, :3].T + move[:3, 3], 0)
    a = cmad.register(rgb, xyz, K, e)
    b = cmad.register(rgb, moved, K, e @ np.linalg.inv(move))
    assert (a.seen == b.seen).mean() > 0.995  # float32 at a threshold
    both = a.seen & b.seen
    assert np.abs(a.rgb[both].astype(int) - b.rgb[both]).max() <= 1


def test_many_points_without_colour_are_told_once_a_run():
    e = rigid(move=(0.3, 0, 0))
    run = notices.run()(lambda: [cmad.register(picture(), wall(), K, e) for _ in range(3)])
    with pytest.warns(UserWarning, match="register: ") as seen:
        got = run()[0]
    assert len(seen) == 1
    assert f"register: {got.uncoloured:.0%} of the points have no colour" in str(seen[0].message)
    assert str(seen[0].message).endswith("the same for 2 more")
    assert 0.3 < got.uncoloured < 0.95


def test_the_inverse_extrinsics_are_recognised():
    e = rigid((0.1, 1.2, 0), (-0.1, 0, 0.02))
    xyz = wall(0.5)
    points = (xyz - e[:3, 3]) @ e[:3, :3]  # in a frame from which e leads back
    back = np.linalg.inv(e)
    assert cmad.register(picture(), points, K, e).uncoloured == 0
    with pytest.raises(ValueError, match=r"the inverse of extrinsics would show 100%"):
        cmad.register(picture(), points, K, back)


def test_nearly_no_colour_is_an_error():
    with pytest.raises(ValueError, match=r"100% of the points .* camera\); look at"):
        cmad.register(picture(), wall(), K, rigid(move=(5, 0, 0)))


def scaled(e, by):
    e = e.copy()
    e[:3, :3] *= by
    return e


def with_last_row(row):
    e = np.eye(4)
    e[3] = row
    return e


def sheared():
    e = np.eye(4)
    e[0, :2] = math.cos(0.1), math.sin(0.1)
    return e


@pytest.mark.parametrize(
    ("e", "message"),
    [
        (np.eye(3), r"extrinsics must be \(4, 4\) or \(3, 4\), got \(3, 3\)"),
        (np.full((4, 4), np.nan), "extrinsics must be finite"),
        (scaled(np.eye(4), 1000), r"rows have the lengths 1000, 1000, 1000: it scales"),
        (scaled(np.eye(4), 0.99), "it scales"),
        (np.diag([1.0, -1, 1, 1]), "it mirrors .* left-handed"),
        (sheared(), "its rows are not square"),
        (rigid(move=(0.1, 0, 0)).T, "last row .* it is transposed"),
        (with_last_row((0, 0, 1, 1)), r"last row of extrinsics must be \(0, 0, 0, 1\)"),
        (rigid(move=(35, 0, 2)), r"translation must be in metres, but it is 35\.\d* long"),
    ],
)
def test_extrinsics_that_are_no_rigid_transform_are_refused(e, message):
    with pytest.raises(ValueError, match=f"register: .*{message}"):
        cmad.register(picture(), wall(), K, e)


def test_a_rotation_typed_with_four_digits_is_taken():
    e = np.round(rigid((0.01, 0.02, 0.03)), 4)
    assert cmad.register(picture(), wall(), K, e).seen.any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rgb": np.zeros((4, 4), np.uint8)}, ValueError, "rgb"),
        ({"rgb": picture().astype(np.int32)}, TypeError, "rgb must be uint8"),
        ({"rgb": picture() / 100.0}, ValueError, r"rgb must be in \[0, 1\]"),
        ({"xyz": np.zeros((4, 4, 3), np.float32)}, ValueError, "xyz has no valid point"),
        ({"xyz": wall() * 1000}, ValueError, "xyz must be in metres"),
        ({"xyz": np.zeros((4, 4, 3), int)}, TypeError, "xyz must be float"),
        ({"intrinsics": (1, 2, 3)}, ValueError, "intrinsics must be"),
        ({"intrinsics": (-1, 2, 3, 4)}, ValueError, "focal lengths must be positive"),
        ({"tolerance": -0.1}, ValueError, "tolerance must be at least 0"),
        ({"tolerance": math.nan}, ValueError, "tolerance must be at least 0"),
    ],
)
def test_what_cannot_be_used_is_named(change, error, message):
    arguments = {"rgb": picture(), "xyz": wall(), "intrinsics": K, "extrinsics": np.eye(4)}
    with pytest.raises(error, match=f"register: .*{message}"):
        cmad.register(**(arguments | change))
