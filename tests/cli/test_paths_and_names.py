"""Paths and names on the command line: ``~``, what is not UTF-8, and what folders say of parts."""

import csv
import json
import os
import shutil

import pytest

from cmad.cli._common import _expanded
from cmad.serve.results import Result, Results

QUICK = ["--weights", "random", "--rgb", "vit_tiny_patch16_224", "--variant", "tiny"]
QUICK += ["--image-size", "112", "--epochs", "1", "--pixels-per-image", "20"]


def lines(out):
    return [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]


@pytest.fixture
def parts(data, tmp_path):
    """Copy good parts to folders of these names below ``parts``."""

    def copy(*names):
        for name in names:
            shutil.copytree(
                data / "cover" / "test" / "good" / "rgb", tmp_path / "parts" / name / "rgb"
            )
            shutil.copytree(
                data / "cover" / "test" / "good" / "xyz", tmp_path / "parts" / name / "xyz"
            )
        return tmp_path / "parts"

    return copy


def test_a_tilde_in_any_path_is_the_home_folder(run, model, parts, tmp_path, monkeypatch):
    folder = parts("OK")
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    shutil.copy(model, home / "m.cmad")
    folder.rename(home / "parts")
    result = run("score", "~/m.cmad", "~/parts", "--out=~/scores", "--no-maps", "--no-overlays")
    assert result.code == 0, result.err
    assert len(lines(home / "scores")) == 2
    assert run("info", "~/m.cmad").code == 0
    result = run("fit", "~/parts", "--out=~/n.cmad", "--cache=~/cache", *QUICK)
    assert result.code == 0, result.err
    assert (home / "n.cmad").is_file()
    assert (home / "cache").is_dir()
    assert list(work.iterdir()) == []


def test_only_paths_are_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _expanded([tmp_path.__class__("~/a")]) == [tmp_path / "a"]
    assert _expanded("~/a") == "~/a"
    assert _expanded(["~"]) == ["~"]


def test_folders_by_date_are_not_called_defective_and_good_says_which_are_good(
    run, model, parts, tmp_path
):
    folder = parts("2024-05-01", "OK")
    options = folder, "--no-maps", "--no-overlays"
    result = run("score", model, *options, "--out", tmp_path / "a")
    assert result.code == 0, result.err
    assert [(line["defect"], line["label"]) for line in lines(tmp_path / "a")] == [(None, None)] * 4
    assert "defective" not in result.out
    result = run("score", model, *options, "--out", tmp_path / "b", "--good", "ok")
    labels = [(line["name"], line["label"]) for line in lines(tmp_path / "b")]
    assert labels[1:3] == [("2024-05-01/001", None), ("OK/000", 0)]
    assert "2 good, 0 defective parts" in " ".join(result.out.split())
    assert run("fit", folder, "--out", tmp_path / "n.cmad", *QUICK).code == 0


def test_good_makes_parts_of_a_folder_with_a_defects_name_good_for_fit(run, parts, tmp_path):
    folder = parts("scratch", "good")
    refused = run("fit", folder, "--out", tmp_path / "n.cmad", *QUICK)
    assert refused.code == 1
    assert "scratch" in refused.err
    fitted = run("fit", folder, "--out", tmp_path / "n.cmad", "--good", "scratch", *QUICK)
    assert fitted.code == 0, fitted.err


def test_a_good_that_names_no_folder_stops_at_once(run, model, parts, data, tmp_path):
    folder = parts("OK")
    for command in (["score", model, folder], ["fit", folder, *QUICK]):
        result = run(*command, "--out", tmp_path / "x", "--good", "okay")
        assert result.code == 1
        assert "--good must be the name of a folder of parts (ok, parts), got 'okay'" in result.err
    assert not (tmp_path / "x").exists()
    assert run("score", model, folder, "-o", tmp_path / "x", "--good", "parts").code == 0
    assert [line["label"] for line in lines(tmp_path / "x")] == [0, 0]
    result = run("fit", data, "--category", "cover", "-o", tmp_path / "y", "--good", "OK")
    assert "MVTec 3D-AD: --good is for plain folders" in result.err


def test_a_name_that_is_not_utf8_is_scored_and_written_escaped(run, model, parts, tmp_path):
    folder = parts("OK")
    for kind, suffix in (("rgb", b".png"), ("xyz", b".tiff")):
        place = os.fsencode(folder / "OK" / kind)
        os.rename(place + b"/000" + suffix, place + b"/000\xfc" + suffix)
    result = run("score", model, folder, "--out", tmp_path / "out")
    assert result.code == 0, result.err
    assert [line["name"] for line in lines(tmp_path / "out")] == ["OK/000\\xfc", "OK/001"]
    with (tmp_path / "out" / "scores.csv").open(encoding="utf-8", newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["OK/000\\xfc", "OK/001"]
    assert (tmp_path / "out" / "maps" / "OK" / "000\\xfc.tiff").is_file()
    with open(os.fsencode(folder / "OK" / "rgb") + b"/000\xfc.png", "wb") as file:
        file.write(b"no image")
    result = run("score", model, folder, "--out", os.fsdecode(os.fsencode(tmp_path) + b"/o\xfc"))
    assert result.code == 1  # for the part, which is named
    assert result.err.startswith("error: OK/000\\xfc: ")
    out = tmp_path / os.fsdecode(b"o\xfc")
    assert [line["error"] is None for line in lines(out)] == [False, True]


def test_names_that_a_disk_takes_for_one_get_numbers(tmp_path):
    with Results(tmp_path, maps=False, overlays=False) as results:
        assert results.unique("pi\u00e8ce") == "pi\u00e8ce"
        assert results.unique("pie\u0300ce") == "pi\u00e8ce-2"
        results.add(Result("a"))


def test_fit_does_not_take_an_added_folder_for_a_category(run, parts, tmp_path):
    folder = parts("OK")
    (folder / "__MACOSX" / "train").mkdir(parents=True)
    result = run("fit", folder, "--out", tmp_path / "n.cmad", *QUICK)
    assert result.code == 0, result.err
