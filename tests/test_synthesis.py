"""Anomalies on good parts: where, of what, and what may never happen to the points."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmad.synthesis import KINDS, Synthesis, synthesise
from cmad.synthesis.scenes import closed
from cmad.testing.synthesis import pixel_by_pixel
from cmad.types import Frame, Window

S = 64
FOCAL = 200.0
TABLE = 0.5
PLANE = (0.0, 0.0, -1.0, TABLE)
BIG = Synthesis(area=(0.004, 0.05))  # so small an image has small regions else


def frame(i=0, *, size=S, image=None, rays=True, radius=0.4, plane=PLANE, holes=0.05):
    """A ribbed dome 3 cm high on a table half a metre away; part ``i`` lies a little aside."""
    rng = np.random.default_rng(i)
    row, column = (np.mgrid[:size, :size] + 0.5) / size
    distance = np.hypot(row - 0.5, column - 0.47 - 0.02 * (i % 4)) / radius
    z = TABLE - 0.03 * np.sqrt(np.clip(1 - distance**2, 0, 1)) - 1e-3 * np.sin(60 * column)
    valid = (distance < 0.95) & (rng.random((size, size)) > holes)
    x, y = (column - 0.5) * size / FOCAL, (row - 0.5) * size / FOCAL
    scale = z if rays else TABLE
    xyz = np.where(valid[..., None], np.stack([x * scale, y * scale, z], -1), 0).astype(np.float32)
    at = np.linspace(0, 1, image or size)
    red = np.broadcast_to(at[:, None], (len(at), len(at)))
    rgb = np.stack([255 * red, 255 * red.T, np.full_like(red, 20 * (i + 1))]).astype(np.uint8)
    return Frame(
        torch.from_numpy(rgb),
        torch.from_numpy(xyz),
        torch.from_numpy(valid),
        Window(size, 0, 0, size, size),
        f"dome-{i}",
        plane,
    )


def frames(count=4, **how):
    return [frame(i, **how) for i in range(count)]


def same(a, b):
    return torch.equal(a.mask, b.mask) and all(
        torch.equal(getattr(a.frame, name), getattr(b.frame, name))
        for name in ("rgb", "xyz", "valid")
    )


def test_it_makes_what_loops_over_the_pixels_make():
    parts = [frame(i, size=32) for i in range(3)]
    how = replace(BIG, kinds=KINDS, corruptions=5, area=(0.02, 0.1))
    with pixel_by_pixel():
        slow = list(synthesise(parts, how, seed=3, count=9))
    for a, b in zip(synthesise(parts, how, seed=3, count=9), slow, strict=True):
        assert torch.equal(a.mask, b.mask)
        assert (a.frame.rgb.int() - b.frame.rgb.int()).abs().max() <= 1  # sums round differently
        torch.testing.assert_close(a.frame.xyz, b.frame.xyz, atol=1e-6, rtol=0)


def test_a_part_depends_on_seed_and_number_only():
    parts = frames()
    copies = [Frame(**{**vars(f), "rgb": f.rgb.clone(), "xyz": f.xyz.clone()}) for f in parts]
    few, many = synthesise(parts, BIG, seed=5, count=3), synthesise(parts, BIG, seed=5, count=20)
    assert (len(few), len(many)) == (3, 20)
    backwards = [many[i] for i in reversed(range(20))][::-1]
    for i, part in enumerate(many):
        assert same(part, backwards[i])
        assert i >= 3 or same(part, few[i])
    assert same(many[-1], backwards[19])
    assert [p.target for p in many[2:4]] == [p.target for p in backwards[2:4]]
    assert not same(many[0], many[4])
    assert not same(synthesise(parts, BIG, seed=6, count=1)[0], few[0])
    for a, b in zip(parts, copies, strict=True):  # what came in stays as it was
        assert torch.equal(a.rgb, b.rgb)
        assert torch.equal(a.xyz, b.xyz)
    with pytest.raises(IndexError):
        few[3]


def test_each_part_has_its_turn_before_one_comes_again():
    made = list(synthesise(frames(5), BIG, count=15))
    turns = [tuple(p.target for p in made[i : i + 5]) for i in (0, 5, 10)]
    assert [sorted(turn) for turn in turns] == [list(range(5))] * 3
    assert len(set(turns)) > 1
    assert made[7].frame.name == f"dome-{made[7].target}+0007"


@pytest.mark.parametrize("rays", [True, False], ids=["camera", "scanner"])
def test_points_stay_on_their_lines_of_sight_in_their_scene_and_holes_stay(rays):
    parts = frames(rays=rays)
    moved = 0
    for part in synthesise(parts, replace(BIG, displacement=(0.001, 0.05)), count=60):
        good, made = parts[part.target], part.frame
        old, new, valid = good.xyz.double(), made.xyz.double(), good.valid
        assert torch.equal(made.valid, valid)
        assert (new[~valid] == 0).all()
        assert (new[valid][:, 2] != 0).all()
        outside = ~part.mask
        assert torch.equal(made.xyz[outside], good.xyz[outside])
        if rays:
            seen = [(p[valid][:, :2] / p[valid][:, 2:]) for p in (old, new)]
        else:
            seen = [p[valid][:, :2] for p in (old, new)]
        torch.testing.assert_close(seen[0], seen[1], atol=1e-6, rtol=0)
        z, was = new[valid][:, 2], old[valid][:, 2]
        assert z.min() >= was.min()
        assert z.max() <= np.float32(TABLE)  # the table was seen, nothing is behind it
        moved += int((z != was).sum())
    assert moved > 1000


def test_without_a_plane_no_point_leaves_the_depths_of_the_part():
    parts = frames(plane=None)
    for part in synthesise(parts, replace(BIG, displacement=(0.01, 0.1)), count=30):
        old = parts[part.target]
        was, z = (f.xyz[old.valid][:, 2] for f in (old, part.frame))
        assert was.min() <= z.min()
        assert z.max() <= was.max()


def test_a_depth_range_of_the_user_bounds_and_frees_the_points():
    parts = frames(plane=None)
    how = replace(BIG, kinds=("shape",), displacement=(0.02, 0.1), depth_range=(0.44, 0.56))
    depths = torch.cat([p.frame.xyz[p.frame.valid][:, 2] for p in synthesise(parts, how, count=30)])
    assert np.float32(0.44) <= depths.min() < 0.45
    assert 0.55 < depths.max() <= np.float32(0.56)
    with pytest.raises(ValueError, match=r"dome-\d: depth_range must hold the part, whose z is"):
        synthesise(parts, replace(how, depth_range=(0.48, 0.6)), count=1)[0]


def test_each_kind_changes_what_it_says_inside_the_mask_only():
    parts = frames()
    made = list(synthesise(parts, replace(BIG, kinds=KINDS), count=30))
    assert [p.kind for p in made] == list(KINDS) * 10
    for part in made:
        good = parts[part.target]
        assert part.mask.dtype == torch.bool
        assert (part.mask & good.valid).any()
        assert not part.mask[~torch.from_numpy(closed(good.valid.numpy()))].any()
        coloured = (part.frame.rgb != good.rgb).any(0)
        moved = (part.frame.xyz != good.xyz).any(-1)
        assert not coloured[~part.mask].any()
        assert coloured.any() == (part.kind != "shape")
        assert moved.any() == (part.kind != "colour")
        if part.kind == "colour":
            difference = (part.frame.rgb.float() - good.rgb.float()).abs()
            assert difference[:, part.mask].mean() >= 4


def test_regions_have_the_size_and_number_asked_for():
    parts = frames(holes=0)
    for regions in ((1, 1), (3, 3)):
        how = replace(BIG, regions=regions, area=(0.01, 0.02))
        made = list(synthesise(parts, how, count=20))
        areas = np.array([int(p.mask.sum()) for p in made]) / S**2
        assert (areas >= 0.0095).all()
        assert (areas <= 0.0205 * regions[1]).all()
        assert areas.mean() > 0.011 * regions[0]


def sources_of(made, good):
    """Of a part pasted without corruption: rows, columns and parts that its pixels came from."""
    red, green, blue = made.frame.rgb.numpy().astype(float)[:, made.mask.numpy()] / 255
    row, column = np.nonzero(made.mask.numpy())
    return np.stack([red * (S - 1) - row, green * (S - 1) - column]), 255 * blue / 20 - 1


def test_it_is_cut_from_other_parts_and_one_part_from_another_place():
    plain = replace(BIG, corruptions=0, blend=(0, 0), regions=(1, 1), area=(0.004, 0.02))
    parts = frames()
    for made in synthesise(parts, plain, count=20):
        _, part = sources_of(made, parts[made.target])
        assert made.target not in part.round()
        assert len(set(part.round())) == 1
    alone = [frame(2)]
    for made in synthesise(alone, plain, count=20):
        shift, part = sources_of(made, alone[0])
        assert set(part.round()) == {2}
        assert (np.ptp(shift, axis=1) <= 1.01).all()  # all from one place, up to rounding
        row, column = np.nonzero(made.mask.numpy())
        width = max(np.ptp(row), np.ptp(column)) + 1
        assert np.abs(shift.mean(1)).max() >= 0.6 * width  # where it fits best of the places tried


def test_other_sources_are_cut_from_in_what_they_have():
    parts = frames()
    plain = replace(BIG, corruptions=0, blend=(0, 0))
    image = Frame(
        torch.full((3, 40, 50), 200, dtype=torch.uint8), None, None, Window(50, 5, 0, 40, 50)
    )
    for made in synthesise(parts, plain, count=8, sources=[image]):
        assert (made.frame.rgb[:, made.mask] == 200).all()
        assert (made.frame.xyz != parts[made.target].xyz).any()
    cloud = replace(frame(7, size=96), rgb=None)
    for made in synthesise(parts, plain, count=8, sources=[cloud]):
        assert made.frame.xyz.shape == (S, S, 3)
        assert made.target not in sources_of(made, parts[made.target])[1].round()


def test_images_finer_than_the_points_are_pasted_on_the_same_places():
    parts = frames(image=2 * S)
    for made in synthesise(parts, replace(BIG, kinds=("colour",)), count=10):
        changed = (made.frame.rgb != parts[made.target].rgb).any(0)
        fine = made.mask.repeat_interleave(2, 0).repeat_interleave(2, 1)
        assert changed.any()
        assert not changed[~fine].any()
    plain = replace(BIG, kinds=("colour",), corruptions=0, blend=(0, 0), area=(0.002, 0.02))
    # Far apart, so that what is between them is on neither.
    parts = [
        replace(f, xyz=f.xyz.roll(step, 1), valid=f.valid.roll(step, 1))
        for f, step in zip(frames(2, image=2 * S, radius=0.15), (-20, 20), strict=True)
    ]
    for made in synthesise(parts, plain, count=10):
        fine = made.mask.repeat_interleave(2, 0).repeat_interleave(2, 1)
        red, green, blue = made.frame.rgb[:, fine].double() / 255
        row, column = (
            ((2 * S - 1) * red).round().int() // 2,
            ((2 * S - 1) * green).round().int() // 2,
        )
        for i in set((255 * blue / 20 - 1).round().int().tolist()) - {made.target}:
            cut = (255 * blue / 20 - 1).round() == i
            part = torch.from_numpy(closed(parts[i].valid.numpy()))
            assert part[row[cut], column[cut]].all(), "it is cut from the part"


def test_images_without_points_are_pasted_on_anywhere_but_beside_the_image():
    window = Window(S, 16, 0, S // 2, S)
    parts = [replace(f, xyz=None, valid=None, plane=None, window=window) for f in frames()]
    for made in synthesise(parts, replace(BIG, kinds=("colour",)), count=10):
        assert made.mask.any()
        assert not made.mask[:16].any()
        assert not made.mask[48:].any()
        assert made.frame.xyz is None
    with pytest.raises(ValueError, match=r"kinds both take points, .* ask for kinds=\('colour',\)"):
        synthesise(parts, count=1)
    clouds = [replace(f, rgb=None) for f in frames()]
    with pytest.raises(
        ValueError, match=r"kinds both take an image, .* ask for kinds=\('shape',\)"
    ):
        synthesise(clouds, count=1)
    shape = replace(BIG, kinds=("shape",))
    assert synthesise(clouds, shape, count=1)[0].frame.rgb is None


def test_parts_that_are_too_small_are_left_out_counted_and_named():
    parts = [frame(0), frame(1, radius=0.02), frame(2), frame(3, radius=0.01)]
    with pytest.warns(UserWarning, match="2 of 4 parts are not used to synthesise .* dome-1"):
        made = synthesise(parts, BIG, count=6)
    assert made.usable == (0, 2)
    assert [text.split(":")[0] for text in made.skipped] == ["dome-1", "dome-3"]
    assert {p.target for p in made} == {0, 2}
    with pytest.raises(ValueError, match=r"none of 1 parts can be used: dome-1: the part is 0\.\d"):
        synthesise([parts[1]], BIG)
    with pytest.raises(ValueError, match="needs at least one good part, got none"):
        synthesise([], BIG)


def test_where_nothing_fits_it_is_said_why():
    flat = frame(0, holes=0)
    z = torch.where(flat.valid, TABLE, 0.0)
    xyz = torch.where(flat.valid[..., None], flat.xyz / flat.xyz[..., 2:].clamp(1e-9) * TABLE, 0.0)
    xyz[..., 2] = z
    flat = replace(flat, xyz=xyz, plane=None)
    made = synthesise([flat], replace(BIG, kinds=("shape",)), count=1)
    with pytest.raises(ValueError, match=r"'shape' could be pasted on 1 parts .* depth_range"):
        made[0]
    assert synthesise([flat], BIG, count=1)[0].mask.any()  # the colour can be changed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kinds": ()}, "kinds must be some of both, colour, shape"),
        ({"kinds": ("dent",)}, "kinds must be some of"),
        ({"cells": (3, 2)}, "cells must be two numbers that rise"),
        ({"threshold": 1.0}, "threshold must be in"),
        ({"area": (-0.1, 0.1)}, "area must be two numbers that rise"),
        ({"area": (0, 0)}, "area and displacement must be above 0"),
        ({"regions": (0, 2)}, "regions must be two numbers that rise"),
        ({"corruptions": 6}, r"corruptions must be in \[0, 5\]"),
        ({"blend": (0, 1)}, "blend must be two numbers"),
        ({"displacement": (2, 1)}, "displacement must be two numbers"),
        ({"min_foreground": 0}, "min_foreground must be in"),
        ({"depth_range": (0.1, float("nan"))}, "depth_range must be two numbers"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Synthesis(**settings)


def test_seed_and_count_must_not_be_negative():
    for wrong in ({"seed": -1}, {"count": -1}):
        with pytest.raises(ValueError, match="seed and count must be 0 or more"):
            synthesise(frames(1), **wrong)
    assert list(synthesise(frames(1), count=0)) == []
