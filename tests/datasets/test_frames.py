"""Single frames and pairs: points files, and depth images with intrinsics."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from cmad import xyz_from_depth
from cmad.datasets import Pairs, read_frame

SIZE = 5, 8
CAMERA = (60.0, 50.0, 3.5, 2.5)
DEPTH = np.random.default_rng(0).integers(300, 900, SIZE).astype(np.uint16)
DEPTH[2, 3] = 0
POINTS = xyz_from_depth(DEPTH, CAMERA, unit="mm")


@pytest.fixture
def rgb(tmp_path):
    path = tmp_path / "frame.png"
    Image.fromarray(np.full((*SIZE, 3), 9, np.uint8)).save(path)
    return path


@pytest.fixture
def depth(tmp_path):
    path = tmp_path / "depth.png"
    Image.fromarray(DEPTH).save(path)
    return path


def write_ply(path, points=POINTS):
    table = "\n".join(" ".join(map(repr, row)) for row in points.reshape(-1, 3).tolist())
    fields = "".join(f"property double {axis}\n" for axis in "xyz")
    path.write_text(
        f"ply\nformat ascii 1.0\nelement vertex {points.size // 3}\n{fields}end_header\n{table}\n"
    )
    return path


def test_points_come_in_metres(tmp_path, rgb):
    ply = write_ply(tmp_path / "a.ply")
    sample = read_frame(rgb, ply, name="one")
    assert (sample.name, sample.defect, sample.mask) == ("one", None, None)
    assert (sample.rgb == 9).all()
    np.testing.assert_array_equal(sample.xyz, POINTS)
    in_mm = read_frame(rgb, write_ply(tmp_path / "mm.ply", POINTS.astype(float) * 1000), unit="mm")
    np.testing.assert_allclose(in_mm.xyz, POINTS, rtol=1e-6)  # scaled in float32
    assert in_mm.xyz.dtype == np.float32


def test_a_depth_image_becomes_points_by_intrinsics_unit_and_scale(tmp_path, rgb, depth):
    sample = read_frame(rgb, depth, intrinsics=CAMERA, unit="mm")
    np.testing.assert_array_equal(sample.xyz, POINTS)
    assert sample.xyz[2, 3].tolist() == [0, 0, 0]
    tenths = read_frame(rgb, depth, intrinsics=CAMERA, unit="mm", depth_scale=0.1)
    # Scaled in another order than the points they are compared with, and rounded to float32.
    np.testing.assert_allclose(tenths.xyz, POINTS / 10, rtol=1e-6)
    metres = read_frame(rgb, depth, intrinsics=CAMERA, depth_scale=0.001)
    np.testing.assert_allclose(metres.xyz, POINTS, rtol=1e-6)
    tifffile.imwrite(tmp_path / "depth.tiff", (DEPTH / 1000).astype(np.float32))
    floats = read_frame(rgb, tmp_path / "depth.tiff", intrinsics=np.diag([60, 50, 1]))
    np.testing.assert_allclose(floats.xyz[..., 2], POINTS[..., 2], rtol=1e-6)


def test_a_depth_image_that_cannot_be_used_is_named(tmp_path, rgb, depth):
    Image.fromarray(DEPTH.astype(np.uint8)).save(tmp_path / "eight.png")
    with pytest.raises(ValueError, match=r"eight\.png: depth must be .*16 bits.*got .* uint8"):
        read_frame(rgb, tmp_path / "eight.png", intrinsics=CAMERA)
    with pytest.raises(ValueError, match=r"frame\.png: depth must be .* got \(5, 8, 3\) uint8"):
        read_frame(rgb, rgb, intrinsics=CAMERA)
    Image.fromarray(DEPTH[:, :4]).save(tmp_path / "narrow.png")
    with pytest.raises(ValueError, match=r"narrow\.png must be as high .*frame\.png.* 5x4 and 5x8"):
        read_frame(rgb, tmp_path / "narrow.png", intrinsics=CAMERA)
    depth.write_bytes(depth.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"depth\.png: cannot be read"):
        read_frame(rgb, depth, intrinsics=CAMERA)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth_scale": 0, "intrinsics": CAMERA}, "depth_scale must be above 0, got 0"),
        ({"depth_scale": 0.1}, "depth_scale is for depth images, which need intrinsics"),
        ({"unit": "inch", "intrinsics": CAMERA}, "unit must be 'm' or 'mm', got 'inch'"),
        ({}, r"depth\.png is a depth image, which needs intrinsics \(--intrinsics FX,"),
    ],
)
def test_options_that_do_not_fit_are_refused(rgb, depth, options, message):
    with pytest.raises(ValueError, match=message):
        read_frame(rgb, depth, **options)


def test_points_of_another_size_are_named(tmp_path, rgb):
    np.savez(tmp_path / "a.npz", xyz=POINTS[1:])
    with pytest.raises(ValueError, match=r"xyz .*a\.npz must be as high .* got 4x8 and 5x8"):
        read_frame(rgb, tmp_path / "a.npz")


def test_pairs_take_every_type_of_points_in_either_order(tmp_path, rgb, depth):
    tifffile.imwrite(tmp_path / "a.tiff", POINTS, photometric="rgb")
    np.savez(tmp_path / "a.npz", xyz=POINTS)
    others = [write_ply(tmp_path / "a.ply"), tmp_path / "a.tiff", tmp_path / "a.npz", depth]
    for other in others:
        for pair in ([rgb, other], [other, rgb]):
            sample = Pairs(pair, intrinsics=CAMERA)[0]
            assert sample.name == "frame"
            np.testing.assert_array_equal(sample.xyz, POINTS)
    metres = Pairs([rgb, depth], intrinsics=CAMERA, depth_unit="m", depth_scale=0.001)[
        0
    ]  # rounded anew
    np.testing.assert_allclose(metres.xyz, POINTS, rtol=1e-6)


def test_a_depth_image_needs_intrinsics_and_is_no_image(tmp_path, rgb, depth):
    with pytest.raises(ValueError, match=r"depth\.png is a depth image, which needs intrinsics"):
        Pairs([rgb, depth])
    ply = write_ply(tmp_path / "a.ply")
    with pytest.raises(
        ValueError, match=r"or depth image, got a depth image .*depth\.png.* and points .*a\.ply"
    ):
        Pairs([depth, ply], intrinsics=CAMERA)


def test_unequal_sizes_of_parts_are_kept(tmp_path, write_part):
    write_part(tmp_path, "a", size=(4, 6))
    write_part(tmp_path, "b", size=(7, 3))
    files = [tmp_path / d / f"{s}.{e}" for s in "ab" for d, e in (("rgb", "png"), ("xyz", "tiff"))]
    assert [sample.xyz.shape for sample in Pairs(files)] == [(4, 6, 3), (7, 3, 3)]
