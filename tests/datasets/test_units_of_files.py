"""Every data set yields metres: from points in another unit, and from depth images."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from cmad import datasets, xyz_from_depth
from cmad.datasets import Eyecandies, Folder, Folder3D, MVTec3D, Pairs, read_frame
from cmad.testing import eyecandies
from cmad.units import Units

SIZE = 5, 8
CAMERA = (60.0, 50.0, 3.5, 2.5)
DEPTH = np.random.default_rng(0).integers(3000, 9000, SIZE).astype(np.uint16)  # tenths of mm
DEPTH[2, 3] = 0
POINTS = xyz_from_depth(DEPTH / 10000, CAMERA)
DEFECT = np.eye(*SIZE, dtype=np.uint8)
TENTHS = {"intrinsics": CAMERA, "depth_unit": "mm", "depth_scale": 0.1}


def write_part(rgb, xyz, stem, kind, mask=None):
    """Write an image, and as points ``mm``, ``tiff`` or ``png`` of the same part."""
    for folder in (rgb, xyz):
        folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), 9, np.uint8)).save(rgb / f"{stem}.png")
    if kind == "mm":
        points = (POINTS.astype(float) * 1000).astype(np.float32)
        tifffile.imwrite(xyz / f"{stem}.tiff", points, photometric="rgb")
    elif kind == "tiff":
        tifffile.imwrite(xyz / f"{stem}.tiff", DEPTH)
    else:
        Image.fromarray(DEPTH).save(xyz / f"{stem}.png")
    if mask is not None:
        mask.parent.mkdir(exist_ok=True)
        Image.fromarray(DEFECT).save(mask)


def folder(root, kind):
    for i in range(5):
        write_part(root / "good/rgb", root / "good/xyz", f"{i}", kind)
    write_part(root / "bent/rgb", root / "bent/xyz", "0", kind, root / "bent/gt/0.png")


def mvtec(root, kind):
    for below in ("train/good", "validation/good", "test/good", "test/bent"):
        mask = root / below / "gt/0.png" if "bent" in below else None
        write_part(root / below / "rgb", root / below / "xyz", "0", kind, mask)


def folder3d(root, kind):
    for i in range(5):
        write_part(root / "normal", root / "normal_depth", f"{i}", kind)
    write_part(root / "abnormal", root / "abnormal_depth", "0", kind)
    for file in (root / "abnormal_depth").iterdir():
        file.rename(file.with_name(f"{file.stem}_depth{file.suffix}"))


READ = {
    "folder": (folder, lambda root, how: Folder(root, **how)),
    "MVTec 3D-AD": (mvtec, lambda root, how: MVTec3D(root.parent, root.name, "test", **how)),
    "Folder3D": (folder3d, lambda root, how: Folder3D(root, "test", **how)),
}
FILES = {"mm": {"unit": "mm"}, "tiff": TENTHS, "png": TENTHS}
each_layout = pytest.mark.parametrize("layout", READ)
each_file = pytest.mark.parametrize("kind", FILES)


def expect_metres(samples):
    assert len(samples) > 1
    for sample in samples:
        assert sample.xyz.dtype == np.float32
        np.testing.assert_allclose(sample.xyz, POINTS, rtol=1e-6)  # scaled in another order
        assert sample.xyz[2, 3].tolist() == [0, 0, 0]


@each_layout
@each_file
def test_every_layout_yields_metres(tmp_path, layout, kind):
    write, read = READ[layout]
    write(tmp_path / "part", kind)
    expect_metres(read(tmp_path / "part", FILES[kind]))
    data = datasets.open(tmp_path, **FILES[kind])
    assert data.kind == layout
    for split in ("train", "validation", "test"):
        expect_metres([*data.split("part", split), *data.split("part", split)])
    assert datasets.open(tmp_path / "part", **FILES[kind]).units == data.units


@each_layout
@pytest.mark.parametrize("kind", ["tiff", "png"])
def test_a_depth_image_without_intrinsics_is_said_to_be_one(tmp_path, layout, kind):
    write, read = READ[layout]
    write(tmp_path / "part", kind)
    message = r"\.(png|tiff) is a depth image, which needs intrinsics \(--intrinsics FX,FY,CX,CY\)"
    with pytest.raises(ValueError, match=message):
        list(read(tmp_path / "part", {}))


@each_layout
def test_wrong_units_are_named_before_a_file_is_looked_at(tmp_path, layout):
    write, read = READ[layout]
    write(tmp_path / "part", "mm")
    for how, message in (
        ({"unit": "cm"}, "unit must be 'm' or 'mm', got 'cm'"),
        ({"depth_scale": 2.0}, "depth_scale is for depth images"),
        ({"intrinsics": (1, 2, 3)}, "intrinsics must be"),
    ):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "part", how)
        with pytest.raises(ValueError, match=message):
            datasets.open(tmp_path, **how)


def test_points_and_depth_images_may_lie_side_by_side(tmp_path):
    write_part(tmp_path / "rgb", tmp_path / "xyz", "0", "mm")
    write_part(tmp_path / "rgb", tmp_path / "xyz", "1", "png")
    expect_metres(Folder(tmp_path, unit="mm", **TENTHS))


def test_masks_tell_what_is_good_of_depth_images_too(tmp_path):
    write_part(tmp_path / "rgb", tmp_path / "xyz", "0", "png", tmp_path / "gt/0.png")
    assert Folder(tmp_path, **TENTHS)[0].defect == "defect"


def test_without_a_depth_unit_that_of_the_points_counts(tmp_path):
    Image.fromarray(np.full((*SIZE, 3), 9, np.uint8)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "d.tiff", DEPTH / np.float32(10000))
    files = tmp_path / "a.png", tmp_path / "d.tiff"
    for got in (
        read_frame(*files, intrinsics=CAMERA),
        read_frame(*files, intrinsics=CAMERA, unit="mm", depth_unit="m"),
        Pairs(files, intrinsics=CAMERA, unit="m")[0],
        Pairs(files, intrinsics=CAMERA, depth_unit="m")[0],
    ):
        np.testing.assert_allclose(got.xyz, POINTS, rtol=1e-6)
    np.testing.assert_allclose(Pairs(files, intrinsics=CAMERA)[0].xyz, POINTS / 1000, rtol=1e-6)


KINDS = {
    "uint16": (DEPTH, {}),
    "float32": (DEPTH.astype("f4"), {}),
    "float64": (DEPTH.astype("f8"), {}),
    "int32": (DEPTH.astype("i4"), {}),
    "uint32": (DEPTH.astype("u4"), {}),
    "big-endian": (DEPTH, {"byteorder": ">"}),
    "bigtiff": (DEPTH.astype("f4"), {"bigtiff": True}),
    "compressed": (DEPTH.astype("f4"), {"compression": "zlib", "tile": (16, 16)}),
    "one channel apart": (DEPTH[..., None], {"photometric": "minisblack"}),
}


@pytest.mark.parametrize("suffix", [".tiff", ".tif", ".TIF"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tiff_with_one_channel_is_a_depth_image_in_either_order(tmp_path, kind, suffix):
    array, how = KINDS[kind]
    rgb, depth = tmp_path / "a.png", tmp_path / f"d{suffix}"
    Image.fromarray(np.full((*SIZE, 3), 9, np.uint8)).save(rgb)
    tifffile.imwrite(depth, array, **how)
    for pair in ((rgb, depth), (depth, rgb)):
        sample = Pairs(pair, **TENTHS)[0]
        assert sample.name == "a"
        np.testing.assert_allclose(sample.xyz, POINTS, rtol=1e-6)
        with pytest.raises(ValueError, match=r"Pairs: .*d\.\w+ is a depth image, which needs intr"):
            Pairs(pair)
    np.testing.assert_allclose(read_frame(rgb, depth, **TENTHS).xyz, POINTS, rtol=1e-6)


def test_images_and_points_in_tiff_files_are_still_told_apart(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((*SIZE, 3), 9, np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "p.tif", POINTS, photometric="rgb")
    tifffile.imwrite(tmp_path / "d.tif", DEPTH)
    tifffile.imwrite(tmp_path / "g.tif", DEPTH.astype(np.uint8))
    for other in ("p.tif", "d.tif"):
        sample = Pairs([tmp_path / other, tmp_path / "a.tif"], **TENTHS)[0]
        assert (sample.rgb == 9).all()
        np.testing.assert_allclose(sample.xyz, POINTS, rtol=1e-6)
    with pytest.raises(ValueError, match=r"got a depth image .*d\.tif.* and points .*p\.tif"):
        Pairs([tmp_path / "d.tif", tmp_path / "p.tif"], **TENTHS)
    with pytest.raises(ValueError, match=r"got an image .*a\.tif.* and an image .*g\.tif"):
        Pairs([tmp_path / "a.tif", tmp_path / "g.tif"], **TENTHS)


def test_intrinsics_that_do_not_fit_the_depth_image_are_refused(tmp_path):
    write_part(tmp_path / "rgb", tmp_path / "xyz", "0", "png")
    files = tmp_path / "rgb/0.png", tmp_path / "xyz/0.png"
    wrong = (60, 50, 90, 2.5)
    for read in (
        lambda: Folder(tmp_path, intrinsics=wrong)[0],
        lambda: Pairs(files, intrinsics=wrong)[0],
        lambda: read_frame(*files, intrinsics=wrong),
    ):
        with pytest.raises(ValueError, match="do not fit 8x5 pixels: the principal point is far"):
            read()


def test_what_a_layout_knows_itself_is_refused(tmp_path):
    eyecandies.write(tmp_path, "Drop", train=1, validation=1, good=1, size=160)
    assert len(datasets.open(tmp_path, unit="m").split("Drop", "train")) == 1
    assert len(Eyecandies(tmp_path, "Drop", "train")) == 1
    for how in ({"unit": "mm"}, {"intrinsics": CAMERA}):
        with pytest.raises(ValueError, match="Eyecandies: unit and camera of its files are known"):
            datasets.open(tmp_path, **how)
    with pytest.raises(ValueError, match="Eyecandies: good is for plain folders"):
        datasets.open(tmp_path / "Drop", good=["OK"])


def test_other_names_of_good_folders_are_recognised_and_divided(tmp_path):
    folder(tmp_path / "part", "mm")
    (tmp_path / "part/good").rename(tmp_path / "part/OK")
    with pytest.raises(ValueError, match="no data set is recognised"):
        datasets.open(tmp_path)
    data = datasets.open(tmp_path, good=["ok"], unit="mm")
    assert (data.kind, data.categories, data.good) == ("folder", ("part",), ("ok",))
    sizes = [len(data.split("part", split)) for split in ("train", "validation", "test")]
    assert sizes == [3, 1, 2]
    assert [s.defect for s in data.split("part", "train")] == ["good"] * 3
    assert sorted(s.defect for s in data.split("part", "test")) == ["bent", "good"]
    assert datasets.open(tmp_path / "part", good=["ok"]).categories == ("part",)


def test_good_parts_in_several_folders_are_divided_together(tmp_path):
    for below in ("good/monday", "good/tuesday", "OK"):
        for i in range(2):
            write_part(tmp_path / below / "rgb", tmp_path / below / "xyz", f"{i}", "mm")
    write_part(tmp_path / "bent/rgb", tmp_path / "bent/xyz", "0", "mm")
    parts = Folder(tmp_path, ["OK"])
    assert parts.kinds == ("good", "good", "bent", "good", "good", "good", "good")
    (tmp_path / "good/rgb").mkdir()
    (tmp_path / "good/xyz").mkdir()
    data = datasets.open(tmp_path, good=["OK"], unit="mm")
    splits = [data.split(tmp_path.name, s).names for s in ("train", "validation", "test")]
    assert [len(names) for names in splits] == [4, 1, 2]
    assert "bent/0" in splits[2]


def test_the_record_of_a_data_set_is_part_of_it(tmp_path):
    folder(tmp_path / "part", "png")
    data = datasets.open(tmp_path, **TENTHS)
    assert data.units == Units("m", CAMERA, "mm", 0.1)
    assert data != datasets.open(tmp_path)
