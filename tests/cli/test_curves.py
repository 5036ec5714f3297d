"""`cmad fit --curves` and `cmad info --curves`."""

import csv

import pytest

import cmad

QUICK = ["--weights", "random", "--rgb", "vit_tiny_patch16_224", "--variant", "tiny"]
QUICK += ["--image-size", "112", "--epochs", "2", "--pixels-per-image", "20"]


def columns(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_fit_writes_them_with_those_of_the_held_out_parts(run, data, tmp_path):
    fit = ["fit", data, "--category", "cover", "--out", tmp_path / "a.cmad", *QUICK]
    got = run(*fit, "-r", "0.4", "--curves", tmp_path / "a.csv")
    assert got.code == 0, got.err
    head, *rows = columns(tmp_path / "a.csv")
    assert head == ["epoch", "2d", "2d held out", "3d", "3d held out"]
    assert [row[0] for row in rows] == ["1", "2"]
    kept = cmad.load(tmp_path / "a.cmad").curves
    assert [[float(v) for v in row[1:]] for row in rows] == [
        [values[epoch] for values in kept.values()] for epoch in range(2)
    ]
    again = run("info", tmp_path / "a.cmad", "--curves", tmp_path / "b.svg")
    assert again.code == 0
    [line] = [row for row in again.out.splitlines() if row.startswith("losses:")]
    assert line.split(None, 1)[1].startswith(f"2d {kept['2d'][-1]:.4g}, 2d held out ")
    assert (tmp_path / "b.svg").read_text().count("<polyline") == 4


def test_without_held_out_parts_they_are_the_trainings(run, data, tmp_path):
    got = run(
        "fit",
        data,
        "--category",
        "cover",
        "--out",
        tmp_path / "a.cmad",
        *QUICK,
        "--curves",
        tmp_path / "a.csv",
    )
    assert got.code == 0, got.err
    assert columns(tmp_path / "a.csv")[0] == ["epoch", "2d", "3d"]


def test_another_ending_is_refused_before_the_training(run, data, tmp_path):
    got = run(
        "fit",
        data,
        "--category",
        "cover",
        "--out",
        tmp_path / "a.cmad",
        *QUICK,
        "--curves",
        tmp_path / "a.png",
    )
    assert got.code == 1
    assert "--curves must end in .svg or .csv, got a.png" in got.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["patchcore"])
def test_a_method_without_epochs_has_none(run, data, tmp_path, method):
    quick = [word for word in QUICK if word not in ("--epochs", "2", "--pixels-per-image", "20")]
    fit = ["fit", data, "--category", "cover", "--out", tmp_path / "a.cmad", "--method", method]
    assert run(*fit, *quick).code == 0
    got = run("info", tmp_path / "a.cmad", "--curves", tmp_path / "a.svg")
    assert got.code == 1
    assert "there are no curves" in got.err
    assert "losses:" not in run("info", tmp_path / "a.cmad").out
