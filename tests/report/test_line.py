"""What the report says of the line: the course of the drift, and repeatability."""

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cmad.drift import Monitor
from cmad.report.page import Part
from cmad.report.page.line import drift, repeated

pytest.importorskip("jinja2", reason="the report needs Jinja2, the extra report")
_spec = importlib.util.spec_from_file_location("pages_for_line", Path(__file__).parent / "pages.py")
made_up = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made_up)
CALIBRATION = made_up.CALIBRATION
USUAL = [0.5 + 0.02 * (7 * i % 19) for i in range(30)]
HIGHER = [0.87 + 1e-4 * (7 * i % 19) for i in range(30)]


LEVELED = replace(CALIBRATION, levels={"2d": tuple(range(20)), "brightness": tuple(range(20))})


def rows(scores, defect=None, **more):
    known = {"defect": defect, "error": None, "inspected": True, **more}
    return [{"score": score, **known} for score in scores]


def test_the_course_is_that_of_the_monitor_part_by_part():
    found = drift(CALIBRATION, rows([*USUAL, 2.0, *HIGHER]))
    monitor, courses, first = Monitor({"score": CALIBRATION.scores}, 0.88), [], None
    for i, score in enumerate([*USUAL, 2.0, *HIGHER], 1):
        if monitor.add({"score": score}, score > 0.88):
            first = first or i
        courses.append(monitor.stakes)
    assert found["parts"] == 61
    assert found["first"] == first > 31
    assert found["moved"] == [str(moved) for moved in monitor.moved]
    assert found["moved"][0].startswith("the score is higher since part ")
    assert found["highest"] == max(stake for one in courses for stake in one.values())
    assert found["alarm"] == monitor.limit == 200
    # Higher stakes are nearer to the top; the limit is crossed where it alarms.
    heights = [float(p.split(",")[1]) for p in found["lines"]["score"].split()]
    assert len(heights) == 61
    assert heights[first - 2] > found["limit"] >= heights[first - 1]
    assert found["one"] > found["limit"]
    assert [h < found["one"] for h in heights] == [one["score"] > 1.0005 for one in courses]


def test_each_modality_is_drawn_where_results_hold_its_level():
    made = rows(USUAL)
    for i, row in enumerate(made):
        row["levels"] = {"2d": 40.0 + i % 3, "brightness": (7 * i % 20) + 0.5, "more": 1.0}
    made += rows([0.6], levels={"2d": 1.0})  # of a part without points
    found = drift(LEVELED, made)
    monitor = Monitor({"score": CALIBRATION.scores, **LEVELED.levels}, 0.88)
    for row in made[:30]:
        monitor.add({"score": row["score"], **row["levels"]}, False)
    assert (found["parts"], found["left_out"]) == (30, 1)
    assert list(found["lines"]) == list(monitor.stakes) == ["score", "2d", "brightness", "rejected"]
    assert found["moved"] == [str(moved) for moved in monitor.moved]
    [moved] = found["moved"]
    assert moved.startswith("the 2d discrepancy is higher since part ")
    assert found["most"]["2d"] == max(found["most"].values()) >= found["alarm"] == 400
    assert found["names"]["2d"] == "2d discrepancy"
    # A table of a version that kept no levels, or a calibration that has none: the scores alone.
    for calibration, known in ((LEVELED, rows(USUAL)), (CALIBRATION, made)):
        assert list(drift(calibration, known)["lines"]) == ["score", "rejected"]


def test_a_part_that_was_not_inspected_is_one_that_must_not_pass():
    seen = drift(CALIBRATION, rows(USUAL))
    unseen = drift(CALIBRATION, rows(USUAL, inspected=False))
    assert unseen["most"]["rejected"] > 100 > seen["most"]["rejected"]


def test_there_is_none_for_tests_short_streams_and_without_calibration():
    assert drift(CALIBRATION, rows(USUAL)) is not None
    assert drift(None, rows(USUAL)) is None
    assert drift(CALIBRATION, rows(USUAL[:9])) is None
    assert drift(CALIBRATION, rows(USUAL, "good")) is None
    without = rows([*USUAL[:9], None, None])
    assert drift(CALIBRATION, without) is None


def test_the_page_shows_the_course_and_names_what_moved(tmp_path):
    for scores, said in ((USUAL, "None in 30 parts"), ([*USUAL, *HIGHER], "the score is higher")):
        made = [Part(f"p{i}", score, 0.5, ()) for i, score in enumerate(scores)]
        text = made_up.written(tmp_path / "page.html", made_up.group(made=made))
        panel = re.search(r'<section class="panel of-line drift".*?</section>', text, re.S)[0]
        assert said in panel
        assert panel.count("<polyline") == 2
    levels = {"2d": 50.0, "brightness": 7.0}
    made = [Part(f"p{i}", score, 0.5, (), levels=levels) for i, score in enumerate(USUAL)]
    text = made_up.written(tmp_path / "page.html", made_up.group(LEVELED, made))
    panel = re.search(r'<section class="panel of-line drift".*?</section>', text, re.S)[0]
    assert panel.count("<polyline") == 4
    assert re.search(r'class="alarm"><span class="key of-2d"></span> 2d discrepancy <b>', panel)
    assert '"levels"' not in text
    assert "of-line" not in re.sub(
        r"<(style|script).*?</\1>", "", made_up.written(tmp_path / "page.html"), flags=re.S
    )


def test_a_damaged_or_missing_analysis_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no repeat\.json and repeat\.csv"):
        repeated(tmp_path)
    (tmp_path / "repeat.csv").write_text("part,scans\n")
    for text in ("{", '{"analysis": {}, "flips": []}', "[]"):
        (tmp_path / "repeat.json").write_text(text)
        with pytest.raises(ValueError, match="damaged analysis of cmad repeat"):
            repeated(tmp_path)


def test_what_is_not_known_of_an_analysis_is_a_dash(tmp_path):
    of = {"mean": 1.5, "repeatability": 0.25, "part_variation": 0.0, "share": None}
    kept = {"analysis": {"score": {**of, "categories": None}}, "flips": ["<b>"]}
    (tmp_path / "repeat.json").write_text(json.dumps(kept))
    head = "part,scans,mean_score,score_deviation,accepted,rejected,flips,regions,"
    head += "region_spread_mm,area_mm2,area_deviation_mm2\n"
    (tmp_path / "repeat.csv").write_text(head + "<b>,3,1.5,0.25,2,1,True,0,,,\n")
    found = repeated(tmp_path)
    assert found["share"] is None
    assert found["parts"][0] == {
        **{"name": "<b>", "scans": 3, "mean": 1.5, "deviation": 0.25, "accepted": 2},
        **{"rejected": 1, "flips": True, "moves": None, "area": None},
    }
    group = made_up.group()
    group.about = type(group.about)("covers", repeat=found)
    text = made_up.written(tmp_path / "page.html", group)
    panel = re.search(r'<section class="panel of-line repeat".*?</section>', text, re.S)[0]
    cells = [re.sub("<[^>]*>", "", c) for c in re.findall("<td.*?</td>", panel)]
    assert cells == [
        *("score", "1.5", "0.25", "0", "–", "–"),
        *("&lt;b&gt;", "3", "1.5", "0.25", "2", "1", "–", "–"),
    ]
    assert '<tr class="flips">' in panel
