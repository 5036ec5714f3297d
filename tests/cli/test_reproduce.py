"""`cmad reproduce`: a paper's tables, ours beside the paper's, resumed and with wrong input."""

import importlib
import json
import re

import pytest

from cmad.detectors import G2SF
from cmad.evaluate import Group, ablate, groups
from cmad.report.published import published

QUICK = ["--weights", "random", "--rgb", "vit_tiny_patch16_224", "--variant", "tiny"]
QUICK += ["--image-size", "112", "--epochs", "1", "--set", "cells=14", "--set", "fraction=0.3"]
QUICK += ["--synthetic-parts", "4", "--patches-per-part", "20", "--batch-size", "40"]


NO_TABLE = (
    "--table must be one of I, II, III, IV, V, supplementary I, supplementary II, curve, none"
)
NO_TABLE += ", got 'VII'"


@pytest.fixture(scope="module")
def done(run, bagels, tmp_path_factory):
    out = tmp_path_factory.mktemp("reproduced")
    result = run("reproduce", "g2sf", bagels, "--out", out, *QUICK)
    assert result.code == 0, result.err
    return out, result


def section(page, heading):
    return re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page, re.M | re.S)[1]


def test_every_table_of_the_method_has_the_papers_numbers_and_ours(done):
    out, result = done
    page = (out / "reproduction.md").read_text()
    tables = re.findall(r"^## (G2SF.*)$", page, re.M)
    assert tables == [
        *(f"G2SF Table {n}" for n in ("I", "II", "III", "IV", "V")),
        "G2SF supplementary Table I",
        "G2SF supplementary Table II",
    ], page
    data = json.loads((out / "reproduction.json").read_text())["settings"]
    third = section(page, "G2SF Table III")
    for setting in ("s^R", "s^P", "w^R", "w^P"):
        paper = published("MVTec 3D-AD", "AUPRO@1%", method="G2SF", setting=setting)
        [paper] = [n.value for n in paper if n.table == "III"]
        ours = data[setting]["mean"]["grid"]["AUPRO@1%"]
        row = next(line for line in third.splitlines() if line.startswith(f"| {setting} |"))
        assert row.endswith(f"| {paper:.3f} | {ours:.3f} | {ours - paper:+.3f} |")
    ours = data["s^R + s^P"]["mean"]["metrics"]["I-AUROC"]
    assert f"| s^R + s^P | {ours:.3f} |" in section(page, "Not in the paper")
    first = section(page, "G2SF Table I").strip() or section(page, "I-AUROC")
    assert "| as it is, paper | 0.997 | 0.997 | 0.971 |" in first
    value = data["as it is"]["mean"]["metrics"]["I-AUROC"]
    assert f"| as it is, ours | {value:.3f} | {value:.3f} | - |" in first
    apart = f"{value - 0.997:+.3f}"
    assert f"| as it is, difference | {apart} | {apart} | - |" in first
    assert "Not comparable with the paper" in page
    assert "The paper has no G2SF-T: its rows are of the full G2SF." in page
    assert "the weights of the 2D extractor are random" in page
    assert "note: not comparable with the paper's numbers" in result.out
    assert "L_sep + L_cns + L_mar + L_sc" in result.out
    assert page.index("## What was run") > 0


def test_what_is_ablated_differs_and_what_is_not_is_the_evaluation(done, run, bagels, tmp_path):
    out, _ = done
    data = json.loads((out / "reproduction.json").read_text())["settings"]
    means = {name: tuple(one["mean"]["metrics"].values()) for name, one in data.items()}
    assert set(means) == {"as it is", *(a.setting for a in G2SF.ablations if not a.epoch)}
    assert len(set(means.values())) > 8, "maps, losses and operators make a difference"
    result = run("evaluate", bagels, "--method", "g2sf", "--out", tmp_path, *QUICK)
    assert result.code == 0, result.err
    evaluated = json.loads((tmp_path / "evaluation.json").read_text())["mean"]
    assert evaluated["metrics"] == data["as it is"]["mean"]["metrics"]
    assert evaluated["grid"] == data["as it is"]["mean"]["grid"]


def test_what_is_there_is_not_run_again_and_tables_can_be_chosen(done, run, bagels, tmp_path):
    out, _ = done
    before = (out / "settings" / "L_sep" / "categories" / "bagel.json").stat().st_mtime_ns
    again = run("reproduce", "g2sf", bagels, "--out", out, "--table", "III", *QUICK)
    assert again.code == 0, again.err
    assert "rows" not in again.out.replace("row ", "")
    page = (out / "reproduction.md").read_text()
    assert "## G2SF Table III" in page
    assert "| max operator |" not in page
    after = (out / "settings" / "L_sep" / "categories" / "bagel.json").stat().st_mtime_ns
    assert before == after


def test_the_learning_curve_is_that_of_trainings_that_stop(run, bagels, tmp_path):
    quick = [*QUICK, "--epochs", "5"]
    result = run("reproduce", "g2sf", bagels, "--out", tmp_path, "--table", "curve", *quick)
    assert result.code == 0, result.err
    page = section((tmp_path / "reproduction.md").read_text(), "Learning curve")
    rows = re.findall(r"^\| (\w[\w ]*) \|", page, re.M)
    assert rows == ["row", "2 epochs", "4 epochs", "as it is"]
    data = json.loads((tmp_path / "reproduction.json").read_text())["settings"]
    short = run("evaluate", bagels, "--method", "g2sf", "-o", tmp_path / "e", *QUICK, "--epochs", 4)
    assert short.code == 0, short.err
    stopped = json.loads((tmp_path / "e" / "evaluation.json").read_text())["mean"]
    assert stopped["metrics"] == data["4 epochs"]["mean"]["metrics"]


def test_an_interruption_says_what_is_kept(run, bagels, tmp_path, monkeypatch):
    asked = []

    def interrupted(*args):
        asked.append(args)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ablate(*args)

    monkeypatch.setattr(importlib.import_module("cmad.cli.reproduce"), "ablate", interrupted)
    command = ["reproduce", "g2sf", bagels, "--out", tmp_path / "out", "--table", "IV", *QUICK]
    result = run(*command)
    assert result.code == 130
    said = f"2 of 6 results are kept in {tmp_path / 'out'}; the same command goes on"
    assert said in result.err
    page = (tmp_path / "out" / "reproduction.md").read_text()
    assert re.search(
        r"^\| as it is \| 0.\d{3} \| 0.\d{3} \| ", section(page, "G2SF Table IV"), re.M
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--table", "VII"], NO_TABLE),
        (["--category", "tire"], "--category must be one of bagel, got 'tire'"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
    ],
)
def test_wrong_input_is_named(run, bagels, tmp_path, options, message):
    result = run("reproduce", "g2sf", bagels, "--out", tmp_path / "out", *options, *QUICK)
    assert (result.code, result.err) == (1, f"error: {message}\n")
    assert not (tmp_path / "out").exists()


def test_ablations_of_one_training_are_tested_together():
    found = groups(G2SF.ablations)
    assert list(found) == ["", *(a.setting for a in G2SF.ablations if a.training)]
    assert list(found[""].members) == ["", *(a.setting for a in G2SF.ablations if not a.training)]
    assert found["L_sep"] == Group({"losses": "none"}, {}, None, {"L_sep": G2SF.ablations[5]})
    known = {n.setting for n in published("MVTec 3D-AD", method="G2SF")}
    assert {a.setting for a in G2SF.ablations if a.table not in ("", "curve")} <= known
