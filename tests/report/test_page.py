"""The report's page: its numbers, what it keeps of each part, its size, and that it is closed."""

import html
import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmad.calibrate import Calibration
from cmad.report import page as pages
from cmad.report.page import About, Group, Part, packing, write_page
from cmad.report.page.page import as_json, record
from cmad.report.page.rows import axis, counts, rates, verdict
from cmad.report.page.scale import scale_of

# Tests are imported by their files, without packages.
_spec = importlib.util.spec_from_file_location(
    "pages_for_tests", Path(__file__).parent / "pages.py"
)
made_up = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made_up)
ACCENTS, CALIBRATION, NASTY = made_up.ACCENTS, made_up.CALIBRATION, made_up.NASTY

pytest.importorskip("jinja2", reason="the report needs Jinja2, the extra report")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return made_up.written(tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def tags(text):
    return made_up.Tags(text)


def opened(tags, i):
    return json.loads(tags.scripts[f"part-{i}"])


def test_the_page_takes_nothing_from_elsewhere(text, tags):
    targets = [
        value
        for _, known in tags.tags
        for name, value in known.items()
        if name in ("src", "href", "action", "data", "poster", "srcset")
    ]
    assert targets
    assert all(t.startswith(("#", "data:image/")) for t in targets), targets
    styles = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    assert "url(" not in styles
    assert "@import" not in styles
    code = tags.scripts["code"]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", code)
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|importScripts|eval)\b", code)
    assert not [name for _, known in tags.tags for name in known if name.startswith("on")]
    [policy] = [
        k["content"] for t, k in tags.tags if k.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_names_are_escaped_wherever_they_stand(text, tags):
    assert NASTY not in text
    assert "<b>scratch" not in text
    assert text.count("<script") == 2 + len(made_up.parts())
    names = [html.unescape(row[1]) for row in made_up.cells(text)]
    assert names[:5] == ["good/a", NASTY, ACCENTS, "missed", "unseen"]
    known = json.loads(tags.scripts["record"])["groups"][0]["rows"]
    assert [row["name"] for row in known][:3] == ["good/a", NASTY, ACCENTS]


def test_a_nasty_title_is_escaped(tmp_path):
    text = made_up.written(tmp_path / "a b é.html", title="</title><script>x</script>")
    assert "<script>x" not in text
    assert "&lt;/title&gt;&lt;script&gt;x" in text


def test_json_within_a_script_cannot_end_it():
    values = {"a": "</script><!--<script>&"}
    assert not re.search("[<>&]", as_json(values))
    assert json.loads(as_json(values)) == values
    with pytest.raises(ValueError, match="JSON"):
        as_json({"a": float("nan")})


def test_the_table_says_what_the_parts_have(text):
    rows = [[html.unescape(cell) for cell in row] for row in made_up.cells(text)]
    assert rows[0][2:] == ["accepted", "good", "0.6", "0.76", "0", "–", "–"]
    assert rows[1][2:] == ["rejected", "hole", "1.5", "0.048", "1", "35", "3d"]
    assert rows[3][2:4] == ["accepted", "<b>scratch</b>"]
    assert rows[4][2:4] == ["not inspected", "–"]
    assert rows[5][1:] == ["brokenxyz has no valid point", "not scored", *["–"] * 6]


def test_counts_follow_the_threshold():
    rows = made_up.group().rows
    at = counts(rows, 0.88)
    assert (at["rejected"], at["accepted"], at["not inspected"], at["not scored"]) == (2, 2, 1, 1)
    assert (at["good"], at["defective"], at["false rejects"], at["missed"]) == (2, 2, 1, 1)
    higher = counts(rows, 1.0)
    assert (higher["rejected"], higher["false rejects"], higher["missed"]) == (1, 0, 1)
    lower = counts(rows, 0.6)  # a score at the threshold is accepted
    assert (lower["rejected"], lower["accepted"], lower["not inspected"]) == (4, 1, 0)
    assert (lower["false rejects"], lower["missed"]) == (1, 0)
    none = counts(rows, None)
    assert (none["no verdict"], none["not inspected"], none["good"]) == (4, 1, 0)


@pytest.mark.parametrize("score", [0.2, 0.88, 0.8800001, 3.0])
@pytest.mark.parametrize("inspected", [True, False])
@pytest.mark.parametrize("threshold", [0.88, None])
def test_a_verdict_is_that_of_the_prediction(score, inspected, threshold):
    from cmad import Prediction

    said = Prediction(score, np.zeros((2, 2), np.float32), threshold=threshold, inspected=inspected)
    row = {"score": score, "error": None, "inspected": inspected}
    assert verdict(row, threshold) == (said.verdict or "no verdict")


@pytest.mark.parametrize(
    "scores",
    [tuple(range(1, 21)), (0.5,), (1.0, 1.0, 1.0, 2.0, 2.0, 5.0), tuple(np.arange(99) / 7)],
)
def test_the_false_reject_rate_is_that_of_the_calibration(scores):
    known = Calibration(0.5, scores, scores[-1], 1.0)
    table = json.loads(json.dumps(rates(known)))
    for at in sorted({t for s in scores for t in (s - 0.01, s, s + 0.01)}):
        want = known.reject_rate(at)
        above = sum(score > at for score in table["scores"])
        low = (table["tied"] if at in table["scores"] else table["low"])[above]
        assert above == want.above
        assert (table["at_most"][above], low, table["high"][above]) == (
            want.at_most,
            want.low,
            want.high,
        )
    assert rates(None) is None


def test_the_record_has_the_groups_numbers():
    one, other = made_up.group(), made_up.group(None)
    known = record([one, other], "t")
    first, second = known["groups"]
    assert first["threshold"] == 0.88
    assert first["metrics"] == {"I-AUROC": 0.75}
    assert first["counts"]["rejected"] == 2
    assert [row["id"] for row in first["rows"] + second["rows"]] == list(range(12))
    assert first["scale"]["mark"] == first["scale"]["low"] * 2 == 0.88
    assert (second["scale"]["mark"], second["rates"], second["threshold"]) == (None, None, None)
    assert second["scale"]["high"] == pytest.approx(1.76)
    assert "no calibration" in second["scale"]["why"]


def test_the_colours_are_those_of_the_calibration_whatever_the_parts_are():
    dull = made_up.group(made=[Part("a", 0.1, **made_up.sample())]).scale
    bright = made_up.group(made=[Part("a", 9.0, **made_up.sample(mark=(9, 9)))]).scale
    assert dull == bright
    low, high = scale_of(None, [0.5, 3.0, 1.0]).low, scale_of(None, [0.5, 3.0, 1.0]).high
    assert (low, high) == (1.5, 3.0)
    assert scale_of(None, []).high == 1.0
    assert scale_of(replace(CALIBRATION, pixel_threshold=0.0), [2.0]).mark is None


def test_good_parts_stay_dark():
    scale = scale_of(CALIBRATION, [])
    peaks_of_good_parts = np.linspace(0, CALIBRATION.pixel_threshold, 50)
    assert ((peaks_of_good_parts - scale.low) / (scale.high - scale.low) <= 0.5).all()


def test_a_page_without_a_calibration_says_so(tmp_path):
    text = made_up.written(tmp_path / "r.html", made_up.group(None))
    assert "There is no calibration: one scale for all parts" in text
    assert all(
        row[2] in ("no verdict", "not inspected", "not scored") for row in made_up.cells(text)
    )


# ---- what is kept of a part


def test_a_map_is_marked_in_the_page_where_it_is_marked_by_the_detector():
    draw = np.random.default_rng(0)
    unit = 0.37
    map_ = draw.uniform(0, 1, (40, 50)).astype(np.float32)
    map_[0, :4] = np.float32(unit), np.nextafter(np.float32(unit), np.float32(1)), 0, 99
    got = packing.codes(map_, unit)
    np.testing.assert_array_equal(got >= packing.MARKED, map_ > unit)
    inner = map_ < 2 * unit
    assert np.abs((got[inner] + 0.5) / 128 * unit - map_[inner]).max() <= unit / 128
    assert packing.codes(np.array([[np.inf, 0.0]]), unit).tolist() == [[255, 0]]


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (40, 30), (7, 9, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.int16])
def test_numbers_come_back_as_they_were(shape, kind):
    ends = np.iinfo(kind)
    numbers = np.random.default_rng(0).integers(ends.min, ends.max, shape, kind, endpoint=True)
    got = packing.unpacked(packing.packed(numbers), shape, kind)
    np.testing.assert_array_equal(got, numbers)
    assert got.dtype == kind


def test_points_are_thinned_and_keep_their_place():
    xyz = made_up.sample((300, 400))["xyz"].astype(np.float64)
    xyz[50, 60] = np.nan
    xyz[52, 60] = (5, 5, 90)  # a stray point
    cloud = packing.cloud(xyz)
    assert cloud.step == 2
    there = cloud.xyz[..., 0] != packing.NOWHERE
    assert 20_000 < there.sum() <= packing.POINTS
    assert not there[:2].any()
    assert not there[25, 30]
    assert not there[26, 30]
    got = cloud.xyz[there] * cloud.unit + cloud.origin
    assert np.abs(got - xyz[::2, ::2][there]).max() < 1e-5  # metres
    assert packing.cloud(np.zeros((4, 4, 3))) is None
    single = np.zeros((4, 4, 3))
    single[1, 1] = 0.1, 0.2, 0.5
    assert (packing.cloud(single).xyz[1, 1] != packing.NOWHERE).all()


def test_large_maps_are_reduced_to_their_largest_values():
    map_ = np.zeros((1700, 900), np.uint8)
    map_[1699, 899] = 200
    small = packing.reduced(map_)
    assert small.shape == (567, 300)
    assert small[-1, -1] == 200
    assert packing.reduced(map_[:10, :10]) is not None


def test_a_part_has_all_that_is_shown(tags):
    known = opened(tags, 1)
    assert known["size"] == [48, 64]
    assert known["rgb"].startswith("data:image/webp;base64,")
    assert known["depth"].startswith("data:image/webp;base64,")
    [one] = known["regions"]
    assert (one["box"], one["area"], one["modality"], one["peak"]) == (
        [20, 30, 25, 37],
        35.0,
        "3d",
        1.76,
    )
    codes = packing.unpacked(known["map"]["codes"], tuple(known["map"]["size"]))
    want = made_up.sample(mark=(20, 30))
    np.testing.assert_array_equal(
        codes >= packing.MARKED, want["map"] > CALIBRATION.pixel_threshold
    )
    truth = packing.unpacked(known["truth"]["bits"], tuple(known["truth"]["size"]))
    np.testing.assert_array_equal(truth.astype(bool), want["mask"])
    assert known["part"] == [0, 0, 48, 64]
    broken = opened(tags, 5)
    assert all(broken[name] is None for name in ("size", "rgb", "depth", "map", "cloud", "truth"))


def test_a_part_that_could_not_be_shown_says_what_is_missing(tmp_path):
    lacking = Part("a", 0.5, missing=("image: a.png: no such file or folder",))
    group = made_up.group(made=[lacking])
    assert group.lacking == ["a: image: a.png: no such file or folder"]
    tags = made_up.Tags(made_up.written(tmp_path / "r.html", group))
    assert opened(tags, 0)["missing"] == ["image: a.png: no such file or folder"]


def test_200_parts_of_400_x_400_stay_below_80_megabytes(tmp_path):
    from cmad.datasets import Synthetic

    group = Group(About("covers", 0.88, CALIBRATION))
    draw = np.random.default_rng(0)
    for sample in Synthetic("test", good=2, defective=3):
        there = (np.asarray(sample.xyz) != 0).any(-1)
        map_ = (draw.random((400, 400), np.float32) * there).astype(np.float32)  # rougher than any
        part = Part(sample.name, 0.5, rgb=sample.rgb, xyz=sample.xyz, map=map_, mask=sample.mask)
        group.add(part)
    path = tmp_path / "r.html"
    write_page(path, [group], "t")
    fixed = len(made_up.written(tmp_path / "one.html", made_up.group(made=[Part("a", 0.5)])))
    assert 40 * (path.stat().st_size - fixed) + fixed < 80e6


# ---- bad input


def test_arrays_of_several_sizes_are_refused():
    arrays = made_up.sample()
    with pytest.raises(
        ValueError, match=r"^a: all must have the same height and width, got rgb 48x64, map 9x9$"
    ):
        made_up.group(made=[Part("a", 1.0, rgb=arrays["rgb"], map=np.zeros((9, 9), np.float32))])


def test_a_page_without_parts_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no part to show"):
        write_page(tmp_path / "r.html", [made_up.group(made=[])], "t")
    assert list(tmp_path.iterdir()) == []


def test_without_jinja_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    group = made_up.group(made=[Part("a", 0.5)])
    assert not pages.available()
    with pytest.raises(RuntimeError, match=r"needs Jinja2, .* pip install 'cmad-vision\[report\]'"):
        write_page(tmp_path / "r.html", [group], "t")
    assert list(tmp_path.iterdir()) == []


def test_scores_without_number_and_infinite_ones_can_be_shown(tmp_path):
    group = made_up.group(made=[Part("a", float("inf")), Part("b", float("nan"))])
    assert group.verdicts == ["rejected", "not scored"]
    assert made_up.written(tmp_path / "r.html", group)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([], (0.0, 1.03, False)),
        ([2.0, 2.0], (1.8, 2.2, False)),
        ([0.01, 5.0], (0.01 / 1.05, 5.0 * 1.05, True)),
        ([0.0, 100.0], (0.0, 103.0, False)),
    ],
)
def test_the_axis_holds_all_scores(values, want):
    found = axis(values)
    assert (found["low"], found["high"], found["log"]) == pytest.approx(want)


def test_the_wheel_has_what_a_page_is_made_of():
    from cmad.report.page.page import HERE, SCRIPTS

    there = {path.name for path in HERE.iterdir()}
    assert {"page.html", "page.css", *SCRIPTS} <= there
    scripts = {name for name in there if name.endswith(".js")}
    assert scripts == set(SCRIPTS), "a script that is not in the page"
