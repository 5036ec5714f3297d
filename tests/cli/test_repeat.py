"""`cmad repeat`: from scans of parts to an analysis."""

import csv
import json
import re

import numpy as np
import pytest

import cmad
from cmad.datasets import Synthetic
from cmad.datasets.writing import write_part
from cmad.repeatability import variance


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Four parts, three scans of each, that differ by noise of the image."""
    root, draw = tmp_path_factory.mktemp("scans"), np.random.default_rng(0)
    for i, part in enumerate(Synthetic("test", good=3, defective=1, size=(96, 96))):
        usual = part.rgb.astype(int)
        for scan in range(3):
            part.rgb[:] = np.clip(usual + draw.normal(0, 2, usual.shape), 0, 255)
            write_part(part, root / "all", f"part {i}__{scan}")
    return root / "all"


def test_it_says_and_writes_what_the_scans_are(run, model, detector, scans, tmp_path):
    got = run("repeat", model, scans, "--out", tmp_path / "out")
    assert got.code == 0, got.err
    assert "repeatability of the score: " in got.out
    assert "12 scans of 4 parts, results in" in got.out
    kept = json.loads((tmp_path / "out" / "repeat.json").read_text())
    folder = cmad.datasets.Folder(scans)
    scores = [detector.predict(folder[i].rgb, folder[i].xyz).score for i in range(12)]
    want = variance(np.reshape(scores, (4, 3)))
    assert kept["analysis"]["score"]["repeatability"] == pytest.approx(want.repeatability)
    assert kept["analysis"]["score"]["share"] == pytest.approx(want.share)
    assert kept["analysis"]["score"]["degrees"] == [3, 8]
    # The noise is of the image, the points are the same in all scans.
    assert kept["analysis"]["z"]["repeatability"] == 0
    assert kept["analysis"]["z"]["categories"] is None
    assert kept["analysis"]["sharpness"]["repeatability"] > 0
    with (tmp_path / "out" / "repeat.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["part"] for row in rows] == [f"part {i}" for i in range(4)]
    assert [float(row["mean_score"]) for row in rows] == pytest.approx(
        np.reshape(scores, (4, 3)).mean(1).tolist()
    )
    assert [int(row["accepted"]) + int(row["rejected"]) for row in rows] == [3] * 4
    flips = [row["part"] for row in rows if row["flips"] == "True"]
    assert kept["flips"] == flips
    assert f"verdict depends on the scan for {len(flips)} of 4 parts" in got.out


def test_the_report_shows_the_analysis(run, model, scans, tmp_path):
    pytest.importorskip("jinja2", reason="the report needs Jinja2, the extra report")
    assert run("repeat", model, scans, "--out", tmp_path / "out").code == 0
    page = tmp_path / "page.html"
    got = run("report", model, scans, "--repeat", tmp_path / "out", "--out", page)
    assert got.code == 0, got.err
    shown = json.loads(
        re.search(r'id="record">(.*?)</script>', page.read_text(encoding="utf-8"), re.S)[1]
    )["groups"][0]["repeat"]
    kept = json.loads((tmp_path / "out" / "repeat.json").read_text())["analysis"]
    assert shown["share"] == kept["score"]["share"]
    assert [row["mean"] for row in shown["analysis"]] == [of["mean"] for of in kept.values()]
    assert [part["name"] for part in shown["parts"]] == [f"part {i}" for i in range(4)]
    assert {part["scans"] for part in shown["parts"]} == {3}
    got = run("report", model, scans, "--repeat", tmp_path, "--out", page)
    assert got.code == 1
    assert "holds no repeat.json and repeat.csv of cmad repeat" in got.err


def test_copies_of_one_scan_are_named(run, model, tmp_path):
    for i, part in enumerate(Synthetic("test", good=2, size=(96, 96))):
        for scan in range(2):
            write_part(part, tmp_path / "scans", f"p{i}__{scan}")
    got = run("repeat", model, tmp_path / "scans", "--out", tmp_path / "out")
    assert "all scans of p0, p1 have one score: copies of one scan?" in got.out.replace("\n", " ")


def test_a_scan_that_cannot_be_scored_is_named_and_the_others_go_on(run, model, scans, tmp_path):
    for i, part in enumerate(Synthetic("test", good=2, size=(96, 96))):
        for scan in range(3):
            if (i, scan) == (1, 2):
                part.xyz[:] = 0
            write_part(part, tmp_path / "scans", f"p{i}__{scan}")
    got = run("repeat", model, tmp_path / "scans", "--out", tmp_path / "out")
    assert got.code == 1
    assert "p1__2: xyz has no valid point" in got.err
    assert "5 scans of 2 parts" in got.out
    assert "1 of 6 scans could not be scored" in got.err


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a", "b"), "must be named PART__SCAN"),
        (("a__1", "a__2"), "has 2 scans of 1 parts"),
        (("a__1", "b__1"), "has 2 scans of 2 parts"),
    ],
)
def test_what_cannot_be_analysed_is_said_before_the_work(run, model, tmp_path, names, said):
    part = Synthetic("test", good=1, size=(96, 96))[0]
    for name in names:
        write_part(part, tmp_path / "scans", name)
    got = run("repeat", model, tmp_path / "scans", "--out", tmp_path / "out")
    assert got.code == 1
    assert said in got.err
    assert not (tmp_path / "out").exists()
