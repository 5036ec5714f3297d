"""The steps of anomaly synthesis, worked by hand."""

import numpy as np
import pytest

from cmad import xyz_from_depth
from cmad.background import Background
from cmad.datasets import Synthetic
from cmad.preprocess import Preprocessing
from cmad.synthesis import Synthesis, colour, paste, perlin, synthesise_samples
from cmad.synthesis.scenes import closed
from cmad.types import Sample


def test_noise_at_the_middle_and_at_the_corners_of_cells():
    slope = np.zeros((2, 3, 3))
    slope[0] = 1
    slope[0, :, 1] = -1
    drawn = perlin.Lattice((1, 1), 0.0, slope)
    # The pixels' centres are at 0.5 and 1 of the lattice, along both axes.
    value = perlin.noise(drawn, 2, 2)
    # All four slopes rise by 0.5 towards the middle of the cell.
    assert value[0, 0] == pytest.approx(np.sqrt(2) * 0.5)
    assert value[1, 1] == 0


def test_noise_is_the_same_field_at_every_resolution_and_turned():
    drawn = perlin.lattice(np.random.default_rng(0), (4, 2))
    fine, coarse = perlin.noise(drawn, 99, 99), perlin.noise(drawn, 33, 33)
    np.testing.assert_allclose(fine[1::3, 1::3], coarse, atol=1e-12)
    wide = perlin.noise(drawn, 33, 99)
    np.testing.assert_allclose(wide, fine[33:66], atol=1e-12)
    turned = perlin.noise(perlin.Lattice(drawn.cells, drawn.angle + np.pi / 2, drawn.slope), 99, 99)
    np.testing.assert_allclose(np.rot90(turned, -1), fine, atol=1e-9)
    assert 0.1 < fine.std() < 0.6
    assert np.abs(fine).max() <= 1.01


def test_each_corruption_by_hand():
    cut = np.full((5, 5, 3), 51.0)
    cut[2, 2] = 96

    def corrupted(name, *amount, **rest):
        change = colour.Corruption(name, np.array(amount, float), **rest)
        return colour.corrupt(cut, [change])

    assert corrupted("brightness", 2, -10)[2, 2].tolist() == [182] * 3
    assert corrupted("brightness", 1, -60)[0, 0].tolist() == [0] * 3
    contrast = corrupted("contrast", 0.5, 1, 2)[0, 0]
    np.testing.assert_allclose(contrast, [255 * 0.2**0.5, 51, 10.2])
    assert corrupted("tint", 1, 2, 300)[0, 0].tolist() == [52, 53, 255]
    assert corrupted("sharpness", -1, radius=1)[1, 1] == pytest.approx([56] * 3)  # the mean of 9
    assert corrupted("sharpness", 1, radius=1)[2, 2] == pytest.approx([136] * 3)
    slope = np.zeros((2, 6, 6))
    still = perlin.Lattice((3, 3), 0.0, slope)
    np.testing.assert_array_equal(corrupted("distortion", 2, fields=(still, still)), cut)


def test_a_relief_is_put_at_the_mean_and_moved_within_the_scene():
    old = np.array([0.50, 0.52], np.float32)
    relief = np.array([0.30, 0.28], np.float32)
    far = np.array([0.53, 0.53], np.float32)

    def moved(amount, near=0.4, least=0.001):
        return paste.moved_depth(old, relief, amount, near, far, least)

    np.testing.assert_allclose(moved(0.005), [0.525, 0.505], atol=1e-6)
    np.testing.assert_allclose(moved(0.05), [0.53, 0.51], atol=1e-6)  # as far as there is room
    np.testing.assert_allclose(moved(-0.05), [0.47, 0.45], atol=1e-6)
    # No room where it was drawn to: the other way.
    np.testing.assert_allclose(moved(-0.004, near=0.4999, least=0.002), [0.524, 0.504], atol=1e-4)
    # A relief higher than the scene is cut off.
    tight = paste.moved_depth(old, relief, 0.0, 0.51, np.full(2, 0.525, np.float32), 0.001)
    np.testing.assert_array_equal(tight, np.array([0.525, 0.51], np.float32))


def test_points_move_along_rays_or_along_z():
    old = np.array([[0.1, -0.2, 0.5]], np.float32)
    depth = np.array([0.6], np.float32)
    np.testing.assert_allclose(paste.along_sight(old, depth, True), [[0.12, -0.24, 0.6]], rtol=1e-6)
    np.testing.assert_allclose(paste.along_sight(old, depth, False), [[0.1, -0.2, 0.6]], rtol=1e-6)


def test_blended_colours_keep_their_share_of_the_old():
    old = np.array([[100, 0, 200]], np.uint8)
    assert paste.blend(old, np.array([[200.0, 10.0, 0.0]]), 0.25).tolist() == [[175, 8, 50]]


def test_small_holes_are_filled_and_nothing_else():
    valid = np.zeros((40, 40), bool)
    valid[5:30, 0:30] = True
    valid[10, 10] = valid[20:22, 20] = False
    valid[12:18, 12:18] = False
    filled = valid.copy()
    filled[10, 10] = filled[20:22, 20] = True
    np.testing.assert_array_equal(closed(valid), filled)


def test_samples_keep_their_background_and_missing_points():
    parts = Synthetic(good=3, size=(96, 120))
    made = synthesise_samples(parts, Synthesis(area=(0.002, 0.02)), count=6, seed=1)
    assert len(made) == 6
    for part in made:
        old, new, mask = parts[part.target], part.sample, part.sample.mask
        assert new.rgb.shape == new.xyz.shape == (96, 120, 3)
        assert new.defect == "both"
        assert new.name.startswith(f"{old.name}+000")
        np.testing.assert_array_equal(new.rgb[~mask], old.rgb[~mask])
        np.testing.assert_array_equal(new.xyz[~mask], old.xyz[~mask])
        np.testing.assert_array_equal((new.xyz == 0).all(-1), (old.xyz == 0).all(-1))
        assert mask.any()
        assert not (mask & ~closed(part.part)).any()
        assert new.xyz[part.part][:, 2].min() >= old.xyz[part.part][:, 2].min()
        np.testing.assert_array_equal(part.good.xyz, old.xyz)


def test_samples_without_a_part_are_left_out_and_named():
    [good] = Synthetic(good=1, size=(96, 120))
    blank = Sample(good.rgb, np.zeros_like(good.xyz), name="blank")
    flat = xyz_from_depth(np.full((96, 120), 0.5), (400, 400, 59.8, 47.6))
    table = Sample(good.rgb, flat, name="table")
    with pytest.warns(UserWarning, match="2 of 3 parts are not used"):
        made = synthesise_samples([blank, table, good], Synthesis(area=(0.002, 0.02)), count=2)
    assert made.usable == (2,)
    assert made.skipped[0] == "blank: xyz has no valid point"
    assert made.skipped[1].startswith("table: no part in view")
    assert {part.target for part in made} == {2}
    with pytest.raises(ValueError, match="synthesise_samples: none of 1 parts can be used: blank"):
        synthesise_samples([blank])
    whole = Preprocessing(background=Background.of("none"))
    assert synthesise_samples([table], preprocessing=whole, count=0).usable == (0,)
