"""3D-ADAM, on plates that the tests draw themselves."""

import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from cmad import datasets
from cmad.datasets import ADAM3D
from cmad.preprocess import Preprocessing, prepare
from cmad.testing import adam3d
from cmad.testing.plates import DISTANCE, THICKNESS, render

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("adam")
    adam3d.write(root, "1m1", train=6, good=2, kinds=("hole", "stain"), size=48)
    return root


@pytest.fixture
def own(whole, tmp_path):
    """A copy to spoil."""
    shutil.copytree(whole / "1m1", tmp_path / "1m1")
    return tmp_path / "1m1"


def test_splits_kinds_and_masks_are_those_of_the_folders(whole):
    train, test = (ADAM3D(whole, "1m1", split) for split in ("train", "test"))
    assert train.names == tuple(f"train/good/{i:03d}" for i in range(6))
    assert test.names == ("test/good/000", "test/good/001", "test/hole/000", "test/stain/000")
    assert [s.name for s in test] == list(test.names)
    assert [s.defect for s in test] == ["good", "good", "hole", "stain"]
    assert [bool(s.mask.any()) for s in test] == [False, False, True, True]
    rng = np.random.default_rng(0)
    plates = [render(rng, kind, 48) for kind in ["good"] * 8 + ["hole", "stain"]]
    for sample, plate in zip([*train, *test], plates, strict=True):
        np.testing.assert_array_equal(sample.rgb, plate.rgb)
        np.testing.assert_array_equal(sample.mask, plate.mask)
        want = np.nan_to_num(plate.xyz, nan=0.0) * np.float32(1e-3)  # millimetres to metres
        assert sample.xyz.dtype == np.float32
        np.testing.assert_array_equal(sample.xyz, want)


def test_a_sample_can_be_prepared_and_its_plate_is_kept(whole):
    frame = prepare(ADAM3D(whole, "1m1", "train")[0], Preprocessing(image_size=48))
    area = 0.6 * 0.72  # of the plate in the view
    assert 0.8 * area < frame.valid.float().mean() < 1.05 * area
    z = frame.xyz[frame.valid][:, 2]
    assert abs(float(z.median()) - (DISTANCE - THICKNESS) / 1000) < 0.003


def test_it_is_told_apart_from_mvtec_and_divided(whole):
    for path in (whole, whole / "1m1"):
        data = datasets.open(path)
        assert (data.kind, data.root, data.categories) == ("3D-ADAM", whole, ("1m1",))
    names = {split: data.split("1m1", split).names for split in SPLITS}
    assert (len(names["train"]), len(names["validation"])) == (5, 1)
    everything = ADAM3D(whole, "1m1", "train").names
    assert sorted(names["train"] + names["validation"]) == list(everything)
    assert names["test"] == ADAM3D(whole, "1m1", "test").names


def test_masks_in_gt_are_mvtec(own):
    for folder in own.glob("*/*/ground_truth"):
        folder.rename(folder.with_name("gt"))
    assert datasets.open(own).kind == "MVTec 3D-AD"


def test_masks_of_the_test_alone_tell_it_too(own):
    shutil.rmtree(own / "train" / "good" / "ground_truth")
    assert datasets.open(own).kind == "3D-ADAM"
    assert not ADAM3D(own.parent, "1m1", "train")[0].mask.any()


def test_points_in_metres_are_read_with_their_unit(own):
    want = ADAM3D(own.parent, "1m1", "train")[0].xyz
    for path in own.glob("*/*/xyz/*.tiff"):
        tifffile.imwrite(path, tifffile.imread(path) * np.float32(1e-3), photometric="rgb")
    got = ADAM3D(own.parent, "1m1", "train", unit="m")[0].xyz
    np.testing.assert_allclose(got, want, rtol=1e-6)
    with pytest.raises(ValueError, match=r"read as mm, the points span 7\.\d*e-05 m; .*unit='m'"):
        ADAM3D(own.parent, "1m1", "train")[0]


def test_millimetres_read_as_metres_are_refused(whole):
    with pytest.raises(ValueError, match=r"000\.tiff: read as m, the points span [78]\d\.?\d* m"):
        ADAM3D(whole, "1m1", "train", unit="m")[0]


def test_a_depth_in_three_channels_is_no_points(tmp_path):
    adam3d.write(tmp_path, train=2, good=1, kinds=(), size=40, depth_only=True)
    message = r"000\.tiff: xyz must hold points, but all three .* same.*pitch=.*datasets\.ADAM3D"
    with pytest.raises(ValueError, match=message):
        ADAM3D(tmp_path, "1m1", "train")[0]


def test_with_a_pitch_a_depth_is_read_as_points_on_a_raster(tmp_path):
    adam3d.write(tmp_path, train=1, good=1, kinds=(), size=40, depth_only=True)
    stored = tifffile.imread(tmp_path / "1m1/train/good/xyz/000.tiff")[..., 0]
    sample = ADAM3D(tmp_path, "1m1", "train", pitch=0.002, relief=0.02)[0]
    there = stored != 0
    assert there.mean() > 0.95
    assert not sample.xyz[~there].any()
    column, row = np.meshgrid(np.arange(40), np.arange(40))
    want = np.stack([(column - 19.5) * 0.002, (row - 19.5) * 0.002, stored * 0.02], -1)
    np.testing.assert_allclose(sample.xyz[there], want[there], rtol=1e-6)
    thin = ADAM3D(tmp_path, "1m1", "train", pitch=0.002)[0]  # then z is in millimetres
    np.testing.assert_allclose(thin.xyz[..., 2][there], stored[there] * 1e-3, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "cm"}, "ADAM3D: unit must be 'm' or 'mm', got 'cm'"),
        ({"pitch": 0}, "ADAM3D: pitch must be above 0"),
        ({"pitch": np.nan}, "ADAM3D: pitch must be above 0"),
        ({"pitch": 0.1, "relief": -1}, "ADAM3D: relief must be above 0"),
        ({"relief": 0.1}, "ADAM3D: relief is for points on the pixels' raster"),
    ],
)
def test_options_out_of_range_are_refused(whole, options, message):
    with pytest.raises(ValueError, match=message):
        ADAM3D(whole, "1m1", "train", **options)


def test_what_is_missing_is_named(own):
    root = own.parent
    (own / "test/hole/ground_truth/000.png").unlink()
    with pytest.raises(ValueError, match=r"has no mask, .*ground_truth/000\.png is missing"):
        ADAM3D(root, "1m1", "test")
    with pytest.raises(FileNotFoundError, match=r"ADAM3D: .*1m1 has no folder validation/"):
        ADAM3D(root, "1m1", "validation")
    with pytest.raises(ValueError, match="ADAM3D: category must be one of 1m1, got 'x'"):
        ADAM3D(root, "x", "train")
    with pytest.raises(ValueError, match="it is a category itself"):
        ADAM3D(own, "1m1", "train")
    (own / "train/good/xyz/003.tiff").unlink()
    with pytest.raises(ValueError, match=r"003\.png: has no points"):
        ADAM3D(root, "1m1", "train")


def test_a_good_part_whose_mask_marks_something_is_an_error(own):
    Image.fromarray(np.full((48, 48), 255, np.uint8)).save(own / "train/good/ground_truth/000.png")
    with pytest.raises(ValueError, match="the mask of a good part must be zero"):
        ADAM3D(own.parent, "1m1", "train")[0]


def test_points_of_another_size_are_an_error(own):
    Image.fromarray(np.zeros((50, 48, 3), np.uint8)).save(own / "train/good/rgb/000.png")
    with pytest.raises(ValueError, match="must be as high and wide as"):
        ADAM3D(own.parent, "1m1", "train")[0]


def test_opened_by_layout_its_unit_is_the_readers(whole):
    with pytest.raises(ValueError, match=r"3D-ADAM: unit .*: cmad\.datasets\.ADAM3D\(unit"):
        datasets.open(whole, unit="mm", intrinsics=(500.0, 500.0, 24.0, 24.0))
