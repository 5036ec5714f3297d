"""Real-IAD D3, on plates that the tests draw themselves."""

import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from cmad import datasets
from cmad.datasets import RealIADD3
from cmad.datasets.warps import expect_homography, image_onto, mask_onto
from cmad.testing import real_iad_d3
from cmad.testing.plates import render

SPLITS = ("train", "validation", "test")
NAME = "power_jack"


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    root = tmp_path_factory.mktemp("listed")
    real_iad_d3.write_listed(root, train=4, kinds=("hole", "stain"), size=40)
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    real_iad_d3.write_folders(root, train=5, kinds=("hole",), size=40)
    return root


@pytest.fixture
def own(tmp_path):
    """The arrangement of the authors' code, to spoil: the category's folder."""
    return real_iad_d3.write_folders(tmp_path, train=3, kinds=("hole",), size=24)


@pytest.fixture
def own_list(tmp_path):
    """The download, to spoil: its root."""
    real_iad_d3.write_listed(tmp_path, train=3, kinds=("hole",), size=24)
    return tmp_path


def change(root, split, row, **values):
    path = root / "realiad_d3_jsons" / f"{NAME}.json"
    lists = json.loads(path.read_text())
    lists[split][row].update(values)
    path.write_text(json.dumps(lists))


def expect_plates(samples, kinds, rng):
    for sample, kind in zip(samples, kinds, strict=True):
        plate = render(rng, kind, 40)
        want = np.nan_to_num(plate.xyz, nan=0.0) * np.float32(1e-3)  # millimetres to metres
        np.testing.assert_array_equal(sample.xyz, want)
        np.testing.assert_array_equal(sample.mask, plate.mask)
        assert np.abs(sample.rgb.astype(int) - plate.rgb).mean() < 6  # a JPEG
        assert sample.defect == kind


def test_the_download_is_read_by_its_list(listed):
    parts = {split: RealIADD3(listed, NAME, split) for split in SPLITS}
    # Drawn in the order of the writer: training, test, validation.
    rng = np.random.default_rng(0)
    expect_plates(parts["train"], ["good"] * 4, rng)
    test = sorted(parts["test"], key=lambda s: s.name.rsplit("S", 1)[1])
    expect_plates(test, ["good", "good", "hole", "stain"], rng)
    expect_plates(parts["validation"], ["good"] * 3, rng)  # its defective part is left out
    assert parts["train"].names[0] == (
        "train/OK/S0001/power_jack_0001_OK_RGB_01+power_jack_0001_OK_XYZ_01"
    )
    assert len({*parts["train"].names, *parts["test"].names, *parts["validation"].names}) == 11


def test_the_list_decides_and_not_the_order(own_list):
    path = own_list / "realiad_d3_jsons" / f"{NAME}.json"
    rows = json.loads(path.read_text())["train"]
    change(own_list, "train", 0, xyz_path=rows[1]["xyz_path"])
    first, second = RealIADD3(own_list, NAME, "train")[:2]
    np.testing.assert_array_equal(first.xyz, second.xyz)
    assert (first.rgb != second.rgb).any()
    assert first.name.endswith("0001_OK_RGB_01+power_jack_0002_OK_XYZ_01")


@pytest.mark.parametrize("below", ["", "realiad_d3_raw", f"realiad_d3_raw/{NAME}"])
def test_the_download_is_recognised_from_each_of_its_folders(listed, below, monkeypatch):
    data = datasets.open(listed / below)
    want = ("Real-IAD D3", listed / "realiad_d3_raw", (NAME,))
    assert (data.kind, data.root, data.categories) == want
    assert [len(data.split(NAME, split)) for split in SPLITS] == [4, 3, 4]
    monkeypatch.chdir(listed / below)
    assert datasets.open(".").categories == (NAME,)


def test_without_validation_a_fifth_of_the_training_parts_is_for_it(tmp_path, folders):
    real_iad_d3.write_listed(tmp_path, train=5, validation=0, kinds=("hole",), size=24)
    for root in (tmp_path, folders):
        data = datasets.open(root)
        train, validation = (data.split(NAME, split).names for split in SPLITS[:2])
        assert (len(train), len(validation)) == (4, 1)
        assert sorted(train + validation) == list(RealIADD3(root, NAME, "train").names)


def test_the_authors_arrangement_is_paired_by_order(folders):
    rng = np.random.default_rng(0)
    train, test = (RealIADD3(folders, NAME, split) for split in ("train", "test"))
    expect_plates(train, ["good"] * 5, rng)
    assert train.names[0] == "train/GOOD/S0001_L05_RGB+S0001_XYZ"
    assert test.names[-1] == "test/hole/S0009_L05_RGB+S0009_XYZ"
    expect_plates(test, ["good", "good", "hole", "hole"], rng)
    for path in (folders, folders / NAME):
        data = datasets.open(path)
        assert (data.kind, data.root, data.categories) == ("Real-IAD D3", folders, (NAME,))


def flatten(kind):
    """Images beside each other in rgb/ and masks in gt/, under the names of the points."""
    for name in ("rgb", "gt"):
        for path in sorted((kind / name).rglob("*L05*")):
            path.rename(kind / name / f"{path.name[:5]}_XYZ{path.suffix}")
        for below in (kind / name).glob("*/"):
            shutil.rmtree(below) if below.is_dir() else None


def test_images_and_masks_without_folders_of_their_own_are_found(own):
    want = [s.rgb for s in RealIADD3(own.parent, NAME, "test")]
    for kind in own.glob("*/*/"):
        flatten(kind)
    assert datasets.open(own).kind == "Real-IAD D3"  # by ps/
    test = RealIADD3(own.parent, NAME, "test")
    assert test.names[0] == "test/GOOD/S0004_XYZ"
    for sample, rgb in zip(test, want, strict=True):
        np.testing.assert_array_equal(sample.rgb, rgb)
    assert test[-1].mask.any()


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("train/GOOD/xyz/S0002_XYZ.tiff", r"order, but rgb/ has 3 and xyz/ 2"),
        ("test/hole/gt/rgb/S0006_L05_RGB.png", r"order, but rgb/ has 2 and gt/ 1"),
        ("test/hole/rgb/S0007/S0007_L05_RGB.jpg", r"order, but rgb/ has 1 and xyz/ 2"),
    ],
)
def test_counts_that_differ_are_an_error(own, gone, message):
    (own / gone).unlink()
    with pytest.raises(ValueError, match=message):
        RealIADD3(own.parent, NAME, gone.split("/")[0])


def test_equal_names_at_different_places_are_an_error(own):
    kind = own / "train" / "GOOD"
    flatten(kind)
    (kind / "rgb" / "S0003_XYZ.jpg").unlink()
    (kind / "xyz" / "S0001_XYZ.tiff").unlink()
    message = r"S0002_XYZ\.tiff has its name|S0002_XYZ\.tiff its place"
    with pytest.raises(ValueError, match=message):
        RealIADD3(own.parent, NAME, "train")


def test_missing_points_are_zeros(folders):
    sample = RealIADD3(folders, NAME, "train")[0]
    stored = tifffile.imread(folders / NAME / "train/GOOD/xyz/S0001_XYZ.tiff")
    gone = np.isnan(stored).any(-1)
    assert 0 < gone.mean() < 0.05
    assert not sample.xyz[gone].any()
    assert sample.xyz[~gone].all(-1).mean() > 0.9


def test_x_and_y_that_are_the_same_everywhere_are_no_points(tmp_path):
    real_iad_d3.write_folders(tmp_path, train=2, good=1, kinds=(), size=24, flat=True)
    RealIADD3(tmp_path, NAME, "train")[0]
    test = RealIADD3(tmp_path, NAME, "test")
    message = r"x and y are 1 and 1 everywhere: it is a relief; pass pitch=.*datasets\.RealIADD3"
    with pytest.raises(ValueError, match=message):
        test[0]
    trained, tested = (
        RealIADD3(tmp_path, NAME, split, pitch=0.003)[0].xyz for split in ("train", "test")
    )
    both = trained.any(-1) & tested.any(-1)
    # The points of the training lie on the same raster, or one could tell the splits apart.
    np.testing.assert_array_equal(trained[both][:, :2], tested[both][:, :2])
    assert 0.37 < np.median(tested[both][:, 2]) < 0.41


def test_a_finer_image_is_stretched_onto_the_points_and_told(tmp_path):
    real_iad_d3.write_folders(tmp_path, train=2, good=1, kinds=("hole",), size=24, finer=3)
    test = RealIADD3(tmp_path, NAME, "test")
    with pytest.warns(UserWarning, match="the image has 72x72 pixels and its points 24x24; it is"):
        sample = test[-1]
    assert sample.rgb.shape == sample.xyz.shape == (24, 24, 3)
    rng = np.random.default_rng(0)
    plates = [render(rng, kind, 24) for kind in ["good"] * 3 + ["hole"] * 2]
    np.testing.assert_array_equal(sample.mask, plates[-1].mask)
    assert np.abs(sample.rgb.astype(int) - plates[-1].rgb).mean() < 12


def test_a_warp_says_where_the_points_pixels_are_in_the_image(tmp_path):
    # Each pixel of the points is 3 x 3 pixels of the image, whose middle one is 3 n + 1.
    warp = [[3, 0, 1], [0, 3, 1], [0, 0, 1]]
    real_iad_d3.write_folders(tmp_path, train=2, good=1, kinds=("hole",), size=24, finer=3)
    plain = RealIADD3(tmp_path, NAME, "test", warp=warp)[-1]
    path = tmp_path / NAME / "test/hole/rgb/S0005/S0005_L05_RGB.jpg"
    np.testing.assert_array_equal(plain.rgb, np.asarray(Image.open(path))[1::3, 1::3])
    moved = RealIADD3(tmp_path, NAME, "test", warp=[[3, 0, 13], [0, 3, 1], [0, 0, 1]])[-1]
    np.testing.assert_array_equal(moved.rgb[:, :20], plain.rgb[:, 4:])
    np.testing.assert_array_equal(moved.mask[:, :20], plain.mask[:, 4:])
    assert not moved.rgb[:, 20:].any()
    assert not moved.mask[:, 20:].any()


def test_a_defect_outside_the_points_pixels_is_an_error(tmp_path):
    real_iad_d3.write_folders(tmp_path, train=2, good=1, kinds=("hole",), size=24)
    away = [[1, 0, 23], [0, 1, 23], [0, 0, 1]]
    with pytest.raises(ValueError, match="the defect lies outside the pixels of the points"):
        RealIADD3(tmp_path, NAME, "test", warp=away)[-1]


def test_a_homography_is_interpolated_and_has_no_sign():
    image = np.zeros((1, 3, 3), np.uint8)
    image[0, :, 0] = 10, 20, 40
    halves = np.array([[0.5, 0, 0], [0, 1, 0], [0, 0, 1]])
    for warp in (halves, -2 * halves):
        got = image_onto((1, 6), image, warp)
        assert got[0, :, 0].tolist() == [10, 15, 20, 30, 40, 0]
    # Perspective: column n is seen at 2 n / (1 + n), that is 0, 1, 1.33, 1.5.
    got = image_onto((1, 4), image, np.array([[2.0, 0, 0], [0, 1, 0], [1, 0, 1]]))
    assert got[0, :, 0].tolist() == [10, 20, 27, 30]


def test_a_stretched_mask_loses_no_defect():
    mask = np.zeros((90, 90), bool)
    mask[40, 70] = True
    small = mask_onto((9, 9), mask, None)
    assert np.argwhere(small).tolist() == [[4, 7]]
    assert mask_onto((180, 180), mask, None).sum() == 4


@pytest.mark.parametrize("warp", [np.eye(4), np.zeros((3, 3)), np.diag([1, 1, np.nan])])
def test_a_warp_that_is_none_is_refused(folders, warp):
    with pytest.raises(ValueError, match="RealIADD3: warp must be"):
        RealIADD3(folders, NAME, "train", warp=warp)
    with pytest.raises(ValueError, match="x: warp must be"):
        expect_homography("x", warp)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"xyz_path": None}, ValueError, r"json: a part of test has no xyz_path"),
        ({"anomaly_class": 3}, ValueError, r"has no anomaly_class"),
        ({"mask_path": None}, ValueError, r"\(hole\) has no mask_path"),
        ({"image_path": "a/b.jpg"}, FileNotFoundError, r"b\.jpg: no such file, but .*json names"),
        ({"image_path": "../x.jpg"}, ValueError, r"must lie below the category's folder"),
        ({"image_path": "/etc/x.jpg"}, ValueError, r"must lie below the category's folder"),
    ],
)
def test_a_list_that_cannot_be_read_says_why(own_list, values, error, message):
    change(own_list, "test", -1, **values)
    with pytest.raises(error, match=message):
        RealIADD3(own_list, NAME, "test")


@pytest.mark.parametrize("text", ["{", "[1]", '{"train": [3]}'])
def test_a_file_that_is_no_list_is_named(own_list, text):
    (own_list / "realiad_d3_jsons" / f"{NAME}.json").write_text(text)
    with pytest.raises(ValueError, match=rf"{NAME}\.json: (must be|a part of train)"):
        RealIADD3(own_list, NAME, "train")


def test_archives_that_are_not_unpacked_are_told(own_list):
    raw = own_list / "realiad_d3_raw"
    shutil.rmtree(raw / NAME)
    (raw / f"{NAME}.zip").write_bytes(b"PK")
    with pytest.raises(
        FileNotFoundError, match=rf"{NAME}: no such file or folder, unpack .*{NAME}\.zip"
    ):
        RealIADD3(own_list, NAME, "train")
    with pytest.raises(ValueError, match="there are archives, unpack them"):
        datasets.open(own_list)


def test_what_is_missing_is_named(folders):
    with pytest.raises(FileNotFoundError, match=r"no such file or folder$"):
        RealIADD3(folders / "nowhere", NAME, "train")
    with pytest.raises(FileNotFoundError, match=r"relay: no such file or folder$"):
        RealIADD3(folders, "relay", "train")
    with pytest.raises(ValueError, match="split must be one of"):
        RealIADD3(folders, NAME, "val")
    with pytest.raises(ValueError, match="power_jack has no parts for validation"):
        RealIADD3(folders, NAME, "validation")
    with pytest.raises(ValueError, match="RealIADD3: unit must be"):
        RealIADD3(folders, NAME, "train", unit="um")


def test_of_a_warped_mask_the_nearest_pixel_counts():
    mask = np.array([[False, True, False]])
    for shift, want in ((0.4, [0, 1, 0]), (0.6, [1, 0, 0]), (-0.6, [0, 0, 1])):
        warp = np.array([[1, 0, shift], [0, 1, 0], [0, 0, 1]])
        assert mask_onto((1, 3), mask, warp)[0].tolist() == want
