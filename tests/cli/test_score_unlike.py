"""`cmad score` on parts unlike the training parts."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

import cmad
from cmad.datasets import Synthetic


@pytest.fixture
def pair(tmp_path):
    """A part of the model's kind with red and blue exchanged."""
    part = next(iter(Synthetic("test", good=1, size=(72, 96), seed=1)))
    Image.fromarray(np.ascontiguousarray(part.rgb[..., ::-1])).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tiff", part.xyz, photometric="rgb")
    return tmp_path / "a.png", tmp_path / "a.tiff"


@pytest.mark.filterwarnings("ignore")
def test_both_tables_have_verdict_and_warnings(run, model, pair, tmp_path):
    assert run("score", model, *pair, "--out", tmp_path / "out").code == 0
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    line = json.loads((tmp_path / "out" / "scores.jsonl").read_text())
    assert row["verdict"] == line["verdict"] in ("accepted", "rejected")
    assert any("look like BGR for RGB" in said for said in line["warnings"])
    assert row["warnings"] == "; ".join(line["warnings"])


@pytest.fixture
def lenient(model, tmp_path):
    """The model with a threshold that no score is above."""
    detector = cmad.load(model)
    detector.calibration = replace(detector.calibration, threshold=1e9)
    detector.save(tmp_path / "lenient.cmad")
    return tmp_path / "lenient.cmad"


@pytest.mark.filterwarnings("ignore")
def test_what_is_hardly_seen_is_not_inspected(run, lenient, pair, tmp_path):
    result = run("score", lenient, *pair, "--out", tmp_path / "out")
    assert "scored 1 of 1 parts, results in" in result.out
    xyz = tifffile.imread(pair[1])
    xyz[:, 36:] = 0
    tifffile.imwrite(pair[1], xyz, photometric="rgb")
    result = run("score", lenient, *pair, "--out", tmp_path / "out")
    assert result.code == 0
    assert "scored 1 of 1 parts, 1 of them not inspected, results in" in result.out
    line = json.loads((tmp_path / "out" / "scores.jsonl").read_text())
    assert line["score"] <= line["threshold"]
    assert line["verdict"] == "not inspected"
    assert line["rejected"] is True
    assert any("too little of the part is seen" in said for said in line["warnings"])


def test_strict_makes_it_an_error_of_that_part(run, model, pair, tmp_path):
    result = run("score", model, *pair, "--strict", "--out", tmp_path / "out")
    assert result.code == 1
    line = json.loads((tmp_path / "out" / "scores.jsonl").read_text())
    assert "unlike the training parts" in line["error"]
    assert "BGR" in line["error"]
    assert line["score"] is None
    assert line["verdict"] is None


def test_info_says_what_was_trained_on(run, model):
    (line,) = [x for x in run("info", model).out.splitlines() if x.startswith("trained on:")]
    assert "1 part, 0.4" in line
    assert "mm between pixels" in line
