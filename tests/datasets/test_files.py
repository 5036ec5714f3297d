import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from cmad.datasets.files import (
    LazySamples,
    read_depth,
    read_mask,
    read_rgb,
    read_sample,
    read_xyz,
)
from cmad.datasets.parts import find_parts

COLOURS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
POINTS = np.random.default_rng(1).normal(size=(5, 7, 3)).astype(np.float32)


def write_png(path, header, rows):
    """Write a PNG by hand: Pillow cannot write 16 bits per colour."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    data = b"".join(b"\0" + row for row in rows)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "PNG", "tif"])
def test_lossless_images_are_read_exactly(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOURS).save(path)
    got = read_rgb(path)
    assert got.dtype == np.uint8
    assert got.flags.writeable
    np.testing.assert_array_equal(got, COLOURS)


@pytest.mark.parametrize("suffix", ["jpg", "JPEG"])
def test_jpeg_images_are_read_approximately(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.full((16, 24, 3), (200, 90, 30), np.uint8)).save(path, quality=95)
    got = read_rgb(str(path))
    assert got.shape == (16, 24, 3)
    assert abs(got.astype(int) - (200, 90, 30)).max() <= 4  # JPEG is lossy


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (Image.new("L", (7, 5)), r"\(5, 7\) uint8"),
        (Image.new("RGBA", (7, 5)), r"\(5, 7, 4\) uint8"),
        (Image.new("P", (7, 5)), r"\(5, 7, 4\) uint8"),
        (Image.new("I;16", (7, 5)), r"\(5, 7\) uint16"),
        (Image.new("1", (7, 5)), r"\(5, 7\) bool"),
    ],
    ids=["grey", "alpha", "palette", "grey16", "bilevel"],
)
def test_an_image_that_is_not_rgb_is_refused(tmp_path, image, got):
    path = tmp_path / "a.png"
    image.save(path)
    with pytest.raises(ValueError, match=rf"a\.png: rgb must be an 8-bit RGB image.*got {got}"):
        read_rgb(path)


def test_colours_of_16_bits_are_refused_and_not_cut_to_8(tmp_path):
    path = tmp_path / "a.png"
    write_png(path, struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), [bytes(12)])
    with pytest.raises(ValueError, match=r"a\.png: cannot be read: 16 bits per channel"):
        read_rgb(path)
    tifffile.imwrite(tmp_path / "b.tiff", COLOURS.astype(np.uint16), photometric="rgb")
    with pytest.raises(ValueError, match=r"b\.tiff: rgb must be.*got \(5, 7, 3\) uint16"):
        read_rgb(tmp_path / "b.tiff")


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzma"])
def test_points_are_read_exactly(tmp_path, dtype, photometric, compression):
    path = tmp_path / "a.tiff"
    how = {"byteorder": dtype[0], "photometric": photometric, "compression": compression}
    tifffile.imwrite(path, POINTS.astype(dtype), **how)
    got = read_xyz(path)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, POINTS)


def test_points_beyond_float32_become_infinite(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.full((2, 2, 3), 1e300), photometric="rgb")
    assert np.isposinf(read_xyz(path)).all()


@pytest.mark.parametrize(
    ("points", "got"),
    [
        (POINTS[:, :, 0], r"\(5, 7\) float32"),
        (POINTS[:, :, :2], r"\(5, 7, 2\) float32"),
        (np.moveaxis(POINTS, -1, 0), r"\(3, 5, 7\) float32"),
        (POINTS.astype(np.float16), r"\(5, 7, 3\) float16"),
        (POINTS.astype(np.int16), r"\(5, 7, 3\) int16"),
    ],
    ids=["depth", "two", "planes", "half", "integer"],
)
def test_points_of_another_shape_or_type_are_refused(tmp_path, points, got):
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, points, photometric="minisblack")
    with pytest.raises(ValueError, match=rf"a\.tiff: xyz must be organised points.*got {got}"):
        read_xyz(path)


def test_points_in_a_file_of_another_type_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.obj: xyz must be one of \.tif, \.tiff, \.ply"):
        read_xyz(tmp_path / "a.obj")


@pytest.mark.parametrize("read", [read_rgb, read_xyz, read_mask])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"none\.tiff"):
        read(tmp_path / "none.tiff")


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read_rgb(tmp_path / "none.png")


@pytest.mark.parametrize("keep", [0, 3, 20, 0.5, 0.9])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tiff"])
def test_a_truncated_image_is_named(tmp_path, suffix, keep):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(2).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(ValueError, match=rf"a\.{suffix}: cannot be read"):
        read_rgb(path)


@pytest.mark.parametrize("keep", [0, 3, 20, 0.5, 0.9])
@pytest.mark.parametrize("compression", [None, "zlib", "lzma"])
def test_truncated_points_are_named(tmp_path, compression, keep):
    path = tmp_path / "a.tiff"
    points = np.random.default_rng(2).normal(size=(40, 50, 3)).astype(np.float32)
    tifffile.imwrite(path, points, photometric="rgb", compression=compression)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(ValueError, match=r"a\.tiff: cannot be read"):
        read_xyz(path)


def test_a_foreign_file_is_named(tmp_path):
    for name, read in (("a.png", read_rgb), ("a.tiff", read_xyz), ("b.png", read_mask)):
        (tmp_path / name).write_text("not an image")
        with pytest.raises(ValueError, match=rf"{name}: cannot be read"):
            read(tmp_path / name)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "I;16", "1", "P"])
def test_any_value_but_zero_in_a_mask_is_a_defect(tmp_path, mode):
    path = tmp_path / "a.png"
    image = Image.new(mode, (3, 2))
    if mode in ("RGBA", "LA"):
        image.putalpha(255)  # says nothing about defects
    if mode == "P":
        image.putpalette([0, 0, 0, 0, 0, 9])
    dot = {"RGB": (0, 0, 1), "RGBA": (0, 0, 1, 255), "LA": (1, 255)}.get(mode, 1)
    image.putpixel((1, 0), dot)
    image.save(path)
    got = read_mask(path)
    assert got.dtype == np.bool_
    np.testing.assert_array_equal(got, [[False, True, False], [False, False, False]])


def test_a_mask_that_is_no_image_is_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tiff", np.zeros((2, 5, 4, 6), np.uint8), photometric="minisblack"
    )
    with pytest.raises(ValueError, match=r"a\.tiff: a mask must be an image"):
        read_mask(tmp_path / "a.tiff")


SHAPE = np.zeros((64, 64), bool)
SHAPE[20:40, 13:45] = True


def cmyk(mask):
    """Black ink where there is no defect, bare paper where there is one."""
    ink = np.zeros((*mask.shape, 4), np.uint8)
    ink[~mask, 3] = 255
    return ink


@pytest.mark.parametrize(
    "how",
    [
        {"data": SHAPE, "photometric": "minisblack"},
        {"data": ~SHAPE, "photometric": "miniswhite"},
        {"data": np.where(SHAPE, 0, 255).astype(np.uint8), "photometric": "miniswhite"},
        {"data": np.where(SHAPE, 0, 65535).astype(np.uint16), "photometric": "miniswhite"},
        {"data": cmyk(SHAPE), "photometric": "separated"},
        {"data": SHAPE.astype(np.uint8) * 255, "compression": "lzw"},
        {"data": SHAPE.astype(np.uint8), "compression": "zstd"},
        {"data": SHAPE.astype(np.uint8) * 255, "compression": "jpeg"},
        {"data": SHAPE.astype(np.float32)},
        {"data": SHAPE.astype(">u2"), "byteorder": ">"},
    ],
    ids=lambda how: "-".join([str(how["data"].dtype), *map(str, list(how.values())[1:])]),
)
def test_a_tiff_mask_marks_what_a_viewer_shows_bright(tmp_path, how):
    tifffile.imwrite(tmp_path / "m.tif", **how)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), SHAPE)


@pytest.mark.parametrize("compression", ["group4", "group3", "packbits", "tiff_lzw", None])
def test_a_mask_of_1_bit_is_read_as_pillow_shows_it(tmp_path, compression):
    for zero in (0, 1):
        image = Image.fromarray(SHAPE)
        image.save(tmp_path / "m.tif", compression=compression, tiffinfo={262: zero})
        shown = np.array(Image.open(tmp_path / "m.tif"))
        np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), shown)


@pytest.mark.parametrize("suffix", ["tif", "png", "bmp"])
def test_a_mask_with_a_palette_goes_by_its_colours(tmp_path, suffix):
    image = Image.fromarray(SHAPE.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 200, 0, 0] + [0] * 762)
    image.save(tmp_path / f"m.{suffix}")
    np.testing.assert_array_equal(read_mask(tmp_path / f"m.{suffix}"), SHAPE)
    image.putpalette([200, 0, 0, 0, 0, 0] + [0] * 762)  # now the ones are black
    image.save(tmp_path / f"m.{suffix}")
    np.testing.assert_array_equal(read_mask(tmp_path / f"m.{suffix}"), ~SHAPE)


@pytest.mark.parametrize("name", ["m.jpg", "m.jpeg", "m.png", "m.tif"])
def test_the_noise_of_a_jpeg_mask_is_no_defect(tmp_path, name):
    if name == "m.tif":
        grey = SHAPE.astype(np.uint8) * 255
        tifffile.imwrite(tmp_path / name, grey, compression="jpeg", compressionargs={"level": 60})
    else:  # whatever its name says
        Image.fromarray(SHAPE).convert("L").save(tmp_path / name, "JPEG", quality=60)
    np.testing.assert_array_equal(read_mask(tmp_path / name), SHAPE)


def test_a_mask_of_one_ink_marks_the_bare_paper(tmp_path):
    ink = Image.fromarray(np.where(SHAPE, 0, 255).astype(np.uint8))
    ink.save(tmp_path / "m.tif", tiffinfo={262: 5, 332: 2})
    with tifffile.TiffFile(tmp_path / "m.tif") as tiff:
        assert tiff.pages.first.photometric.name == "SEPARATED"
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), SHAPE)


def test_a_cmyk_jpeg_mask_marks_the_bare_paper(tmp_path):
    Image.frombytes("CMYK", (64, 64), cmyk(SHAPE).tobytes()).save(tmp_path / "m.jpg", quality=90)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.jpg"), SHAPE)


@pytest.mark.parametrize(
    ("array", "photometric", "message"),
    [
        (COLOURS, "cielab", "a mask must be grey or RGB, got .* with the colours CIELAB"),
        (np.full((5, 7), np.nan, np.float32), "minisblack", "finite numbers, got NaN"),
        (np.ones((5, 7), np.float32), "miniswhite", "whole numbers from 0, got .* zero as white"),
    ],
)
def test_a_mask_whose_black_is_not_known_is_refused(tmp_path, array, photometric, message):
    tifffile.imwrite(tmp_path / "m.tif", array, photometric=photometric)
    with pytest.raises(ValueError, match=rf"m\.tif: .*{message}"):
        read_mask(tmp_path / "m.tif")


def test_the_mask_of_a_defective_part_that_marks_nothing_is_refused(tmp_path, write_part):
    write_part(tmp_path, gt=True)
    _, rgb, xyz, mask = find_parts(tmp_path)[0]
    with pytest.raises(ValueError, match=r"gt.000\.png: .*must mark the defect \(hole\), got no"):
        read_sample(rgb, xyz, mask, "hole")
    assert not read_sample(rgb, xyz, mask).mask.any()
    assert not read_sample(rgb, xyz, mask, "good").mask.any()


@pytest.mark.parametrize("compression", ["lzw", "packbits", "zstd", "deflate", "lzma"])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("byteorder", "<>")
def test_compressed_tiffs_are_read_exactly(tmp_path, compression, predictor, byteorder):
    how = {"compression": compression, "predictor": predictor, "byteorder": byteorder}
    tifffile.imwrite(tmp_path / "rgb.tiff", COLOURS, photometric="rgb", **how)
    np.testing.assert_array_equal(read_rgb(tmp_path / "rgb.tiff"), COLOURS)
    tifffile.imwrite(tmp_path / "xyz.tiff", POINTS, photometric="rgb", **how)
    np.testing.assert_array_equal(read_xyz(tmp_path / "xyz.tiff"), POINTS)
    depth = (COLOURS[..., 0] * np.uint16(257)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "depth.tiff", depth, **how)
    got = read_depth(tmp_path / "depth.tiff")
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, depth)


def test_the_planes_of_a_tiff_may_lie_one_after_another(tmp_path):
    for name, array, read in (("rgb", COLOURS, read_rgb), ("xyz", POINTS, read_xyz)):
        planes = np.ascontiguousarray(np.moveaxis(array, -1, 0))
        how = {"photometric": "rgb", "planarconfig": "separate"}
        tifffile.imwrite(tmp_path / f"{name}.tiff", planes, **how)
        np.testing.assert_array_equal(read(tmp_path / f"{name}.tiff"), array)


@pytest.mark.parametrize(
    ("mode", "suffix", "cause"),
    [
        ("P", "png", r"\(5, 7, 4\) uint8 with a palette, save it as RGB"),
        ("P", "tif", r"\(5, 7, 3\) uint16 with a palette, save it as RGB"),
        ("CMYK", "jpg", r"\(5, 7, 4\) uint8 with CMYK inks, save it as RGB"),
        ("CMYK", "tif", r"\(5, 7, 4\) uint8 with CMYK inks, save it as RGB"),
        ("LAB", "tif", "with the colours CIELAB, save it as RGB"),
        ("YCbCr", "tif", "with the colours YCBCR, save it as RGB"),
    ],
)
def test_an_image_of_other_colours_than_rgb_is_refused_with_the_cause(
    tmp_path, mode, suffix, cause
):
    path = tmp_path / f"a.{suffix}"
    Image.new(mode, (7, 5)).save(path)
    with pytest.raises(ValueError, match=rf"a\.{suffix}: rgb must be.*got .*{cause}"):
        read_rgb(path)


@pytest.mark.parametrize("suffix", ["tiff", "bmp", "jpg"])
def test_an_image_that_went_through_text_mode_is_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(2).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    read_rgb(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(ValueError, match=rf"a\.{suffix}: cannot be read: damaged: .* text mode"):
        read_rgb(path)


def test_a_part_is_read_with_its_mask(tmp_path, write_part):
    write_part(tmp_path, value=9, gt=True, mask=np.eye(4, 6, dtype=np.uint8))
    stem, rgb, xyz, mask = find_parts(tmp_path)[0]
    sample = read_sample(rgb, xyz, mask, "bent", "b/000")
    assert (stem, sample.name, sample.defect, sample.label) == ("000", "b/000", "bent", 1)
    assert (sample.rgb == 9).all()
    assert (sample.xyz == np.float32(0.009)).all()
    np.testing.assert_array_equal(sample.mask, np.eye(4, 6, dtype=bool))


def test_without_a_mask_file_the_mask_is_zeros_for_good_parts_only(tmp_path, write_part):
    write_part(tmp_path)
    _, rgb, xyz, _ = find_parts(tmp_path)[0]
    good = read_sample(rgb, xyz, defect="good").mask
    assert good.shape == (4, 6)
    assert not good.any()
    assert read_sample(rgb, xyz, defect="bent").mask is None
    assert read_sample(rgb, xyz).mask is None


def test_files_of_different_size_are_named_with_their_sizes(tmp_path, write_part):
    write_part(tmp_path, gt=True)
    _, rgb, xyz, mask = find_parts(tmp_path)[0]
    tifffile.imwrite(xyz, np.zeros((4, 5, 3), np.float32), photometric="rgb")
    with pytest.raises(
        ValueError, match=r"xyz .*000\.tiff must be as high and wide as rgb .*000\.png.*4x5 and 4x6"
    ):
        read_sample(rgb, xyz, mask)
    tifffile.imwrite(xyz, np.zeros((4, 6, 3), np.float32), photometric="rgb")
    Image.new("L", (6, 3)).save(mask)
    with pytest.raises(ValueError, match=r"mask .*gt.*000\.png must be .* got 3x6 and 4x6"):
        read_sample(rgb, xyz, mask)


def test_a_good_part_with_a_marked_defect_is_refused(tmp_path, write_part):
    write_part(tmp_path, gt=True, mask=np.eye(4, 6, dtype=np.uint8))
    _, rgb, xyz, mask = find_parts(tmp_path)[0]
    with pytest.raises(ValueError, match=r"gt.000\.png: the mask of a good part.*got 4 defect"):
        read_sample(rgb, xyz, mask, "good")


def test_parts_are_found_in_order_and_other_files_passed_over(tmp_path, write_part):
    for stem in ("10", "02", "1", "1-b"):
        write_part(tmp_path, stem)
    (tmp_path / "rgb" / "notes.txt").touch()
    (tmp_path / "rgb" / ".hidden.png").touch()
    assert [stem for stem, *_ in find_parts(tmp_path)] == ["02", "1", "1-b", "10"]


def test_an_image_without_points_and_points_without_image_are_named(tmp_path, write_part):
    write_part(tmp_path)
    (tmp_path / "xyz" / "000.tiff").rename(tmp_path / "xyz" / "001.tiff")
    with pytest.raises(
        ValueError, match=r"rgb.000\.png: has no points, .*xyz.000\.tiff is missing"
    ):
        find_parts(tmp_path)
    (tmp_path / "rgb" / "000.png").unlink()
    with pytest.raises(ValueError, match=r"xyz.001\.tiff: has no image, .*rgb.001\.png is missing"):
        find_parts(tmp_path)


def test_two_images_of_one_part_are_named(tmp_path, write_part):
    write_part(tmp_path)
    (tmp_path / "rgb" / "000.jpg").touch()
    with pytest.raises(ValueError, match=r"000\.png: the same part has 000\.jpg beside it"):
        find_parts(tmp_path)


def test_samples_are_read_when_asked_for_and_slices_read_nothing(tmp_path, write_part):
    write_part(tmp_path)
    _, rgb, xyz, _ = find_parts(tmp_path)[0]
    asked = []

    def source(i):
        def read():
            asked.append(i)
            return read_sample(rgb, xyz, name=str(i))

        return read

    samples = LazySamples([source(i) for i in range(5)])
    tail = samples[1:][::-2]
    assert (len(samples), len(tail), asked) == (5, 2, [])
    assert (samples[-1].name, samples[np.int64(1)].name) == ("4", "1")
    assert [sample.name for sample in tail] == ["4", "2"]
    assert asked == [4, 1, 4, 2]
    with pytest.raises(IndexError):
        samples[5]
