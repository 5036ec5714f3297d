"""The folder of `cmad score`: its columns, and what an earlier run in it leaves behind."""

import csv
import json
import os
import shutil

import numpy as np
import pytest

from cmad.serve import results as _results
from cmad.serve.results import Result, Results
from cmad.types import Prediction, Region

RGB = np.zeros((4, 6, 3), np.uint8)


def rows(out):
    with (out / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def lines(out):
    return [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]


def region(area=1.0, pixels=3, box=(0, 1, 2, 3), centroid=(0.1, 0.2, 0.5), modality="2d"):
    return Region(box, pixels, area, centroid, 1.0, (0, 1), modality, {})


def written(out, *names, maps=True, overlays=True):
    """Write results as a run does."""
    with Results(out, maps=maps, overlays=overlays) as results:
        for name in names:
            full = Prediction(1.0, np.zeros((4, 6), np.float32))
            results.add(Result(results.unique(name), score=1.0), RGB, full)
    return results


def files(out):
    return sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())


def test_both_tables_have_the_files_of_each_part(run, model, data, tmp_path, monkeypatch):
    monkeypatch.chdir(data / "cover")
    assert run("score", model, "test/good", "-o", tmp_path / "a", "--no-maps").code == 0
    for row, line, number in zip(rows(tmp_path / "a"), lines(tmp_path / "a"), (0, 1), strict=True):
        folder = data / "cover" / "test" / "good"
        assert row["rgb"] == line["rgb"] == str(folder / "rgb" / f"00{number}.png")
        assert row["xyz"] == line["xyz"] == str(folder / "xyz" / f"00{number}.tiff")
        assert (row["map"], line["map"]) == ("", None)
        assert row["overlay"] == line["overlay"] == f"overlays/00{number}.png"
        assert (tmp_path / "a" / line["overlay"]).is_file()
    pair = "test/hole/xyz/000.tiff", "test/hole/rgb/000.png"
    assert run("score", model, *pair, "-o", tmp_path / "b").code == 0
    (line,) = lines(tmp_path / "b")
    assert line["rgb"].endswith("/test/hole/rgb/000.png")
    assert line["xyz"].endswith("/test/hole/xyz/000.tiff")


def test_a_part_that_cannot_be_read_has_its_files_and_no_pictures(run, model, data, tmp_path):
    parts = tmp_path / "parts"
    shutil.copytree(data / "cover" / "test" / "good", parts)
    (parts / "rgb" / "000.png").write_bytes(b"no image")
    result = run("score", model, parts, "-o", tmp_path / "out")
    assert result.code == 1
    assert "000: not scored, " in result.out
    assert rows(tmp_path / "out")[0]["rgb"] == str(parts / "rgb" / "000.png")
    assert rows(tmp_path / "out")[0]["map"] == ""
    assert files(tmp_path / "out" / "maps") == ["001.tiff"]


def test_scores_csv_has_the_largest_region(tmp_path):
    with Results(tmp_path, maps=False, overlays=False) as results:
        large = region(9.0, 2, (1, 2, 3, 4), (0.1, 0.2, 0.5), "both")
        results.add(Result("area", regions=(region(), large, region(2.0, 8))))
        results.add(Result("pixels", regions=(region(5.0, 4), region(None, 8, centroid=None))))
        results.add(Result("none", regions=()))
        results.add(Result("unknown"))
    area, pixels, none, unknown = rows(tmp_path)
    assert (area["regions"], area["largest_area"], area["largest_modality"]) == ("3", "9.0", "both")
    sides = ("top", "left", "bottom", "right")
    assert [area[f"largest_box_{side}"] for side in sides] == ["1", "2", "3", "4"]
    assert [area[f"largest_centroid_{axis}"] for axis in "xyz"] == ["0.1", "0.2", "0.5"]
    assert (pixels["largest_area"], pixels["largest_centroid_x"]) == ("", "")
    assert pixels["largest_box_right"] == "3"
    assert (none["regions"], none["largest_area"], none["largest_modality"]) == ("0", "", "")
    assert (unknown["regions"], unknown["largest_box_top"]) == ("", "")


def test_the_pictures_of_an_earlier_run_are_removed_and_nothing_else(tmp_path):
    first = written(tmp_path, "good/a", "good/b", "c")
    assert first.removed == 0
    own = ["maps/mine.tiff", "overlays/good/mine.png", "notes.txt", "maps/c.txt"]
    for name in own:
        (tmp_path / name).write_text("mine")
    second = written(tmp_path, "good/b", overlays=False)
    assert second.removed == 6
    assert files(tmp_path) == sorted([*own, "maps/good/b.tiff", "scores.csv", "scores.jsonl"])
    assert all((tmp_path / name).read_text() == "mine" for name in own)
    assert [row["name"] for row in rows(tmp_path)] == ["good/b"]


def test_folders_that_become_empty_go_too(tmp_path):
    written(tmp_path, "good/deep/a", "b")
    written(tmp_path, "b", maps=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["overlays", "scores.csv", "scores.jsonl"]
    assert files(tmp_path / "overlays") == ["b.png"]
    assert not (tmp_path / "overlays" / "good").exists()


@pytest.mark.parametrize("table", ["scores.csv", "scores.jsonl"])
def test_one_table_is_enough_to_know_them(tmp_path, table):
    written(tmp_path, "a")
    (tmp_path / table).unlink()
    assert written(tmp_path).removed == 2


def test_tables_that_were_cut_are_believed_as_far_as_they_go(tmp_path):
    written(tmp_path, "a", "b")
    for table in ("scores.csv", "scores.jsonl"):
        text = (tmp_path / table).read_bytes()
        (tmp_path / table).write_bytes(text[: -len(text) // 4] + b"\xff\x00")
    written(tmp_path)
    assert "maps/a.tiff" not in files(tmp_path)


def test_a_table_cannot_make_it_remove_other_files(tmp_path):
    out = tmp_path / "out"
    written(out, "a")
    outside = tmp_path / "maps" / "x.tiff"
    outside.parent.mkdir()
    outside.write_text("mine")
    (out / "x.tiff").write_text("mine")
    (out / "maps" / "y.png").write_text("mine")
    (out / "maps" / "z.tiff").mkdir()
    text = (out / "scores.jsonl").read_text()
    listed = ["maps/../../maps/x.tiff", str(outside), "x.tiff", "maps/y.png", "maps/z.tiff", "maps"]
    listed += ["maps/\0.tiff"]
    for name in listed:
        text += json.dumps({"name": "b", "score": 1, "map": name}) + "\n"
    (out / "scores.jsonl").write_text(text)
    assert written(out).removed == 2
    assert outside.read_text() == (out / "x.tiff").read_text() == "mine"
    assert (out / "maps" / "y.png").read_text() == "mine"


@pytest.mark.parametrize(
    ("table", "text"), [("scores.csv", "name,grade\na,1\n"), ("scores.jsonl", '{"id": 1}\n')]
)
def test_a_file_that_is_none_of_ours_is_not_written_over(run, model, data, tmp_path, table, text):
    (tmp_path / table).write_text(text)
    result = run("score", model, data / "cover" / "test" / "good", "-o", tmp_path)
    assert result.code == 1
    assert f"error: {tmp_path / table} is no table of cmad score" in result.err
    assert (tmp_path / table).read_text() == text
    assert files(tmp_path) == [table]


def test_wrong_arguments_remove_nothing(run, model, data, tmp_path):
    good = data / "cover" / "test" / "good"
    assert run("score", model, good, "-o", tmp_path).code == 0
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    assert run("score", model, tmp_path / "nothing", "-o", tmp_path).code == 1
    assert run("score", tmp_path / "gone.cmad", good, "-o", tmp_path).code == 1
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_a_second_run_says_what_it_removed(run, model, data, tmp_path):
    test = data / "cover" / "test"
    assert "removed" not in run("score", model, test, "-o", tmp_path).out
    result = run("score", model, test / "good", "-o", tmp_path)
    assert f"removed 8 maps and overlays of an earlier run from {tmp_path}" in result.out
    assert files(tmp_path / "maps") == ["000.tiff", "001.tiff"]


@pytest.mark.parametrize("step", ["draw", "replace", "caption"])
def test_a_run_that_ends_within_a_part_leaves_no_picture_without_its_line(
    tmp_path, monkeypatch, step
):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    written(tmp_path, "z")
    with Results(tmp_path, maps=True, overlays=True) as results:
        full = Prediction(1.0, np.zeros((4, 6), np.float32))
        results.add(Result("a"), RGB, full)
        if step == "replace":
            replace, calls = os.replace, []

            def second(*args):
                calls.append(args)
                return replace(*args) if len(calls) == 1 else interrupted()

            monkeypatch.setattr(_results.os, "replace", second)
        else:
            monkeypatch.setattr(_results.verdict, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            results.add(Result("b"), RGB, full)
    assert results.count == 1
    assert [row["name"] for row in rows(tmp_path)] == [line["name"] for line in lines(tmp_path)]
    pictures = ["maps/a.tiff", "overlays/a.png"]
    assert files(tmp_path) == [*pictures, "scores.csv", "scores.jsonl"]
    monkeypatch.undo()
    assert written(tmp_path).removed == 2
