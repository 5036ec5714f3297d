"""The folder of an evaluation: what is kept, what is trusted, what is refused."""

import json
import os

import pytest

from cmad.evaluate import AREAS, METRICS, Evaluation, Run, write_whole

CONFIG = {"method": "cfm", "seed": 0, "shots": None}
DATA = {"bagel": "b1", "cookie": "c1"}


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


def test_results_come_back_as_they_were_with_what_they_were_computed_with(tmp_path):
    run = Run(tmp_path / "out", CONFIG)
    assert run.done(DATA) == {}
    run.keep(result("bagel"), "b1")
    kept, environment = Run(tmp_path / "out", CONFIG).done(DATA)["bagel"]
    assert kept == result("bagel")
    assert {"cmad", "python", "versions", "cpu"} <= set(environment)


def test_results_of_other_data_do_not_count(tmp_path):
    run = Run(tmp_path, CONFIG)
    run.keep(result("bagel"), "b1")
    assert run.done({"bagel": "b2"}) == {}
    assert run.done({"cookie": "b1"}) == {}


def test_another_configuration_is_refused_and_what_differs_named(tmp_path):
    Run(tmp_path, CONFIG).keep(result("bagel"), "b1")
    with pytest.raises(ValueError, match=r"another configuration \(seed: 0 then, 1 now\)"):
        Run(tmp_path, {**CONFIG, "seed": 1})
    Run(tmp_path, dict(CONFIG))


def test_a_run_without_results_does_not_bind_the_next(tmp_path):
    Run(tmp_path, CONFIG)
    assert Run(tmp_path, {**CONFIG, "seed": 1}).done(DATA) == {}


@pytest.mark.parametrize(
    "left",
    ["", '{"config": {}', '{"result": {"category": "bagel"}}', "[1]", '{"config": 3}', "\x00"],
)
def test_a_file_that_is_not_whole_does_not_count(tmp_path, left):
    run = Run(tmp_path, CONFIG)
    run.keep(result("cookie"), "c1")
    (tmp_path / "categories/bagel.json").write_text(left)
    assert set(Run(tmp_path, CONFIG).done(DATA)) == {"cookie"}


def test_a_file_with_other_fields_does_not_count(tmp_path):
    run = Run(tmp_path, CONFIG)
    run.keep(result("bagel"), "b1")
    path = tmp_path / "categories/bagel.json"
    values = json.loads(path.read_text())
    del values["result"]["grid"]
    path.write_text(json.dumps(values))
    assert run.done(DATA) == {}


def test_a_crash_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_whole(path, "old")

    def crash(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="no space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
