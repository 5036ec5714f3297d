"""Names of files and folders as disks and people spell them."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from cmad.datasets import Folder, Folder3D, MVTec3D, Pairs, open, read_frame
from cmad.datasets.files import drawn, read_rgb
from cmad.datasets.kinds import kind_of
from cmad.datasets.names import child, folders_in, passed_over, plain, shown, walk
from cmad.paths import user_path

COMPOSED = "pi\u00e8ce"
APART = unicodedata.normalize("NFD", COMPOSED)


def test_a_name_is_shown_with_accents_joined_and_other_bytes_escaped():
    assert plain(APART) == plain(COMPOSED) == COMPOSED
    assert plain(os.fsdecode(b"000\xfc")) == "000\\xfc"
    assert plain("000") == "000"


def test_a_message_can_be_written_whatever_file_it_names():
    assert shown(os.fsdecode(b"d\xe4/\xfc.png: pi\xc3\xa8ce")) == f"d\\xe4/\\xfc.png: {COMPOSED}"
    assert shown("a \ud800 half") == "a \\ud800 half"


def test_files_belong_together_whatever_the_form_of_their_accents(tmp_path, write_part):
    write_part(tmp_path, COMPOSED, gt=True)
    for kind, suffix in (("xyz", "tiff"), ("gt", "png")):
        file = tmp_path / kind / f"{COMPOSED}.{suffix}"
        file.rename(file.with_name(f"{APART}.{suffix}"))
    samples = Folder(tmp_path)
    assert samples.names == (COMPOSED,)
    assert samples[0].defect == "good"  # its mask was found
    assert drawn([APART, "b"], 3) == drawn([COMPOSED, "b"], 3)


def test_two_files_that_differ_only_in_the_form_are_named(tmp_path, write_part):
    write_part(tmp_path, COMPOSED)
    write_part(tmp_path, APART)
    with pytest.raises(ValueError, match="the same part has"):
        Folder(tmp_path)


def test_folders_are_found_whatever_the_form_of_their_accents(tmp_path, write_part):
    write_part(tmp_path / APART / "train" / "good")
    write_part(tmp_path / APART / "test" / "good")
    assert len(MVTec3D(tmp_path, COMPOSED, "test")) == 1
    data = open(tmp_path)
    assert data.categories == (COMPOSED,)
    assert len(data.split(APART, "test")) == len(data.split(COMPOSED, "test")) == 1
    assert child(tmp_path, f"{COMPOSED}/train") == tmp_path / APART / "train"
    assert child(tmp_path, "none/at/all") == tmp_path / "none" / "at" / "all"


def test_the_folders_of_folder3d_are_found_in_either_form(tmp_path, write_part):
    write_part(tmp_path / "parts", "000")
    write_part(tmp_path / "parts", "001")
    (tmp_path / "parts" / "rgb").rename(tmp_path / APART)
    (tmp_path / "parts" / "xyz").rename(tmp_path / f"{APART}_depth")
    parts = Folder3D(tmp_path, "train", normal_dir=COMPOSED, normal_test_dir=APART)
    assert [name.split("/")[0] for name in parts.names] == [COMPOSED]


def test_a_name_that_is_not_utf8_is_read_and_shown_escaped(tmp_path, write_part):
    write_part(tmp_path / "hole", "000")
    for kind, suffix in (("rgb", b".png"), ("xyz", b".tiff")):
        folder = os.fsencode(tmp_path / "hole" / kind)
        os.rename(folder + b"/000" + suffix, folder + b"/000\xfc" + suffix)
    os.rename(tmp_path / "hole", os.fsencode(tmp_path) + b"/hole\xe9")
    samples = Folder(tmp_path)
    assert samples.names == ("hole\\xe9/000\\xfc",)
    assert (samples[0].name, samples[0].defect) == ("hole\\xe9/000\\xfc", "hole\\xe9")
    assert samples.few_shot(1).names == samples.names
    files = [*tmp_path.rglob("*.png"), *tmp_path.rglob("*.tiff")]
    assert Pairs(files).names == ("000\\xfc",)


def test_each_real_folder_is_read_once_and_by_its_own_name(tmp_path, write_part):
    write_part(tmp_path / "p" / "z" / "may")
    write_part(tmp_path / "outside" / "june")
    for link, to in (
        ("a", "z"),  # before the real one
        ("z/latest", "may"),
        ("z/may/loop", tmp_path / "p"),
        ("o1", tmp_path / "outside"),
        ("o2", tmp_path / "outside"),
        ("o3", tmp_path / "outside" / "june"),
    ):
        (tmp_path / "p" / link).symlink_to(to, target_is_directory=True)
    copies = tmp_path / "p" / "b"
    copies.mkdir()
    for kind in ("rgb", "xyz"):
        (copies / kind).symlink_to(tmp_path / "p" / "z" / "may" / kind)
    assert Folder(tmp_path / "p").names == ("o1/june/000", "z/may/000")
    assert [f.name for f in walk(tmp_path / "p")][:3] == ["p", "b", "o1"]


def test_links_to_kinds_and_categories_count_once(tmp_path, write_part):
    write_part(tmp_path / "bagel" / "train" / "good")
    write_part(tmp_path / "bagel" / "test" / "good")
    (tmp_path / "bagel" / "train" / "again").symlink_to("good")
    (tmp_path / "a").symlink_to("bagel")
    assert MVTec3D(tmp_path, "bagel", "train").names == ("train/good/000",)
    assert open(tmp_path).categories == ("bagel",)


@pytest.mark.parametrize(
    "name", ["__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", ".ipynb_checkpoints"]
)
def test_folders_that_systems_add_are_passed_over(tmp_path, write_part, name):
    assert passed_over(name)
    write_part(tmp_path / "bagel" / "train" / "good")
    write_part(tmp_path / "bagel" / "test" / "good")
    for folder in (tmp_path, tmp_path / "bagel", tmp_path / "bagel" / "test"):
        (folder / name / "bagel" / "good" / "rgb").mkdir(parents=True)
        write_part(folder / name / "train" / "good")
        write_part(folder / name / "test" / "good")
        (folder / name / "rgb").mkdir()
    assert Folder(tmp_path / "bagel").names == ("test/good/000", "train/good/000")
    assert open(tmp_path).categories == ("bagel",)
    assert len(open(tmp_path).split("bagel", "test")) == 1
    assert [f.name for f in folders_in(tmp_path)] == ["bagel"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((n, "good") for n in ("good", "Good", "GOOD")),
        *(
            (n, None)
            for n in ("2024-05-01", "20240501", "001", "OK", "i.O.", "ok_parts", "Batch 7")
        ),
        *((n, None) for n in ("lot-B", "B1234", "KW12", "May", "monday", "may_2024", "shift2")),
        *((n, None) for n in ("no_defects", "not scratched", "latest", "normal")),
        *(
            (n, n)
            for n in ("scratch", "hole", "bent", "NOK", "n.i.O.", "NG", "bad_2024", "Defect7")
        ),
    ],
)
def test_a_name_says_good_or_a_defect_or_nothing(tmp_path, name, kind):
    (tmp_path / name).mkdir()
    assert kind_of(Path(name), tmp_path) == kind
    (tmp_path / "good").mkdir(exist_ok=True)
    assert kind_of(Path(name), tmp_path) == kind  # also beside good


def test_any_other_name_is_a_defect_beside_good_or_with_masks(tmp_path):
    (tmp_path / "thread").mkdir()
    assert kind_of(Path("thread"), tmp_path) is None
    (tmp_path / "thread" / "gt").mkdir()
    assert kind_of(Path("thread"), tmp_path) == "thread"
    (tmp_path / "thread" / "gt").rmdir()
    (tmp_path / "Good").mkdir()
    assert kind_of(Path("thread"), tmp_path) == "thread"


def test_the_innermost_name_that_says_something_decides(tmp_path):
    for path in ("good/2024-05-01", "scratch/batch 2", "test/scratch/good", "OK/7"):
        (tmp_path / path).mkdir(parents=True)
    told = {
        path: kind_of(Path(path), tmp_path)
        for path in ("good/2024-05-01", "scratch/batch 2", "test/scratch/good", "OK/7")
    }
    assert list(told.values()) == ["good", "scratch", "good", None]
    assert kind_of(Path("OK/7"), tmp_path, ["ok"]) == "good"


def test_names_of_good_parts_can_be_given_also_that_of_the_folder(tmp_path, write_part):
    write_part(tmp_path / "OK")
    write_part(tmp_path / "2024-05-01")
    assert [s.label for s in Folder(tmp_path)] == [None, None]
    assert [s.defect for s in Folder(tmp_path, good=["OK"])] == [None, "good"]
    assert [s.label for s in Folder(tmp_path / "OK", good=["OK"])] == [0]
    assert [s.label for s in Folder(tmp_path / "OK")] == [None]


def test_masks_tell_where_the_name_does_not(tmp_path, write_part):
    mask = np.eye(4, 6, dtype=np.uint8)
    write_part(tmp_path / "2024-05-01", "a", gt=True)
    write_part(tmp_path / "2024-05-01", "b", gt=True, mask=mask)
    assert [s.defect for s in Folder(tmp_path)] == ["good", "defect"]


def test_a_tilde_is_the_home_folder_in_every_reader(tmp_path, write_part, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_part(tmp_path / "d" / "lid" / "good")
    write_part(tmp_path / "d" / "bagel" / "train" / "good")
    write_part(tmp_path / "d" / "bagel" / "test" / "good")
    assert len(Folder("~/d")) == 3
    assert open("~/d/bagel").categories == ("bagel",)
    assert len(MVTec3D("~/d", "bagel", "test")) == 1
    rgb, xyz = "~/d/lid/good/rgb/000.png", "~/d/lid/good/xyz/000.tiff"
    assert read_rgb(rgb).shape == read_frame(rgb, xyz).xyz.shape
    assert len(Pairs([rgb, xyz])) == 1
    assert user_path("~") == tmp_path
    assert user_path("~nobody-has-this-name/a") == Path("~nobody-has-this-name/a")
    assert user_path("a/~/b") == Path("a/~/b")
