"""What `cmad score` says of the parts: a line each, or counts and names."""

from dataclasses import replace

import pytest

import cmad
from cmad.cli._verdicts import FEW, NAMED, Verdicts, line
from cmad.datasets import Folder
from cmad.serve.results import Result


def result(name, verdict="accepted", score=0.185, threshold=0.204, **more):
    return Result(name, score=score, threshold=threshold, verdict=verdict, **more)


@pytest.fixture
def said(tmp_path, capsys):
    """Returns the lines that are printed of results."""

    def show(*results):
        verdicts = Verdicts()
        for one in results:
            verdicts.add(one)
        verdicts.show(tmp_path / "a model.cmad", tmp_path)
        return capsys.readouterr().out.splitlines()

    return show


@pytest.mark.parametrize(
    ("part", "want"),
    [
        (result("t", p_value=0.19), "t: accepted, score 0.185 <= 0.204, p 0.19"),
        (result("t", "rejected", 0.3, p_value=1 / 21), "t: rejected, score 0.3 > 0.204, p 0.048"),
        (result("t", "rejected", 0.20404, 0.20401), "t: rejected, score 0.20404 > 0.20401"),
        (result("t", score=0.204), "t: accepted, score 0.204 <= 0.204"),
        (
            result("t", "not inspected", p_value=0.5, warnings=["too little is seen", "dark"]),
            "t: not inspected, score 0.185 <= 0.204, p 0.5; too little is seen; dark",
        ),
        (result("t", None, threshold=None), "t: score 0.185"),
        (result("t", "not inspected", 1, None), "t: not inspected, score 1"),
        (Result("t", threshold=0.2, error="no points"), "t: not scored, no points"),
    ],
)
def test_a_part_is_one_line(part, want):
    assert line(part) == want


def test_few_parts_get_a_line_each_and_one_more_gives_counts(said):
    few = [result(f"t{i}") for i in range(FEW)]
    assert said(*few) == [line(part) for part in few]
    assert said(*few, result("more")) == [f"accepted {FEW + 1}, rejected 0"]


def test_many_parts_are_counted_and_those_to_look_after_named(said):
    parts = [result(f"good{i}") for i in range(FEW)]
    parts += [result("r1", "rejected"), result("n1", "not inspected"), result("r2", "rejected")]
    parts += [Result("f1", threshold=0.2, error="no points")]
    assert said(*parts) == [
        f"accepted {FEW}, rejected 2, not inspected 1, not scored 1",
        "rejected: r1, r2",
        "not inspected: n1",
        "not scored: f1",
    ]


def test_beyond_a_limit_names_are_in_the_table(said, tmp_path):
    parts = [result(f"r{i}", "rejected") for i in range(NAMED + 3)]
    names = ", ".join(f"r{i}" for i in range(NAMED))
    assert said(*parts) == [
        f"accepted 0, rejected {NAMED + 3}",
        f"rejected: {names} and 3 more, see {tmp_path / 'scores.csv'}",
    ]
    assert said(*parts[:NAMED])[1] == f"rejected: {names}"


def test_without_a_threshold_it_says_how_to_get_one(said, tmp_path):
    parts = [result("a", None, threshold=None), Result("b", error="no points")]
    first, second, last = said(*parts)
    assert (first, second) == ("a: score 0.185", "b: not scored, no points")
    model = tmp_path / "a model.cmad"
    assert last.startswith("not calibrated: scores without verdict; ")
    assert last.endswith(f"cmad calibrate '{model}' GOOD_PARTS -r 0.05")
    many = [result(str(i), None, threshold=None) for i in range(FEW)]
    assert said(*many, parts[1])[:2] == [
        f"not scored 1, without verdict {FEW}",
        "not scored: b",
    ]


def test_a_part_that_failed_says_nothing_of_the_calibration(said):
    assert said(Result("b", error="no points")) == ["b: not scored, no points"]


def test_score_prints_the_verdict_of_each_part(run, model, data, tmp_path):
    detector = cmad.load(model)
    scores = [float(detector.predict(s.rgb, s.xyz)) for s in Folder(data / "cover" / "test")]
    between = sorted(scores)[-1] - 1e-6
    calibration = replace(detector.calibration, threshold=between)
    detector.calibration = calibration
    detector.save(tmp_path / "m.cmad")
    result = run("score", tmp_path / "m.cmad", data / "cover" / "test", "-o", tmp_path / "out")
    assert result.code == 0, result.err
    printed = result.out.splitlines()
    for i, sample in enumerate(Folder(data / "cover" / "test")):
        full = detector.predict(sample.rgb, sample.xyz)
        want = "rejected" if scores[i] > between else "accepted"
        assert printed[i].startswith(f"{sample.name}: {want}, score ")
        assert printed[i].endswith(f", p {full.p_value:.2g}")
    assert [": rejected, " in text for text in printed[:4]].count(True) == 1
    assert printed[4].startswith("scored 4 of 4 parts, results in ")
    assert "not calibrated" not in result.out


def test_score_without_a_threshold_says_so(run, model, data, tmp_path):
    detector = cmad.load(model)
    detector.calibration = None
    detector.save(tmp_path / "m.cmad")
    result = run("score", tmp_path / "m.cmad", data / "cover" / "test", "-o", tmp_path / "out")
    assert result.code == 0, result.err
    assert "not calibrated: scores without verdict; " in result.out
    assert f"cmad calibrate {tmp_path / 'm.cmad'} GOOD_PARTS" in result.out
    assert "accepted" not in result.out
