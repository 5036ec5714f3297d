"""The arrangement of anomalib's Folder3D."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from cmad import datasets
from cmad.datasets import Folder3D

SPLITS = ("train", "validation", "test")


@pytest.fixture
def write(tmp_path):
    """Write images to FOLDER, their points to FOLDER_depth, masks where asked for."""

    def write(folder, count, *, depth=None, masks=None, ending="", mask_ending=""):
        rgb, xyz = tmp_path / folder, tmp_path / (depth or f"{folder}_depth")
        for place in (rgb, xyz, *([tmp_path / masks] if masks else [])):
            place.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(np.full((4, 6, 3), i, np.uint8)).save(rgb / f"{i:03d}.png")
            points = np.full((4, 6, 3), i + 1, np.float32)
            tifffile.imwrite(xyz / f"{i:03d}{ending}.tiff", points, photometric="rgb")
            if masks:
                mask = Image.fromarray(np.eye(4, 6, dtype=np.uint8))
                mask.save(tmp_path / masks / f"{i:03d}{mask_ending}.png")
        return tmp_path

    return write


def all_names(root, **folders):
    return {split: list(Folder3D(root, split, **folders).names) for split in SPLITS}


@pytest.mark.parametrize("masks", ["ground_truth", "mask", "masks"])
def test_the_first_documented_arrangement_is_read_and_recognised(write, masks):
    write("normal", 10)
    write("normal_test", 2)
    root = write("abnormal", 2, masks=masks, ending="_depth", mask_ending="_mask")
    names = all_names(root)
    assert [len(names[split]) for split in SPLITS] == [8, 2, 4]
    assert sorted(names["train"] + names["validation"]) == [f"normal/{i:03d}" for i in range(10)]
    assert names["test"] == [
        *("normal_test/000", "normal_test/001"),
        *("abnormal/000", "abnormal/001"),
    ]
    test = Folder3D(root, "test")
    assert [s.name for s in test] == names["test"]
    assert [s.defect for s in test] == ["good", "good", "abnormal", "abnormal"]
    assert [int(s.mask.sum()) for s in test] == [0, 0, 4, 4]
    assert [int(s.rgb.max()) for s in test] == [0, 1, 0, 1]
    assert [int(s.xyz.max()) for s in test] == [1, 2, 1, 2]
    data = datasets.open(root)
    assert (data.kind, data.root, data.categories) == ("Folder3D", root.parent, (root.name,))
    assert {s: list(data.split(root.name, s).names) for s in SPLITS} == names


def test_without_normal_test_parts_the_normal_ones_are_divided_for_it(write):
    write("normal", 10)
    root = write("abnormal", 1)
    names = all_names(root)
    assert [len(names[split]) for split in SPLITS] == [6, 2, 3]
    assert sum(n.startswith("normal/") for n in names["test"]) == 2
    abnormal = Folder3D(root, "test")[-1]
    assert (abnormal.name, abnormal.label, abnormal.mask) == ("abnormal/000", 1, None)


@pytest.mark.parametrize("masks", ["test/ground_truth", None])
def test_the_second_documented_arrangement_is_recognised(write, masks):
    write("train/good", 5)
    root = write("test/defect", 2, masks=masks)
    data = datasets.open(root)
    assert data.kind == "Folder3D"
    names = {s: list(data.split(root.name, s).names) for s in SPLITS}
    assert [len(names[split]) for split in SPLITS] == [3, 1, 3]
    test = data.split(root.name, "test")
    assert [s.defect for s in test] == ["good", "defect", "defect"]
    assert (test[1].mask is None) is (masks is None)
    write("test/good", 4)
    assert [len(data.split(root.name, split)) for split in SPLITS] == [4, 1, 6]


def test_folders_can_be_named_by_anomalibs_arguments(write):
    write("ok/rgb", 5, depth="ok/xyz")
    write("ok2", 1, depth="ok2_points")
    root = write("nok", 1, depth="nok_points", masks="truth")
    test = Folder3D(
        root,
        "test",
        normal_dir="ok/rgb",
        abnormal_dir="nok",
        normal_test_dir="ok2",
        mask_dir="truth",
        normal_depth_dir="ok/xyz",
        abnormal_depth_dir="nok_points",
        normal_test_depth_dir="ok2_points",
    )
    assert [s.label for s in test] == [0, 1]


def test_missing_partners_are_named(write):
    write("normal", 5)
    root = write("abnormal", 2, masks="mask")
    (root / "mask" / "001.png").unlink()
    with pytest.raises(ValueError, match=r"abnormal.001\.png: has no mask, .*mask.001\.png is mis"):
        Folder3D(root, "test")
    (root / "normal_depth" / "003.tiff").unlink()
    with pytest.raises(ValueError, match=r"normal.003\.png: has no points, .*003\.tiff is missing"):
        Folder3D(root, "train")
    (root / "normal" / "003.png").unlink()
    (root / "normal" / "004.png").unlink()
    with pytest.raises(ValueError, match=r"004\.tiff: has no image, .*normal.004\.png is missing"):
        Folder3D(root, "train")


def test_bad_arguments_and_folders_are_named(write):
    root = write("normal", 2)
    with pytest.raises(ValueError, match="split must be one of train, validation, test, got 'val'"):
        Folder3D(root, "val")
    with pytest.raises(FileNotFoundError, match=r"usual: no such file or folder$"):
        Folder3D(root, "train", normal_dir="usual")
    with pytest.raises(ValueError, match=r"needs at least 3 good parts .* got 2"):
        Folder3D(root, "train")


def test_several_kinds_of_defect_are_not_guessed_at(write):
    write("train/good", 5)
    write("test/cut", 1)
    root = write("test/bent", 1)
    with pytest.raises(ValueError, match=r"several kinds of defect \(bent, cut\)"):
        datasets.open(root)
