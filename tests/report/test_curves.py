"""Curves of a training as a picture and as a table."""

import math
import xml.etree.ElementTree as ET

import pytest

from cmad.report.curves import picture, table, write

CURVES = {"2d": [0.5, 0.2, 0.1], "2d held out": [0.6, 0.3, 0.25], "3d <x>": [0.4, math.nan, 0.2]}
SVG = "{http://www.w3.org/2000/svg}"


def places(line):
    return [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]


def test_the_picture_shows_each_curve_in_its_place():
    root = ET.fromstring(picture(CURVES, "CFM & more"))
    trained, unseen, broken = (places(line) for line in root.iter(f"{SVG}polyline"))
    assert len(trained) == len(unseen) == 3
    assert len(broken) == 2  # the value that is not a number is left out
    assert [x for x, _ in trained] == [x for x, _ in unseen]
    # Logarithmic: from epoch 1 to 2 as far as the share of log 2 in log 3.
    x = [x for x, _ in trained]
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(math.log(2) / math.log(3), abs=1e-3)
    y = [y for _, y in trained]
    assert y[0] < y[1] < y[2]  # smaller values lie lower
    assert (y[1] - y[0]) / (y[2] - y[1]) == pytest.approx(math.log(2.5) / math.log(2), abs=5e-3)
    assert unseen[0][1] < trained[0][1]
    dashed = [line.get("stroke-dasharray") for line in root.iter(f"{SVG}polyline")]
    assert [bool(dash) for dash in dashed] == [False, True, False]
    said = [text.text for text in root.iter(f"{SVG}text")]
    assert said[0] == "CFM & more"
    assert set(CURVES) <= set(said)


@pytest.mark.parametrize("curves", [{"a": [0.1]}, {"a": [0.1, 0.1]}, {"a": [0.0, -1.0]}])
def test_one_epoch_a_level_curve_or_none_above_zero_can_be_drawn(curves):
    root = ET.fromstring(picture(curves, ""))
    for line in root.iter(f"{SVG}line"):
        assert all(math.isfinite(float(line.get(k))) for k in ("x1", "y1", "x2", "y2"))


def test_the_table_has_a_line_for_each_epoch():
    assert table({"a": [0.5, 0.25], "b": [1.0]}) == "epoch,a,b\r\n1,0.5,1.0\r\n2,0.25,\r\n"


def test_the_ending_says_what_is_written(tmp_path):
    write(CURVES, tmp_path / "a.svg", "t")
    write(CURVES, tmp_path / "a.CSV", "t")
    assert (tmp_path / "a.svg").read_text() == picture(CURVES, "t")
    assert (tmp_path / "a.CSV").read_bytes().decode() == table(CURVES)
    with pytest.raises(ValueError, match=r"must end in \.svg or \.csv, got a\.png"):
        write(CURVES, tmp_path / "a.png", "t")
    with pytest.raises(ValueError, match="there are no curves"):
        write({}, tmp_path / "b.svg", "t")
    assert not (tmp_path / "b.svg").exists()
