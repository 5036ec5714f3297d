"""`cmad report`: from results, an evaluation, or a model and parts; and what stands in its way."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
import tifffile

import cmad
from cmad.cli._beside import _calibration as calibration_of
from cmad.datasets import Folder
from cmad.report.page import packing

pytest.importorskip("jinja2", reason="the report needs Jinja2, the extra report")


def record(path):
    """What the page's overview is made from."""
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="record">(.*?)</script>', text, re.S)[1])


def part(path, i):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(rf'id="part-{i}">(.*?)</script>', text, re.S)[1])


def lines(out):
    return [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def scores(run, model, data, tmp_path_factory):
    """What `cmad score` writes of the test parts."""
    out = tmp_path_factory.mktemp("scores") / "scores é"
    assert run("score", model, data / "cover" / "test", "-o", out).code == 0
    return out


@pytest.fixture
def copy(scores, tmp_path):
    return shutil.copytree(scores, tmp_path / "copy")


@pytest.fixture(scope="module")
def evaluation(run, bagels, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    options = ["--epochs", 1, "--pixels-per-image", 50, "--weights", "random", "--variant", "tiny"]
    maps = ["--maps", out / "maps"]
    ran = run("evaluate", bagels, *options, *maps, "-r", 0.5, "--out", out / "results")
    assert ran.code == 0, ran.err
    return out / "results"


def test_the_numbers_are_those_of_the_scores(run, scores, detector, tmp_path):
    out = tmp_path / "r.html"
    result = run("report", scores, "-o", out, "--title", "Covers of May")
    assert result.code == 0, result.err
    known = record(out)
    assert known["title"] == "Covers of May"
    [group] = known["groups"]
    assert group["threshold"] == detector.threshold
    assert group["rates"]["scores"] == list(detector.calibration.scores)
    assert group["scale"]["mark"] == detector.calibration.pixel_threshold
    listed = lines(scores)
    assert len(group["rows"]) == len(listed) == 4
    for i, (row, line) in enumerate(zip(group["rows"], listed, strict=True)):
        for name, key in (
            ("name", "name"),
            ("score", "score"),
            ("p", "p_value"),
            ("defect", "defect"),
        ):
            assert row[name] == line[key]
        assert row["regions"] == len(line["regions"])
        assert row["area"] == (
            pytest.approx(sum(r["area"] for r in line["regions"])) if line["regions"] else None
        )
        kept = part(out, i)
        assert kept["regions"] == line["regions"]
        assert kept["missing"] == []
        assert None not in (kept["rgb"], kept["depth"], kept["map"], kept["cloud"])
        map_ = tifffile.imread(scores / line["map"])
        codes = packing.unpacked(kept["map"]["codes"], map_.shape)
        np.testing.assert_array_equal(codes > 127, map_ > detector.calibration.pixel_threshold)
        assert (kept["truth"] is not None) == (line["rgb"] is not None)
    verdicts = [line["verdict"] for line in listed]
    assert group["counts"]["rejected"] == verdicts.count("rejected")
    assert f"rejected {verdicts.count('rejected')}" in result.out
    assert "note: Random weights" in result.out
    assert f"written: {out}" in result.out


def test_a_model_and_parts_give_the_same_page(run, model, data, scores, tmp_path):
    one, other = tmp_path / "one.html", tmp_path / "other.html"
    assert run("report", scores, "-o", one).code == 0
    result = run("report", model, data / "cover" / "test", "-o", other)
    assert result.code == 0, result.err
    first, second = (record(path)["groups"][0] for path in (one, other))
    assert [row["score"] for row in first["rows"]] == [row["score"] for row in second["rows"]]
    assert second["metrics"]["I-AUROC"] >= 0
    for i in range(4):
        got, want = part(other, i), part(one, i)
        assert {k: v for k, v in got.items() if k != "warnings"} == {
            k: v for k, v in want.items() if k != "warnings"
        }


def test_a_part_that_cannot_be_scored_is_in_the_page(run, model, data, tmp_path):
    parts = shutil.copytree(data / "cover" / "test" / "good", tmp_path / "parts")
    (parts / "xyz" / "001.tiff").write_bytes(b"no points")
    result = run("report", model, parts, "-o", tmp_path / "r.html")
    assert result.code == 1
    assert "1 of 2 parts could not be scored" in result.err
    rows = record(tmp_path / "r.html")["groups"][0]["rows"]
    assert rows[0]["error"] is None
    assert "001.tiff: cannot be read" in rows[1]["error"]
    assert run("score", model, parts, "-o", tmp_path / "out").code == 1
    again = run("report", tmp_path / "out", "-o", tmp_path / "s.html")
    assert again.code == 0
    assert "not scored 1" in again.out
    assert part(tmp_path / "s.html", 1)["rgb"] is not None


def test_files_that_are_gone_are_said_to_be(run, copy, tmp_path):
    listed = lines(copy)
    listed[0]["rgb"], listed[1]["xyz"] = "/nowhere/a.png", "/nowhere/b.tiff"
    (copy / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in listed))
    (copy / listed[2]["map"]).unlink()
    result = run("report", copy, "-o", tmp_path / "r.html")
    assert result.code == 0, result.err
    assert "3 of 4 parts lack something to look at, the first " in result.out
    for i, (what, gone) in enumerate((("image", "rgb"), ("points", "cloud"), ("map", "map"))):
        kept = part(tmp_path / "r.html", i)
        assert kept["missing"][0].startswith(f"{what}: ")
        assert "no such file" in kept["missing"][0]
        assert kept[gone] is None
    assert part(tmp_path / "r.html", 3)["missing"] == []


def test_a_part_that_was_replaced_by_one_of_another_size_is_not_drawn_over(run, copy, tmp_path):
    listed = lines(copy)
    tifffile.imwrite(copy / listed[0]["map"], np.zeros((5, 5), np.float32))
    result = run("report", copy, "-o", tmp_path / "r.html")
    assert result.code == 0, result.err
    assert "has another size" in part(tmp_path / "r.html", 0)["missing"][0]


def test_results_of_an_earlier_version_are_shown_as_far_as_they_go(run, copy, tmp_path):
    (copy / "scores.model.json").unlink()
    old = [{k: v for k, v in line.items() if k != "inspected"} for line in lines(copy)]
    (copy / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old))
    result = run("report", copy, "-o", tmp_path / "r.html")
    assert result.code == 0, result.err
    [group] = record(tmp_path / "r.html")["groups"]
    assert group["rates"] is None
    assert group["threshold"] == old[0]["threshold"]
    assert "did not keep the calibration" in group["notes"][0]
    assert "did not keep the calibration" in result.out


def test_lines_that_were_edited_to_nonsense_are_left_out(run, copy, tmp_path):
    listed = lines(copy)
    listed[0]["regions"] = [{"box": "here"}]
    listed[1]["score"] = "high"
    (copy / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in listed))
    result = run("report", copy, "-o", tmp_path / "r.html")
    assert result.code == 0, result.err
    assert len(record(tmp_path / "r.html")["groups"][0]["rows"]) == 2
    assert "note: 2 damaged lines" in result.out


@pytest.mark.parametrize("levels", [[0.5], "high", {"2d": "0.5"}, {"2d": None}])
def test_levels_that_were_edited_to_nonsense_are_left_out_with_their_line(
    run, copy, tmp_path, levels
):
    listed = lines(copy)
    listed[0]["levels"] = levels
    (copy / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in listed))
    result = run("report", copy, "-o", tmp_path / "r.html")
    assert result.code == 0, result.err
    assert "note: 1 damaged lines" in result.out


def test_a_table_that_was_cut_is_shown_up_to_there(run, copy, tmp_path):
    text = (copy / "scores.jsonl").read_text()
    (copy / "scores.jsonl").write_text(text[:-20])
    result = run("report", copy, "-o", tmp_path / "r.html")
    assert result.code == 0, result.err
    assert len(record(tmp_path / "r.html")["groups"][0]["rows"]) == 3
    assert "note: 1 damaged lines" in result.out


def test_a_model_without_calibration_gives_no_verdicts(run, detector, data, tmp_path):
    detector.save(tmp_path / "a.cmad")
    plain = cmad.load(tmp_path / "a.cmad")
    plain.calibration = None
    plain.save(tmp_path / "plain.cmad")
    parts = data / "cover" / "test" / "good"
    for source in ("model", "scores"):
        if source == "scores":
            assert run("score", tmp_path / "plain.cmad", parts, "-o", tmp_path / "out").code == 0
            result = run("report", tmp_path / "out", "-o", tmp_path / "r.html")
        else:
            result = run("report", tmp_path / "plain.cmad", parts, "-o", tmp_path / "r.html")
        assert result.code == 0, result.err
        assert "2 parts, no verdict 2" in result.out
        [group] = record(tmp_path / "r.html")["groups"]
        assert (group["threshold"], group["rates"], group["scale"]["mark"]) == (None, None, None)
        assert "There is no calibration" in group["scale"]["why"]


def test_an_evaluation_is_shown_by_its_categories(run, evaluation, bagels, tmp_path):
    result = run("report", evaluation, "-o", tmp_path / "r.html")
    assert result.code == 0, result.err
    [group] = record(tmp_path / "r.html")["groups"]
    assert group["name"] == "bagel"
    kept = json.loads((evaluation / "categories" / "bagel.json").read_text())["result"]
    # The page has four decimals.
    assert group["metrics"] == pytest.approx(kept["metrics"], abs=1e-4)
    assert (len(group["rows"]), group["counts"]["missed"]) == (6, kept["verdicts"]["missed"])
    assert group["counts"]["false rejects"] == kept["verdicts"]["false_rejects"]
    assert group["threshold"] == kept["verdicts"]["threshold"]
    wrong = [row for row in group["rows"] if row["defect"] != "good"]
    assert len(wrong) == 4
    shown = part(tmp_path / "r.html", wrong[0]["id"])
    assert shown["missing"] == []
    assert None not in (shown["rgb"], shown["map"], shown["truth"], shown["cloud"])
    assert run("report", evaluation, "--category", "bagel", "-o", tmp_path / "s.html").code == 0


def test_an_evaluation_whose_data_are_gone_keeps_its_numbers(run, evaluation, tmp_path):
    folder = shutil.copytree(evaluation, tmp_path / "e")
    beside = folder / "parts" / "bagel.model.json"
    known = json.loads(beside.read_text())
    beside.write_text(json.dumps({**known, "data": str(tmp_path / "nowhere")}))
    result = run("report", folder, "-o", tmp_path / "r.html")
    assert result.code == 0, result.err
    assert "6 of 6 parts lack something" in result.out
    shown = part(tmp_path / "r.html", 0)
    assert "the data set: " in shown["missing"][0]
    assert shown["rgb"] is None
    assert shown["map"] is not None


WRONG = {
    "no such folder": (["{tmp}/nowhere"], "nowhere: no such file or folder"),
    "empty folder": (["{tmp}/empty"], "holds no results: neither scores.jsonl .*; it is empty"),
    "another folder": (["{data}"], "holds no results: neither scores.jsonl of cmad score nor"),
    "another file": (["{tmp}/notes.txt"], "is a file, neither a model"),
    "no parts": (["{model}"], "a model needs parts to score: cmad report "),
    "parts of results": (["{scores}", "{data}"], "is a folder of results, which needs no parts"),
    "wrong order": (["{data}/cover/test", "{model}"], "the model comes first: cmad report"),
    "no html": (["{scores}", "-o", "{tmp}/r.pdf"], "--out must name an HTML file, got"),
    "no place": (["{scores}", "-o", "{tmp}/no/r.html"], "--out: there is no folder"),
    "a folder": (["{scores}", "-o", "{tmp}/a.html"], "--out must name an HTML file, got"),
    "no category": (["{evaluation}", "--category", "tire"], "one of bagel, got 'tire'"),
    "not evaluated": (["{scores}", "--category", "tire"], "--category is for a folder that"),
    "category": (["{model}", "{data}", "--category", "a"], "--category is for a folder that"),
    "no table": (["{tmp}/table"], "is no table of cmad score: there is nothing to report"),
    "empty table": (["{tmp}/none"], "lists no part: there is nothing to report"),
    "damaged": (["{tmp}/damaged"], "scores.model.json is damaged .*score the parts again"),
    "old evaluation": (["{tmp}/old"], "has no parts/, where cmad evaluate lists"),
}


@pytest.mark.parametrize("words", [w for w, _ in WRONG.values()], ids=WRONG)
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(
    run, words, request, scores, evaluation, model, data, tmp_path, monkeypatch
):
    said = dict(WRONG)[request.node.callspec.id][1]
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.html").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "old" / "categories").mkdir(parents=True)
    whole = '{"name": "a", "score": 1, "threshold": 1, "p_value": 1}'
    for name, text in (
        ("table", "mine\n"),
        ("none", ""),
        ("damaged", whole),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.jsonl").write_text(text)
    (tmp_path / "damaged" / "scores.model.json").write_text('{"judged by": ')
    monkeypatch.chdir(tmp_path)
    places = {
        "tmp": tmp_path,
        "data": data,
        "model": model,
        "scores": scores,
        "evaluation": evaluation,
    }
    result = run("report", *[word.format(**places) for word in words])
    assert result.code == 1
    assert re.search(said, " ".join(result.err.split())), result.err
    assert result.err.startswith("error: ")
    assert not (tmp_path / "report.html").exists()


def test_without_jinja_it_says_what_to_install_before_it_works(
    run, model, data, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = run("report", model, data / "cover" / "test", "-o", tmp_path / "r.html")
    assert result.code == 1
    assert "needs Jinja2" in result.err
    assert "pip install 'cmad-vision[report]'" in result.err
    assert list(tmp_path.iterdir()) == []


def test_what_watch_wrote_is_shown_as_what_score_did(run, model, data, scores, tmp_path):
    out = tmp_path / "watched"
    test = data / "cover" / "test"
    ran = run("watch", test, model, "--out", out, "--once", "--settle", 0)
    assert ran.code == 0, ran.err
    written = [tmp_path / "scored.html", tmp_path / "watched.html"]
    for folder, path in zip((scores, out), written, strict=True):
        run("report", folder, "--out", path)
    scored, watched = (record(path)["groups"][0] for path in written)
    for name in ("scale", "threshold", "rates"):
        assert watched[name] == scored[name]
    assert watched["rates"] is not None
    by_name = [{row["name"]: row["score"] for row in one["rows"]} for one in (scored, watched)]
    assert by_name[0] == by_name[1]


def test_names_of_any_kind_are_kept(run, model, data, tmp_path):
    folder = tmp_path / "Teile & <b>Größe"
    shutil.copytree(data / "cover" / "test" / "good", folder)
    for kind, ending in (("rgb", "png"), ("xyz", "tiff"), ("gt", "png")):
        (folder / kind / f"000.{ending}").rename(folder / kind / f"<script>x é.{ending}")
    result = run("report", model, folder, "-o", tmp_path / "r.html")
    assert result.code == 0, result.err
    known = record(tmp_path / "r.html")
    assert known["title"] == "Teile & <b>Größe"
    assert {row["name"] for row in known["groups"][0]["rows"]} == {"001", "<script>x é"}
    assert "<script>x é" not in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_the_file_beside_the_scores_overwrites_none_of_the_users(run, model, data, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "scores.model.json").write_text("mine")
    result = run("score", model, data / "cover" / "test" / "good", "-o", out)
    assert result.code == 1
    assert "scores.model.json is no file of cmad and would be written over" in result.err
    assert (out / "scores.model.json").read_text() == "mine"
    (out / "scores.model.json").unlink()
    for _ in range(2):  # its own it writes over
        assert run("score", model, data / "cover" / "test" / "good", "-o", out).code == 0


def test_depth_images_are_shown_with_the_cameras_numbers(run, model, data, tmp_path):
    from PIL import Image

    sample = Folder(data / "cover" / "test")[0]
    Image.fromarray(sample.rgb).save(tmp_path / "a.png")
    depth = np.round(np.nan_to_num(sample.xyz[..., 2]) * 1000).astype(np.uint16)
    Image.fromarray(depth).save(tmp_path / "d.png")
    files = tmp_path / "a.png", tmp_path / "d.png"
    assert (
        run("score", model, *files, "--intrinsics", "280,280,48,36", "-o", tmp_path / "out").code
        == 0
    )
    result = run("report", tmp_path / "out", "-o", tmp_path / "r.html")
    assert result.code == 0, result.err
    kept = part(tmp_path / "r.html", 0)
    assert kept["missing"] == []
    # The middle of a relief of some centimetres; a wrong unit or camera is off by a factor.
    assert kept["cloud"]["origin"][2] == pytest.approx(0.49, abs=0.02)


def test_levels_of_the_calibration_parts_go_with_their_scores():
    """Sorted by score, as a calibration is, each part's levels stay its own."""
    known = {
        "scores": [0.3, 0.1, 0.2],
        "levels": {"2d": [30, 10, 20]},
        "map_thresholds": {"2d": 5},
        "false_reject_rate": 0.1,
        "threshold": 0.3,
        "pixel_threshold": 0.4,
    }
    found = calibration_of(known)
    assert (found.scores, found.levels) == ((0.1, 0.2, 0.3), {"2d": (10, 20, 30)})
    with pytest.raises(ValueError, match="not as many levels as scores"):
        calibration_of({**known, "levels": {"2d": [30, 10]}})
