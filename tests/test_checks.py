"""Which pixels have no 3D point, whatever a sensor marks them with; and what images may hold."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import cmad
from cmad import marks
from cmad.checks import JUDGED, REACH, _some_of, checked, no_point
from cmad.preprocess import Preprocessing, prepare
from cmad.types import Sample
from cmad.units import to_metres

FLT_MAX = np.finfo(np.float32).max
LARGEST = FLT_MAX.item()


def seen(noise=1e-4, size=60, seed=0):
    """A plane 0.5 m away and a block 20 mm high on it, with the noise of a sensor."""
    rng = np.random.default_rng(seed)
    v, u = np.indices((size, size))
    z = np.full((size, size), 0.5)
    z[20:40, 15:45] -= 0.02
    z += noise * rng.standard_normal(z.shape)
    return np.stack([(u - 29.7) * 1e-3, (v - 29.7) * 1e-3, z], -1).astype(np.float32)


def lost(share=0.35, size=60):
    return np.random.default_rng(1).random((size, size)) < share


def missing(xyz):
    return no_point(torch.from_numpy(xyz)).numpy()


@pytest.mark.parametrize("share", [0.02, 0.35, 0.8])
@pytest.mark.parametrize("noise", [0, 1e-4])
@pytest.mark.parametrize(
    "mark",
    [
        (FLT_MAX, FLT_MAX, FLT_MAX),
        (-FLT_MAX, -FLT_MAX, -FLT_MAX),
        (0, 0, FLT_MAX),
        (np.nan, 1, 1),
        (0, 0, 0),
        (0, 0, -1),
        (-1, -1, -1),
        (0, 0, 65.535),
        (0.1, 0.1, 0.49),
        (99999, 99999, 99999),
    ],
    ids=str,
)
def test_a_point_that_many_pixels_share_is_missing(mark, noise, share):
    xyz = seen(noise)
    xyz[lost(share)] = mark
    np.testing.assert_array_equal(missing(xyz), lost(share))


@pytest.mark.parametrize("share", [0.02, 0.35, 0.8])
@pytest.mark.parametrize("noise", [0, 1e-4])
@pytest.mark.parametrize("z", [0, -1, -0.3, -LARGEST, LARGEST, 65.535, 9.999, 1e-3, -9999, np.inf])
def test_a_z_that_no_surface_has_is_missing_where_x_and_y_are_kept(z, noise, share):
    xyz = seen(noise)
    xyz[lost(share), 2] = z
    np.testing.assert_array_equal(missing(xyz), lost(share))


def test_two_marks_and_a_whole_image_of_one_are_missing():
    xyz = seen()
    xyz[lost(0.3)] = (0, 0, -1)
    xyz[:30][lost(0.3)[:30], 2] = 65.535
    np.testing.assert_array_equal(missing(xyz), lost(0.3))
    for mark in ((0, 0, -1), (FLT_MAX, 0, 0)):
        assert missing(np.full((60, 60, 3), mark, np.float32)).all()
    nothing = seen()
    nothing[..., 2] = 0
    assert missing(nothing).all()


@pytest.mark.parametrize("at", [0.5, 0.0, -0.5, 4.0])
@pytest.mark.parametrize("step", [1e-3, 5e-3, 3e-2])
def test_the_steps_of_a_coarse_depth_camera_are_surfaces(step, at):
    """Also where z counts from a plane in the scene, and where the camera looks along -z."""
    xyz = seen(3e-3)
    xyz[..., 2] = np.float32(step) * np.round((xyz[..., 2] - 0.5 + at) / np.float32(step))
    assert len(np.unique(xyz[..., 2])) > 1
    assert not missing(xyz).any()


def test_points_rounded_to_a_millimetre_and_enlarged_images_are_surfaces():
    rounded = seen()
    rounded[..., :2] *= 0.2  # 25 pixels to each point
    rounded = np.round(rounded * 1000) / np.float32(1000)
    rounded[~rounded.any(-1)] = (0, 0, 0.5)
    assert not missing(rounded).any()
    large = seen().repeat(6, 0).repeat(6, 1)
    assert not missing(large).any()
    # A mark among them stands out.
    large[:100, :100] = (0, 0, -1)
    assert missing(large).sum() == 100 * 100


def test_points_are_told_apart_by_each_coordinate_and_zero_has_no_sign():
    v, u = np.indices((40, 40))
    for constant in ((u, 0 * u), (0 * v, v), (u, v)):  # whole rows and columns share the others
        xyz = np.stack([0.01 + 1e-3 * constant[0], 0.02 + 1e-3 * constant[1], 0.5 + 0 * u], -1)
        xyz = xyz.astype(np.float32)
        words = marks._words(xyz.reshape(-1, 3))
        assert len(np.unique(words)) == len(np.unique(xyz.reshape(-1, 3), axis=0))
    signed = np.array([[0, -0.0, -1], [-0.0, 0, -1]], np.float32)
    assert len(np.unique(marks._words(signed))) == 1


def plainly_crowded(points):
    """Points (N, 3) where 16 or more lie, and ten times as many as usual where z is shared."""
    shared = np.isin(points[:, 2], [z for z in set(points[:, 2]) if (points[:, 2] == z).sum() > 15])
    _, group, count = np.unique(points + 0, axis=0, return_inverse=True, return_counts=True)
    of_shared = np.unique((points + 0)[shared], axis=0, return_counts=True)[1]
    usual = np.median(of_shared) if len(of_shared) > 2 else 1
    return (count >= max(16, 10 * usual))[group.ravel()]


@pytest.mark.parametrize("steps", [1, 3, 40, 10_000])
@pytest.mark.parametrize("share", [0, 0.3, 0.95])
@pytest.mark.parametrize("enlarged", [1, 3])
def test_crowded_points_are_those_that_a_plain_count_finds(steps, share, enlarged):
    """By buckets, where usual is found quickly and where it is not."""
    rng = np.random.default_rng(steps)
    points = rng.integers(-steps, steps + 1, (40, 40, 3)).astype(np.float32) / 64
    points[rng.random((40, 40)) < share] = (0.0, -0.0, 7.0)
    points = points.repeat(enlarged, 0).repeat(enlarged, 1)
    present = rng.random(points.shape[:2]) < 0.9
    z = points[..., 2][present]
    value, count = marks._counted(z)
    assert dict(zip(*np.unique(z, return_counts=True), strict=True)) == dict(
        zip(value, count, strict=True)
    )
    shared, sharing = value[count >= 16], int(count[count >= 16].sum())
    got = marks._crowded(points, present, z, shared, sharing)
    want = plainly_crowded(points[present])
    assert (got is None and not want.any()) or np.array_equal(got, want)


def test_points_beyond_the_reach_are_missing_one_by_one():
    xyz = seen()
    for i in range(3):
        xyz[30, 20 + i, i] = 1.01 * REACH
        xyz[31, 20 + i, i] = -1.01 * REACH
    xyz[32, 20, 0] = 0.99 * REACH
    got = missing(xyz)
    assert got.sum() == 6
    assert got[30:32, 20:23].all()


def test_millimetres_are_still_told_apart_with_marks_among_them():
    xyz = seen() * 1000
    xyz[lost()] = FLT_MAX
    with pytest.raises(ValueError, match='for millimetres pass unit="mm"'):
        checked(Sample(None, xyz))


@pytest.mark.parametrize("mark", [(FLT_MAX,) * 3, (0, 0, -1), (-1000, -1000, -1000)], ids=str)
def test_a_frame_with_marks_is_the_one_with_nan(mark):
    rgb = np.full((60, 60, 3), 90, np.uint8)
    marked, nan = seen() * 1000, seen() * 1000
    marked[lost()], nan[lost()] = mark, np.nan
    how = Preprocessing(60, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = prepare(Sample(rgb, to_metres(marked, "mm")), how)
        want = prepare(Sample(rgb, to_metres(nan, "mm")), how)
    assert want.valid.sum() > 300
    assert torch.equal(got.xyz, want.xyz)
    with pytest.raises(ValueError, match="p: xyz has no valid point: all are 0, NaN, infinite or"):
        prepare(Sample(rgb, np.full((60, 60, 3), FLT_MAX), name="p"), how)


def test_masked_entries_are_missing_points():
    xyz = np.ma.MaskedArray(seen(), mask=False)
    xyz[lost(), 1] = np.ma.masked
    for unit, scale in (("m", 1), ("mm", 1000)):
        scaled = np.ma.MaskedArray(xyz.data * np.float32(scale), mask=xyz.mask)
        _, got = checked(Sample(None, to_metres(scaled, unit)))
        np.testing.assert_array_equal((got == 0).all(-1).numpy(), lost())
    depth = np.ma.MaskedArray(np.full((60, 60), 0.5), mask=lost())
    got = cmad.xyz_from_depth(depth, (700, 700, 30, 30))
    np.testing.assert_array_equal((got == 0).all(-1), lost())
    rgb = np.ma.MaskedArray(np.zeros((60, 60, 3), np.uint8), mask=False)
    assert checked(Sample(rgb, None))[0] is not None
    rgb[0, 0, 0] = np.ma.masked
    with pytest.raises(ValueError, match="part: rgb must have no masked entries"):
        checked(Sample(rgb, None, name="part"))
    with pytest.raises(ValueError, match=r"float rgb must be in \[0, 1\], got NaN"):
        checked(Sample(rgb.astype(np.float32), None))


@pytest.mark.parametrize(
    ("dtype", "mark"),
    [
        (np.uint8, 255),
        (np.uint16, 65535),
        (np.int16, 32767),
        (np.int32, 2**31 - 1),
        (np.int32, 65535),
        (np.uint32, 2**32 - 1),
        (">u2", 65535),
        (np.float32, LARGEST),
        (np.float64, 1e300),
    ],
)
def test_the_largest_value_of_an_integer_depth_is_no_depth(dtype, mark):
    depth = np.full((60, 60), 200).astype(dtype)
    depth[lost()] = mark
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = cmad.xyz_from_depth(depth, (700, 700, 30, 30), unit="mm")
    np.testing.assert_array_equal((got == 0).all(-1), lost())
    assert np.unique(got[~lost(), 2]) == [np.float32(0.2)]


def test_a_depth_that_is_no_number_is_refused():
    for wrong in (np.ones((2, 2), bool), np.ones((2, 2), complex)):
        with pytest.raises(TypeError, match="depth must be real numbers, got "):
            cmad.xyz_from_depth(wrong, (1, 1, 0, 0))


def test_an_image_may_leave_its_range_by_rounding():
    rgb = np.zeros((4, 4, 3), np.float32)
    rgb[0, 0] = np.nextafter(np.float32(1), np.float32(2)), -1e-6, 1.0009
    got, _ = checked(Sample(rgb, None))
    assert got[0, 0].tolist() == [255, 0, 255]
    rgb[0, 0, 0] = 1.0020001
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got -1e-06 to 1\.002$"):
        checked(Sample(rgb, None))
    for wrong in (np.nan, np.inf):
        rgb[0, 0, 0] = wrong
        with pytest.raises(ValueError, match=r"must be in \[0, 1\], got NaN or infinity"):
            checked(Sample(rgb, None))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint64", "bool"])
def test_integer_points_are_refused_with_what_they_must_be(dtype):
    for xyz in (np.ones((8, 8, 3), dtype), torch.ones((8, 8, 3), dtype=getattr(torch, dtype))):
        with pytest.raises(
            TypeError, match=f"^xyz must be float, in metres, got {dtype}(; images are uint8, .*)?$"
        ):
            checked(Sample(None, xyz))


@pytest.mark.parametrize("dtype", ["float16", "float64", "longdouble", ">f4"])
def test_other_floats_are_taken(dtype):
    sample = Sample(None, seen(0).astype(dtype))
    _, got = checked(replace(sample))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, torch.from_numpy(seen(0)), atol=3e-4, rtol=1e-3)


def test_a_prediction_without_a_number_is_never_good():
    nan = np.full((2, 2), np.nan, np.float32)
    got = cmad.Prediction(float("nan"), nan, threshold=1.0, pixel_threshold=1.0)
    assert got.rejected is True
    assert got.mask.all()


def cloud(reach, size=(80, 90), seed=0):
    """A surface around its own origin, that reaches over so many metres."""
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(-0.5, 0.5, (*size, 3))
    # From the 1st to the 99th percentile there are 98 % of it along each axis.
    return (xyz * reach / (0.98 * 3**0.5)).astype(np.float32)


@pytest.mark.parametrize(
    ("reach", "error", "warning"),
    [
        (10.8, "its points reach over 1[01]\\.", None),
        (9.2, None, 'part: xyz reaches over 2 m, as no part .* pass unit="mm";'),
        (2.1, None, "part: xyz reaches over 2 m"),
        (1.9, None, None),
        (0.0055, None, None),
        (0.0045, None, 'part: xyz reaches over less than 5 mm.* pass unit="m";'),
        (0.0011, None, "part: xyz reaches over less than 5 mm"),
        (0.0009, "its points reach over 0\\.[89].* mm, a thousand times too little", None),
    ],
)
def test_the_unit_is_judged_by_how_far_the_points_reach(reach, error, warning):
    sample = Sample(None, cloud(reach), name="part")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if error is None:
            checked(sample)
        else:
            with pytest.raises(ValueError, match=f"^part: xyz must be in metres, but {error}"):
                checked(sample)
    assert len(said) == (warning is not None)
    if warning is not None:
        assert re.match(warning, str(said[0].message))


def test_metres_passed_as_millimetres_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r'thousand times too little; if they were .*unit="m"'):
        checked(Sample(None, to_metres(seen(), "mm")))
    with pytest.raises(ValueError, match=r'reach over 11.*; for millimetres pass unit="mm"'):
        checked(Sample(None, cloud(0.011) * np.float32(1000)))


def test_millimetres_far_away_are_told_by_their_distance_too():
    small = cloud(0.0015) + np.float32([0, 0, 0.5])
    with pytest.raises(ValueError, match=r"its points are 500 from the camera \(median\)"):
        checked(Sample(None, small * np.float32(1000)))


def test_a_few_stray_points_do_not_change_the_reach():
    xyz = cloud(0.1)
    xyz[0, :70] = np.random.default_rng(1).uniform(5, 9, (70, 3))  # just under 1 %
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked(Sample(None, xyz))
    xyz = cloud(0.0005)
    xyz[0, :70] = np.random.default_rng(1).uniform(5, 9, (70, 3))
    with pytest.raises(ValueError, match="a thousand times too little"):
        checked(Sample(None, xyz))


def test_points_that_are_too_few_say_nothing_of_the_unit():
    xyz = np.zeros((40, 40, 3), np.float32)
    xyz[:9, :11] = cloud(0.0005)[:9, :11]
    checked(Sample(None, xyz))
    xyz[9, :1] = cloud(0.0005)[9, :1]
    with pytest.raises(ValueError, match="a thousand times too little"):
        checked(Sample(None, xyz))
    far = np.zeros((40, 40, 3), np.float32)
    far[0, :20] = cloud(15)[0, :20] + np.float32([0, 0, 500])
    with pytest.raises(ValueError, match="from the camera"):
        checked(Sample(None, far))


def test_python_shows_the_doubt_once_for_parts_that_are_checked_one_by_one():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for seed in range(4):
            checked(Sample(None, cloud(3 + seed, seed=seed)))
    assert len(said) == 1


@pytest.mark.parametrize("width", [89, 144, 233, 256, 610])
def test_of_a_large_cloud_points_from_everywhere_are_judged(width):
    """Also where a fixed step would stay in one column, and where few pixels have a point."""
    xyz = torch.zeros(1000, width, 3)
    xyz[..., 0] = torch.arange(width)[None] + 1
    xyz[..., 1] = torch.arange(1000)[:, None] + 1
    some = _some_of(xyz.reshape(-1, 3))
    assert len(some) == JUDGED
    for axis, size in ((0, width), (1, 1000)):
        counts = np.histogram(some[:, axis], 8, (0.5, size + 0.5))[0]
        np.testing.assert_allclose(counts, JUDGED / 8, rtol=0.25)
    xyz[:-1] = 0  # only the last row is seen
    assert len(np.unique(_some_of(xyz.reshape(-1, 3))[:, 0])) == width


def test_swapped_arrays_are_named():
    rows, columns = np.indices((60, 80)).astype(np.float32)
    xyz = np.stack([columns / 1000 - 0.04, rows / 1000 - 0.03, np.full_like(rows, 0.5)], -1)
    rgb = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    for points in (xyz, 1000 * xyz, np.where(rows[..., None] < 9, np.nan, xyz)):
        for image in (rgb, rgb.astype(np.float32) / 255):
            with pytest.raises(ValueError, match=r"^a: rgb and xyz are swapped: rgb \(float32\)"):
                checked(Sample(points, image, name="a"))
    checked(Sample(rgb, xyz))


def test_an_image_from_0_to_255_beside_points_above_0_is_not_called_swapped():
    xyz = np.random.default_rng(0).uniform(0.1, 0.4, (60, 80, 3)).astype(np.float32)
    rgb = np.random.default_rng(1).uniform(0, 255, (60, 80, 3)).astype(np.float32)
    with pytest.raises(ValueError, match=r"^float rgb must be in \[0, 1\], got"):
        checked(Sample(rgb, xyz))
    checked(Sample(rgb / 255, xyz))
