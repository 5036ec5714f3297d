"""Sample to frame: what is checked, what is removed, and that rgb and xyz stay registered."""

import numpy as np
import pytest
import torch

import cmad
from cmad.background import Background
from cmad.cache import Cache
from cmad.checks import checked
from cmad.pipeline import Pipeline
from cmad.preprocess import (
    Choices,
    Preprocessing,
    mask_to_grid,
    prepare,
    square,
    to_input,
)
from cmad.presets import PRESETS
from cmad.ranges import look
from cmad.types import Sample
from cmad.units import to_metres


def scene(h=60, w=60, block=(20, 40, 15, 45), height=0.02):
    """A plane half a metre away, and a block on it at rows and columns ``block``; all valid."""
    v, u = np.indices((h, w))
    z = np.full((h, w), 0.5)
    r0, r1, c0, c1 = block
    z[r0:r1, c0:c1] -= height
    xyz = np.stack([(u - w / 2) * 1e-3, (v - h / 2) * 1e-3, z], -1).astype(np.float32)
    xyz[..., :2] += 2e-4  # no coordinate is exactly 0
    rgb = np.full((h, w, 3), 60, np.uint8)
    rgb[r0:r1, c0:c1] = 200
    return Sample(rgb, xyz, name="scene")


def test_only_the_block_on_the_plane_is_kept():
    sample = scene()
    for preset in PRESETS:
        frame = prepare(sample, Preprocessing(60, 60, PRESETS[preset].preparation), keep=None)
        valid = frame.valid.numpy()
        want = np.zeros((60, 60), bool)
        want[20:40, 15:45] = True
        if preset == "official":  # padded by 20 to 100, of which row floor(i * 100 / 60) is taken
            at = np.arange(60) * 100 // 60
            want = np.pad(want, 20)[np.ix_(at, at)]
        np.testing.assert_array_equal(valid, want)
        assert not frame.xyz.numpy()[~valid].any()
        torch.testing.assert_close(frame.xyz[frame.valid][:, 2], torch.full((valid.sum(),), 0.48))


@pytest.mark.parametrize("size", [(12, 30), (19, 19)])
def test_frames_smaller_than_the_border_are_all_border(size):
    """No plane holds three tenths of such a frame's rough surface, so all of it is the part."""
    h, w = size
    v, u = np.indices(size)
    z = np.random.default_rng(0).uniform(0.4, 0.6, size)
    xyz = np.stack([u * 1e-2 + 1e-4, v * 1e-2 + 1e-4, z], -1)
    frame = prepare(Sample(np.zeros((h, w, 3), np.uint8), xyz), Preprocessing(max(size), 32))
    assert frame.valid.any()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [(60, 60), (60, 100), (100, 60), (97, 41), (300, 200)])
def test_rgb_and_xyz_stay_registered_for_every_aspect(size, preset):
    """The bright block must cover the pixels that have its 3D points, to within one pixel."""
    h, w = size
    block = (h // 3, h // 3 * 2, w // 4, w // 2)
    sample = scene(h, w, block)
    keep = torch.zeros(h, w, dtype=torch.bool)
    keep[block[0] : block[1], block[2] : block[3]] = True
    frame = prepare(sample, Preprocessing(100, 100, PRESETS[preset].preparation), keep=keep)
    bright = frame.rgb[0] > 130
    wrong = bright ^ frame.valid
    # Nearest sampling against a bicubic edge: at most a rim of one pixel differs.
    rim = torch.nn.functional.max_pool2d(frame.valid[None].float(), 3, 1, 1)[0] > 0
    core = -torch.nn.functional.max_pool2d(-frame.valid[None].float(), 3, 1, 1)[0] > 0
    assert not (wrong & ~(rim & ~core)).any()
    assert frame.valid.sum() > 50


@pytest.mark.parametrize("size", [(60, 60), (60, 100), (97, 41)])
def test_maps_come_back_to_the_inputs_own_pixels(size):
    h, w = size
    block = (h // 3, h // 3 * 2, w // 4, w // 2)
    mask = np.zeros(size, bool)
    mask[block[0] : block[1], block[2] : block[3]] = True
    for preset in PRESETS:
        how = Preprocessing(200, 200, PRESETS[preset].preparation)
        grid = torch.from_numpy(mask_to_grid(mask, how)).float()
        back = to_input(grid[None], square(h, w, how.choices))[0]
        assert back.shape == size
        assert ((back > 0.5).numpy() ^ mask).mean() < 0.02


def test_a_square_is_centred_and_official_rounds_up_to_hundreds():
    assert square(60, 100, Choices()).__dict__ == {
        "side": 100, "top": 20, "left": 0, "height": 60, "width": 100
    }  # fmt: skip
    window = square(224, 224, PRESETS["official"].preparation)
    assert (window.side, window.top, window.left) == (300, 38, 38)


def test_nan_infinite_and_zero_points_are_invalid():
    sample = scene()
    xyz = sample.xyz.copy()
    xyz[25, 20] = np.nan
    xyz[26, 20, 0] = np.inf
    xyz[27, 20] = 0
    frame = prepare(Sample(sample.rgb, xyz), Preprocessing(60, 60))
    assert not frame.valid[25:28, 20].any()
    assert frame.valid[28, 20]
    assert frame.xyz.isfinite().all()


def test_a_point_with_one_zero_coordinate_is_valid_except_in_official():
    sample = scene()
    xyz = sample.xyz.copy()
    xyz[25, 20, 0] = 0
    keep = torch.ones(60, 60, dtype=torch.bool)
    damaged = Sample(sample.rgb, xyz)
    assert prepare(damaged, Preprocessing(60, 60), keep=keep).valid.all()
    official = prepare(
        damaged, Preprocessing(100, 100, PRESETS["official"].preparation), keep=keep
    ).valid  # pads by 20
    assert not official[45, 40]
    assert official.sum() == 60 * 60 - 1


def test_float_rgb_becomes_the_same_bytes():
    sample = scene()
    rgb, _ = checked(Sample(sample.rgb.astype(np.float64) / 255, sample.xyz))
    np.testing.assert_array_equal(rgb.numpy(), sample.rgb)


def test_torch_float64_and_read_only_inputs_are_taken():
    sample = scene()
    xyz = sample.xyz.astype(np.float64)
    xyz.flags.writeable = False
    a = prepare(Sample(torch.from_numpy(sample.rgb), xyz), Preprocessing(60, 60))
    b = prepare(sample, Preprocessing(60, 60))
    assert torch.equal(a.xyz, b.xyz)
    assert torch.equal(a.rgb, b.rgb)


WRONG = [
    ({"rgb": np.zeros((60, 60), np.uint8)}, ValueError, r"rgb must be \(H, W, 3\), got \(60, 60\)"),
    ({"rgb": np.zeros((60, 60, 4), np.uint8)}, ValueError, r"rgb must be \(H, W, 3\)"),
    ({"xyz": np.zeros((60, 60, 2), np.float32)}, ValueError, r"xyz must be \(H, W, 3\)"),
    ({"rgb": np.zeros((0, 60, 3), np.uint8)}, ValueError, r"rgb must be \(H, W, 3\)"),
    ({"rgb": np.zeros((50, 60, 3), np.uint8)}, ValueError, "same height and width, got 50x60 and"),
    ({"rgb": np.zeros((60, 60, 3), np.int64)}, TypeError, "rgb must be uint8, or float"),
    (
        {"rgb": np.zeros((60, 60, 3), np.uint16)},
        TypeError,
        "rgb must be uint8, or float in .*, got uint16",
    ),
    ({"rgb": np.full((60, 60, 3), 200.0)}, ValueError, r"float rgb must be in \[0, 1\]"),
    ({"rgb": np.full((60, 60, 3), np.nan)}, ValueError, r"float rgb must be in \[0, 1\]"),
    ({"rgb": [[0]]}, TypeError, "rgb must be a NumPy array or torch tensor, got list"),
    ({"rgb": np.full((60, 60, 3), "a")}, TypeError, "rgb must hold numbers"),
    ({"xyz": np.ones((60, 60, 3), np.int32)}, TypeError, "xyz must be float, in metres"),
    ({"xyz": scene().xyz * 1000}, ValueError, 'millimetres pass unit="mm"'),
    ({"xyz": np.zeros((60, 60, 3), np.float32)}, ValueError, "xyz has no valid point"),
    ({"xyz": np.full((60, 60, 3), np.nan, np.float32)}, ValueError, "xyz has no valid point"),
    ({"xyz": scene(height=0).xyz}, ValueError, "no part in view"),
]


@pytest.mark.parametrize(("change", "error", "message"), WRONG)
def test_wrong_input_is_named_with_its_sample(change, error, message):
    good = {"rgb": scene().rgb, "xyz": scene().xyz}
    with pytest.raises(error, match=f"scene: .*{message}"):
        prepare(Sample(**{**good, **change}, name="scene"), Preprocessing(60, 60))


def test_millimetres_are_converted_and_other_units_refused():
    xyz = scene().xyz
    np.testing.assert_allclose(to_metres(xyz * 1000, "mm"), xyz, rtol=1e-6)
    assert to_metres(xyz, "m") is xyz
    with pytest.raises(ValueError, match="unit must be 'm' or 'mm', got 'inch'"):
        to_metres(xyz, "inch")
    for wrong in (xyz.astype(np.int16), torch.zeros(2, 3, dtype=torch.int32), [[1.0]]):
        with pytest.raises(TypeError, match="xyz must be an array of floats in mm, got"):
            to_metres(wrong, "mm")


def test_xyz_from_depth_is_the_pinhole_model():
    depth = np.zeros((3, 4), np.uint16)
    depth[1, 2] = 500
    depth[0, 0] = 1000
    xyz = cmad.xyz_from_depth(depth, (100.0, 200.0, 1.0, 0.5), unit="mm")
    assert xyz.dtype == np.float32
    np.testing.assert_allclose(xyz[1, 2], [0.005, 0.00125, 0.5], rtol=1e-6)
    np.testing.assert_allclose(xyz[0, 0], [-0.01, -0.0025, 1.0], rtol=1e-6)
    assert not xyz[2].any()


def test_xyz_from_depth_takes_the_intrinsics_as_a_matrix_too():
    depth = torch.rand(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    matrix = [[100, 0, 1.0], [0, 200, 0.5], [0, 0, 1]]
    want = cmad.xyz_from_depth(depth, (100, 200, 1.0, 0.5))
    np.testing.assert_array_equal(cmad.xyz_from_depth(depth, matrix), want)
    with pytest.raises(ValueError, match=r"intrinsics must be \(fx, fy, cx, cy\) or a 3x3 matrix"):
        cmad.xyz_from_depth(depth, [1, 2, 3])


def test_xyz_from_depth_takes_nan_as_no_depth_and_checks_its_arguments():
    depth = np.array([[np.nan, -1.0], [np.inf, 2.0]])
    xyz = cmad.xyz_from_depth(torch.from_numpy(depth), (1, 1, 0, 0))
    assert not xyz[0].any()
    assert xyz[1, 1].tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(ValueError, match=r"depth must be \(H, W\), got \(2, 2, 1\)"):
        cmad.xyz_from_depth(depth[..., None], (1, 1, 0, 0))
    with pytest.raises(ValueError, match="focal lengths must be positive"):
        cmad.xyz_from_depth(depth, (0, 1, 0, 0))
    with pytest.raises(ValueError, match="unit must be"):
        cmad.xyz_from_depth(depth, (1, 1, 0, 0), unit="cm")


def test_gaps_inside_the_outline_get_points_where_asked_and_the_frame_says_which():
    sample = scene()
    xyz = sample.xyz.copy()
    xyz[30:32, 20:40] = xyz[20, 28:30] = np.nan  # a hole, and a notch in the rim
    xyz[24, 20] = 0  # one more hole
    xyz[5, 5] = xyz[50, 50:52] = 0  # not the part's
    spoilt = Sample(sample.rgb, xyz)
    whole = prepare(sample, Preprocessing(60, 60))
    plain, frame = (prepare(spoilt, Preprocessing(60, 60, fill=f)) for f in (False, True))
    assert plain.filled is None
    assert torch.equal(frame.seen, plain.valid)
    assert torch.equal(plain.seen, plain.valid)
    assert look(frame).numbers == look(plain).numbers  # a part of few points is still told
    assert torch.equal(frame.valid, whole.valid)
    assert torch.equal(frame.filled, whole.valid & ~plain.valid)
    assert torch.equal(frame.xyz[plain.valid], plain.xyz[plain.valid])
    # Within a pixel, a millimetre: at the rim all neighbours are on one side.
    torch.testing.assert_close(frame.xyz, whole.xyz, atol=1e-3, rtol=0)


def test_no_gap_is_filled_with_what_the_background_shows_or_beside_the_region_of_interest():
    sample = scene()
    xyz = sample.xyz.copy()
    xyz[28:34, 25:33, 2] = 0.5  # a hole through the part, with points on the plane behind it
    frame = prepare(Sample(sample.rgb, xyz), Preprocessing(60, 60, fill=True))
    assert not frame.valid[28:34, 25:33].any()
    assert not frame.filled.any()
    xyz[28:34, 25:33] = 0
    region = np.zeros((60, 60), bool)
    region[20:40, 15:45] = True
    region[30:32] = False
    how = Preprocessing(60, 60, background=Background.of(region), fill=True)
    frame = prepare(Sample(sample.rgb, xyz), how)
    assert frame.filled.any()
    assert not frame.filled[30:32].any()


def test_a_frame_with_filled_gaps_comes_back_from_the_cache(tmp_path):
    xyz = scene().xyz.copy()
    xyz[30, 20:40] = 0
    how = Preprocessing(60, 60, fill=True)
    pipeline = Pipeline({}, how, cache=Cache(tmp_path), depth=True)
    first, again = (pipeline.frame(Sample(None, xyz)) for _ in range(2))
    assert first.filled.sum() == 20
    for name in ("filled", "valid", "xyz", "seen"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    plain = Pipeline({}, Preprocessing(60, 60), cache=Cache(tmp_path), depth=True)
    assert plain.frame(Sample(None, xyz)).filled is None
