"""The folder of an evaluation: what is kept, what is trusted, what is refused."""

import json

import pytest

from cmad.evaluate import AREAS, METRICS, Evaluation, Run

CONFIG = {"method": "cfm", "seed": 0, "shots": None}


def result(category):
    return Evaluation(
        category=category,
        train=3,
        good=4,
        defective=5,
        metrics=dict.fromkeys(METRICS, 0.5),
        grid=dict.fromkeys(AREAS, 0.25),
        frames_per_second=9.5,
        memory=100.5,
        seconds={"fit": 1.0},
        verdicts={"missed": 1.0},
        bad=(("train/good/001", "cannot be read"),),
    )


def test_results_come_back_as_they_were(tmp_path):
    run = Run(tmp_path / "out", CONFIG)
    assert run.done() == {}
    run.keep(result("bagel"))
    assert Run(tmp_path / "out", CONFIG).done() == {"bagel": result("bagel")}


def test_each_file_says_what_it_was_computed_with(tmp_path):
    Run(tmp_path, CONFIG).keep(result("bagel"))
    values = json.loads((tmp_path / "categories/bagel.json").read_text())
    assert values["config"] == CONFIG
    assert {"cmad", "python", "versions", "cpu"} <= set(values["environment"])


def test_another_configuration_is_refused_and_what_differs_named(tmp_path):
    Run(tmp_path, CONFIG)
    with pytest.raises(ValueError, match=r"another configuration \(seed: 0 then, 1 now\)"):
        Run(tmp_path, {**CONFIG, "seed": 1})
    Run(tmp_path, dict(CONFIG))


@pytest.mark.parametrize("left", ["", '{"config": {}', '{"result": {"category": "bagel"}}', "[1]"])
def test_a_file_that_is_not_whole_does_not_count(tmp_path, left):
    run = Run(tmp_path, CONFIG)
    run.keep(result("cookie"))
    (tmp_path / "categories/bagel.json").write_text(left)
    assert set(run.done()) == {"cookie"}


def test_nothing_unfinished_stays(tmp_path):
    Run(tmp_path, CONFIG).keep(result("bagel"))
    assert {p.name for p in tmp_path.rglob("*.*")} == {"run.json", "bagel.json"}
