"""Layouts: recognised by `open`, and divided into splits where no folder says so."""

import shutil

import numpy as np
import pytest

from cmad import datasets
from cmad.datasets.files import drawn
from cmad.datasets.parts import divide
from cmad.testing import eyecandies

MARKED = np.eye(4, 6, dtype=np.uint8)
SPLITS = ("train", "validation", "test")


@pytest.fixture
def mvtec(write_part):
    """Write a category in the layout of MVTec 3D-AD, with ten parts for training."""

    def write(folder, *, validation=True):
        for i in range(10):
            write_part(folder / "train" / "good", f"{i:03d}")
        if validation:
            write_part(folder / "validation" / "good")
        write_part(folder / "test" / "good")
        write_part(folder / "test" / "bent", gt=True, mask=MARKED)
        return folder

    return write


@pytest.fixture
def plain(write_part):
    """Write good parts and two kinds of defect into a folder."""

    def write(folder, good=10):
        for i in range(good):
            write_part(folder / "good", f"{i:03d}")
        for kind in ("bent", "cut"):
            write_part(folder / kind, gt=True, mask=MARKED)
        return folder

    return write


def all_names(data, category):
    return {split: list(data.split(category, split).names) for split in SPLITS}


def test_mvtec_is_recognised_as_a_whole_and_by_one_category(tmp_path, mvtec):
    mvtec(tmp_path / "tire")
    mvtec(tmp_path / "bagel")
    (tmp_path / "notes").mkdir()
    data = datasets.open(tmp_path)
    assert data == datasets.DataSet("MVTec 3D-AD", tmp_path, ("bagel", "tire"))
    one = datasets.open(str(tmp_path / "tire"))
    assert one == datasets.DataSet("MVTec 3D-AD", tmp_path, ("tire",))
    names = all_names(data, "tire")
    assert names == all_names(one, "tire")
    assert (len(names["train"]), names["validation"]) == (10, ["validation/good/000"])
    assert names["test"] == ["test/bent/000", "test/good/000"]
    assert [s.label for s in one.split("tire", "test")] == [1, 0]


def test_a_category_given_as_the_current_folder_has_its_name(tmp_path, mvtec, monkeypatch):
    monkeypatch.chdir(mvtec(tmp_path / "tire"))
    data = datasets.open(".")
    assert data.categories == ("tire",)
    assert len(data.split("tire", "train")) == 10


def test_without_validation_a_fifth_of_the_training_parts_is_for_it(tmp_path, mvtec):
    data = datasets.open(mvtec(tmp_path / "tire", validation=False))
    names = all_names(data, "tire")
    everything = [f"train/good/{i:03d}" for i in range(10)]
    assert sorted(names["train"] + names["validation"]) == everything
    assert len(names["validation"]) == 2
    assert set(names["validation"]) == {everything[i] for i in drawn(everything, 0)[:2]}
    assert names["train"] == sorted(names["train"])
    assert names["test"] == ["test/bent/000", "test/good/000"]


def test_eyecandies_are_recognised(tmp_path):
    eyecandies.write(tmp_path, "Candy", train=2, validation=1, good=1, kinds=("dent",), size=64)
    for path in (tmp_path, tmp_path / "Candy"):
        data = datasets.open(path)
        assert (data.kind, data.root, data.categories) == ("Eyecandies", tmp_path, ("Candy",))
        assert [s.defect for s in data.split("Candy", "test")] == ["good", "dent"]
        assert [len(data.split("Candy", split)) for split in SPLITS] == [2, 1, 2]


def test_a_plain_folder_is_divided_and_its_defects_are_tested(tmp_path, plain):
    data = datasets.open(plain(tmp_path / "lid"))
    assert (data.kind, data.root, data.categories) == ("folder", tmp_path, ("lid",))
    names = all_names(data, "lid")
    good = [f"good/{i:03d}" for i in range(10)]
    order = [good[i] for i in drawn(good, 0)]
    assert names["validation"] == sorted(order[:2])
    assert names["test"] == [*sorted(order[2:4]), "bent/000", "cut/000"]
    assert names["train"] == sorted(order[4:])
    for split in SPLITS:
        assert [s.name for s in data.split("lid", split)] == names[split]
    assert [s.label for s in data.split("lid", "test")] == [0, 0, 1, 1]


def test_plain_folders_side_by_side_are_categories(tmp_path, plain):
    plain(tmp_path / "lid")
    plain(tmp_path / "jar")
    assert datasets.open(tmp_path).categories == ("jar", "lid")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_good_parts_to_divide_are_counted(tmp_path, plain, count):
    (plain(tmp_path / "lid", good=count) / "good" / "rgb").mkdir(parents=True, exist_ok=True)
    (tmp_path / "lid" / "good" / "xyz").mkdir(exist_ok=True)
    data = datasets.open(tmp_path / "lid")
    with pytest.raises(ValueError, match=rf"lid: needs at least 3 good parts .*, got {count}$"):
        data.split("lid", "train")


@pytest.mark.parametrize(
    ("count", "test", "sizes"),
    [
        (3, True, (1, 1, 1)),
        (5, True, (3, 1, 1)),
        (8, True, (4, 2, 2)),
        (100, True, (60, 20, 20)),
        (2, False, (1, 1, 0)),
        (10, False, (8, 2, 0)),
    ],
)
def test_a_fifth_each_is_held_out_and_at_least_one(count, test, sizes):
    shares = divide([str(i) for i in range(count)], test=test, what="lid")
    assert tuple(len(shares[split]) for split in SPLITS) == sizes
    assert sorted(i for share in shares.values() for i in share) == list(range(count))


def test_a_part_that_comes_leaves_the_others_nearly_where_they_are():
    names = [f"good/{i:03d}" for i in range(101)]
    before, after = (divide(n, test=True, what="") for n in (names[:100], names))
    assert all(len(set(before[split]) - set(after[split])) <= 1 for split in SPLITS)


def test_an_unknown_folder_is_named_with_what_was_looked_for(tmp_path):
    (tmp_path / "a" / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match="no data set is recognised in") as error:
        datasets.open(tmp_path)
    for sign in (
        str(tmp_path),
        "MVTec 3D-AD: train/<kind>/{rgb,xyz}",
        "Eyecandies: train/data/*_image_4.png",
        "folder: good/{rgb,xyz}",
        "Folder3D: normal/ with normal_depth/",
    ):
        assert sign in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"none: no such file or folder$"):
        datasets.open(tmp_path / "none")


def test_several_layouts_in_one_folder_are_named(tmp_path, mvtec, plain):
    mvtec(tmp_path / "tire")
    plain(tmp_path / "lid")
    message = r"holds several layouts.*\(folder: lid; MVTec 3D-AD: tire\)"
    with pytest.raises(ValueError, match=message):
        datasets.open(tmp_path)


def test_unknown_categories_and_splits_are_refused(tmp_path, plain):
    data = datasets.open(plain(tmp_path / "lid"))
    with pytest.raises(ValueError, match="category must be one of lid, got 'jar'"):
        data.split("jar", "train")
    with pytest.raises(ValueError, match="split must be one of train, validation, test, got 'val'"):
        data.split("lid", "val")


def test_a_partner_that_is_missing_is_named_when_the_split_is_listed(tmp_path, plain):
    data = datasets.open(plain(tmp_path / "lid"))
    points = tmp_path / "lid" / "good" / "xyz" / "004.tiff"
    shutil.move(points, tmp_path)
    with pytest.raises(ValueError, match=r"rgb.004\.png: has no points, .*004\.tiff is missing"):
        data.split("lid", "train")
