import os
from pathlib import Path

import numpy as np
import pytest

from cmad.datasets import MVTec3D


@pytest.fixture
def root(tmp_path, write_part):
    """Write a data set of one category, every part with a value of its own."""
    category = tmp_path / "bagel"
    for value, stem in enumerate(("001", "000")):
        write_part(category / "train" / "good", stem, value=value)
    write_part(category / "validation" / "good", value=2)
    hole = np.eye(4, 6, dtype=np.uint8) * 255
    write_part(category / "test" / "hole", "000", value=5, gt=True, mask=hole)
    write_part(category / "test" / "hole", "003", value=6, gt=True, mask=hole)
    write_part(category / "test" / "good", "000", value=4, gt=True)
    write_part(category / "test" / "combined", "000", value=3, gt=True, mask=hole)
    (category / "readme.txt").touch()
    (category / "calibration").mkdir()
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_a_split_is_read_in_order_with_truth(root):
    test = MVTec3D(root, "bagel", "test")
    assert len(test) == 4
    assert [s.name for s in test] == [
        "test/combined/000",
        "test/good/000",
        "test/hole/000",
        "test/hole/003",
    ]
    assert [s.defect for s in test] == ["combined", "good", "hole", "hole"]
    assert [s.label for s in test] == [1, 0, 1, 1]
    assert [int(s.mask.sum()) for s in test] == [4, 0, 4, 4]
    assert [int(s.rgb[0, 0, 0]) for s in test] == [3, 4, 5, 6]
    assert [round(1000 * float(s.xyz[0, 0, 0])) for s in test] == [3, 4, 5, 6]


def test_training_and_validation_parts_are_good_and_have_zero_masks(root):
    train = MVTec3D(str(root), "bagel", "train")
    assert [s.name for s in train] == ["train/good/000", "train/good/001"]
    for sample in (*train, *MVTec3D(root, "bagel", "validation")):
        assert sample.label == 0
        assert sample.mask.shape == (4, 6)
        assert not sample.mask.any()


def test_a_slice_selects_without_reading(root):
    test = MVTec3D(root, "bagel", "test")
    (root / "bagel" / "test" / "hole" / "rgb" / "000.png").write_bytes(b"")
    some = test[1:3]
    assert (len(some), some[0].name) == (2, "test/good/000")
    with pytest.raises(ValueError, match=r"hole.rgb.000\.png: cannot be read"):
        some[1]


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such file or folder$"):
        MVTec3D(tmp_path / "nowhere", "bagel", "train")


def test_an_unknown_category_lists_those_there(root, write_part):
    write_part(root / "tire" / "train" / "good")
    for category in ("potato", "notes"):
        with pytest.raises(ValueError, match=f"must be one of bagel, tire, got '{category}'"):
            MVTec3D(root, category, "train")


def test_a_root_without_categories_says_so(root, tmp_path):
    with pytest.raises(ValueError, match=r"root must hold folders of categories, got .*notes$"):
        MVTec3D(root / "notes", "bagel", "train")
    with pytest.raises(ValueError, match=r"got .*bagel; it is a category itself$"):
        MVTec3D(root / "bagel", "bagel", "train")


def test_an_unknown_split_lists_the_three(root):
    with pytest.raises(
        ValueError, match="split must be one of train, validation, test, got 'valid'"
    ):
        MVTec3D(root, "bagel", "valid")


def test_a_category_without_the_split_is_named(root, write_part):
    write_part(root / "tire" / "train" / "good")
    with pytest.raises(FileNotFoundError, match=r"tire has no folder test/"):
        MVTec3D(root, "tire", "test")


def test_a_split_without_samples_is_named(root):
    (root / "tire" / "train" / "good").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"train holds no samples"):
        MVTec3D(root, "tire", "train")


def test_a_defect_without_mask_is_named(root):
    (root / "bagel" / "test" / "hole" / "gt" / "003.png").unlink()
    with pytest.raises(ValueError, match=r"rgb.003\.png: has no mask, .*gt.003\.png is missing"):
        MVTec3D(root, "bagel", "test")


def test_an_image_without_points_is_named(root):
    (root / "bagel" / "test" / "hole" / "xyz" / "003.tiff").unlink()
    with pytest.raises(ValueError, match=r"rgb.003\.png: has no points"):
        MVTec3D(root, "bagel", "test")


@pytest.mark.skipif("CMAD_MVTEC3D" not in os.environ, reason="CMAD_MVTEC3D names no data set")
def test_real_parts_are_read_registered_and_in_metres():
    root = Path(os.environ["CMAD_MVTEC3D"])
    splits = {s: MVTec3D(root, "cable_gland", s) for s in ("train", "validation", "test")}
    assert [len(samples) for samples in splits.values()] == [48, 12, 45]
    assert splits["train"][0].name == "train/good/000"
    kinds = set()
    for sample in splits["test"]:
        kinds.add(sample.defect)
        assert sample.rgb.shape == sample.xyz.shape == (400, 400, 3)
        assert sample.mask.shape == (400, 400)
        assert sample.mask.any() == (sample.defect != "good")
    assert kinds == {"good", "bent", "cut", "hole", "thread"}
    # The camera is some tens of centimetres away, and each point lies on the ray of its pixel: the
    # columns run along x and the rows along y.
    for sample in (splits["train"][7], splits["validation"][3]):
        x, y, z = sample.xyz[(sample.xyz != 0).any(-1)].T
        assert 0.2 < z.min() < z.max() < 1.0
        row, column = np.nonzero((sample.xyz != 0).any(-1))
        assert np.corrcoef(column, x / z)[0, 1] > 0.99
        assert np.corrcoef(row, y / z)[0, 1] > 0.99
