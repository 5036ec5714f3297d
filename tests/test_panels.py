"""The picture of `benchmarks/epochs.py`: what is where, and what is none of its results."""

import importlib
import json
import math
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SVG = "{http://www.w3.org/2000/svg}"


def row(epochs, pixels, held_out, aupro):
    """A row of two seeds, which differ by 0.02 around the values given."""
    both = (-0.01, 0.01)
    return {
        "epochs": epochs,
        "pixels": pixels,
        "losses": [[held_out - 0.1 + d, held_out + d] for d in both],
        "found": [[0.5, 0.9, aupro + d, 0.5, 0.4, aupro - 0.6 + d, aupro - 0.7 + d] for d in both],
        "min": [1.0, 1.0],
    }


ROWS = [row(10, 64, 0.6, 0.90), row(100, 64, 0.5, 0.94), row(1000, 64, 0.4, 0.93)]
ROWS += [row(10, 512, 0.55, 0.91)]


@pytest.fixture
def panels(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("_panels")


def drawn(panels, rows, kind):
    return [shape[1:] for shape in panels.shapes(rows, "title") if shape[0] == kind]


def test_every_seed_is_a_circle_in_its_place(panels):
    circles = drawn(panels, ROWS, "circle")
    assert len(circles) == 4 * 2 * 5  # rows, seeds, and five series in three panels
    ours = [c for c in circles if c[3] == panels.COLOURS[0]]
    middle = [c for c in ours if 340 < c[0] < 620]
    assert len(middle) == 6
    x = sorted({round(c[0], 3) for c in middle})
    # Of coordinates that were rounded to 0.001 above.
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=2e-3), "epochs are logarithmic"
    heights = {at: [c[1] for c in middle if round(c[0], 3) == at] for at in x}
    mean = [sum(heights[at]) / 2 for at in x]
    assert (mean[0] - mean[1]) / (mean[2] - mean[1]) == pytest.approx(0.04 / 0.01)
    assert mean[1] < mean[2] < mean[0], "larger values are higher"
    apart = abs(heights[x[0]][0] - heights[x[0]][1])
    assert apart / (mean[0] - mean[1]) == pytest.approx(0.02 / 0.04)


def test_lines_go_through_the_means_and_only_where_a_curve_has_two_lengths(panels):
    lines = [
        line for line in drawn(panels, ROWS, "line") if line[0] != line[2] and line[1] != line[3]
    ]
    assert {line[4] for line in lines} == {panels.COLOURS[0]}
    assert len(lines) == 2 * 5
    assert sorted({line[5] for line in lines}) == [0.8, 2]
    circles = drawn(panels, ROWS, "circle")
    for x0, y0, *_ in lines:
        at = [c[1] for c in circles if c[0] == x0 and c[3] == panels.COLOURS[0]]
        assert any(y0 == pytest.approx((a + b) / 2) for i, a in enumerate(at) for b in at[i + 1 :])


def test_all_of_it_is_inside(panels):
    wide, high = panels.SIZE
    for x, y, r, _ in drawn(panels, ROWS, "circle"):
        assert r < x < wide - r
        assert 0 < y < high
    said = [text[2] for text in drawn(panels, ROWS, "text")]
    assert {"64 pixels a frame", "512 pixels a frame", "10", "100", "1000"} <= set(said)
    assert {"0.90", "0.95"} <= set(said)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"needs trainings of two lengths, got \[\]"),
        (ROWS[:1], r"needs trainings of two lengths, got \[10\]"),
        ([{"epochs": 3}], "these are no results of epochs.py: KeyError"),
        ([{**ROWS[0], "found": [[0.5]]}, ROWS[1]], "these are no results of epochs.py: IndexError"),
        ([row(e, p, 0.5, 0.9) for e in (1, 2) for p in range(7)], "at most 6 numbers of pixels"),
    ],
)
def test_what_cannot_be_drawn_is_said(panels, rows, message):
    with pytest.raises(ValueError, match=message):
        panels.shapes(rows, "title")


def test_the_benchmark_draws_results_of_an_earlier_run(tmp_path):
    results, stem = tmp_path / "a.json", tmp_path / "a"
    script = [sys.executable, BENCHMARKS / "epochs.py", "--results", results, "--picture", stem]
    results.write_text(json.dumps({"category": "lid & co", "cpu": "X", "rows": ROWS}))
    ran = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    texts = [text.text for text in ET.parse(tmp_path / "a.svg").iter(f"{SVG}text")]
    assert texts[0] == "CFM with FPFH and ViT-S on lid & co, 2 seeds; X, commit unknown"
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (1920, 700)
        assert len(set(image.convert("L").tobytes())) > 10
    for wrong in ("[]", "{}", json.dumps({"rows": ["a"]}), json.dumps({"rows": ROWS[:1]}), "{"):
        results.write_text(wrong)
        ran = subprocess.run(script, capture_output=True, text=True, check=False)
        assert ran.returncode == 1
        assert ran.stderr.startswith("error: "), wrong
        assert len(ran.stderr.splitlines()) == 1


def test_ticks_are_few_and_round(panels):
    for span in (0.001, 0.05, 0.08, 0.16, 0.3, 0.8):
        step = panels._step(span)
        assert math.ceil(span / step) <= 8
