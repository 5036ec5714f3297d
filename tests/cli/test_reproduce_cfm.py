"""`cmad reproduce cfm`: every table of the paper, on small parts and small extractors."""

import json
import re
from dataclasses import replace

import pytest

import cmad
from cmad.cli import _rows
from cmad.detectors import Ablation, _inputs
from cmad.evaluate.ablations import _with
from cmad.report.published import published
from cmad.report.reproduction import settings_of
from cmad.report.subject import Subject
from cmad.testing import eyecandies

QUICK = ["--weights", "random", "--rgb", "vit_tiny_patch16_224", "--image-size", "64"]
QUICK += ["--epochs", "2", "--pixels-per-image", "30"]
MVTEC, EYECANDIES = Subject("CFM", "MVTec 3D-AD"), Subject("CFM", "Eyecandies")


@pytest.fixture(scope="module")
def small():
    """Point-MAE of a few groups, other small ViTs for Table 8, fewer shots for Table 4."""

    def point_mae(grouping, blocks, weights, seed):
        shape = {"groups": 32, "group_size": 8, "dim": 12, "heads": 2}
        return cmad.extractors.PointMAE(**shape, blocks=blocks, weights=weights, seed=seed)

    def smaller(ablation):
        made = ablation.made
        if "rgb" in made:
            other = "vit_tiny_patch16_224" if "DINO," in ablation.setting else "test_vit"
            made = {**made, "rgb": other}
            if "SAM" in ablation.setting:
                made["rgb"] = "mixer_s16_224"
        shots = {5: 2, 10: 3}.get(ablation.shots, ablation.shots)
        return replace(ablation, made=made, shots=shots)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_inputs, "_point_mae", point_mae)
        patch.setattr(cmad.CFM, "ablations", tuple(map(smaller, cmad.CFM.ablations)))
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return ["--cache", tmp_path_factory.mktemp("cache")]


@pytest.fixture(scope="module")
def done(run, bagels, small, cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("reproduced")
    result = run("reproduce", "cfm", bagels, "--out", out, *cache, *QUICK)
    assert result.code == 0, result.err
    return (
        (out / "reproduction.md").read_text(),
        json.loads((out / "reproduction.json").read_text()),
        result,
    )


def section(page, heading):
    return re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.M | re.S)[1]


def rows_of(page, table):
    found = re.findall(r"^\| (.*?) \| (.*) \|$", section(page, f"CFM Table {table}"), re.M)
    return {name.replace("\\", ""): cells.split(" | ") for name, cells in found if name != "row"}


@pytest.mark.slow
def test_every_table_of_this_data_set_is_there_with_the_papers_rows(done):
    page, _, _ = done
    tables = re.findall(r"^## CFM Table (\d+)$", page, re.M)
    assert tables == ["1", "2", "4", "5", "6", "7", "8", "9", "10", "11", "12"]
    for table, settings in settings_of(MVTEC).items():
        shown = {name.split(", paper")[0] for name in rows_of(page, table)}
        missing = {s or "as it is" for s in settings} - shown
        # 50 shots of three parts, and an extractor that is no transformer.
        assert missing <= {"50-shot", "SAM, 50 epochs"}, (table, missing)
        assert "SAM, 50 epochs" in missing or table != "8"
    assert page.count("Frame rates and memory: benchmarks/fps.py measures them") == 2
    assert "The paper's means are of its 10 categories, ours of bagel alone." in page


@pytest.mark.slow
def test_ours_stand_beside_the_papers_numbers_with_the_difference(done):
    page, data, _ = done
    [paper] = [
        n.value
        for n in published("MVTec 3D-AD", "I-AUROC", method="CFM", setting="psi_2D")
        if n.table == "10" and n.category == "bagel"
    ]
    ours = data["settings"]["psi_2D"]["mean"]["metrics"]["I-AUROC"]
    of_auroc = section(page, "CFM Table 10").split("### ")[1]
    assert of_auroc.startswith("I-AUROC")
    assert f"| psi_2D, paper | {paper:.3f} |" in of_auroc
    assert f"| psi_2D, ours | {ours:.3f} |" in of_auroc
    assert f"| psi_2D, difference | {ours - paper:+.3f} |" in of_auroc
    means = rows_of(page, "6")["psi_2D"]
    assert means[:3] == ["0.895", f"{ours:.3f}", f"{ours - 0.895:+.3f}"]


@pytest.mark.slow
def test_rows_of_the_paper_are_of_the_options_that_they_name(done):
    _, data, _ = done
    means = {
        name: tuple({**one["mean"]["metrics"], **one["mean"]["grid"]}.values())
        for name, one in data["settings"].items()
    }
    # Fifty epochs are no more than the two that were asked for, DINO is the extractor, and what
    # stands for ten shots are all parts.
    same = {"as it is", "50 epochs", "DINO, 50 epochs", "10-shot"}
    assert {name for name, m in means.items() if m == means["as it is"]} == same
    # Two extractors were replaced by one.
    assert means["CLIP, 50 epochs"] == means["DINO-v2, 50 epochs"]
    for alone in ("psi_2D", "psi_3D"):
        assert means[f"{alone}, 50 epochs"] == means[alone]
    twice = {*(same - {"as it is"}), "DINO-v2, 50 epochs", "psi_2D, 50 epochs", "psi_3D, 50 epochs"}
    # One of both maps may be the larger one everywhere, as in the paper.
    others = {m for name, m in means.items() if name not in {*twice, "max(psi_2D, psi_3D)"}}
    assert len(others) == len(means) - len(twice) - 1


@pytest.mark.slow
def test_what_is_left_out_or_shorter_is_told(done):
    page, data, result = done
    for said in (
        "50 epochs: trained for 2 instead of 50 epochs, as asked",
        "left out SAM, 50 epochs: ViT: model must be a vision transformer of timm, got ",
        "bagel has 3 training parts, too few for 50 shots",
    ):
        assert said in page
        assert said in result.out
        assert any(said in note for note in data["notes"])


@pytest.mark.slow
def test_few_shots_have_their_spread_over_the_seeds(run, bagels, small, cache, tmp_path):
    given = ["--table", "4", "--seeds", "2", *cache, *QUICK]
    result = run("reproduce", "cfm", bagels, "--out", tmp_path, *given)
    assert result.code == 0, result.err
    data = json.loads((tmp_path / "reproduction.json").read_text())["settings"]
    assert {name: one["results"][0]["train"] for name, one in data.items()} == {
        "as it is": 3,
        "5-shot": 2,
        "10-shot": 3,
    }
    assert data["5-shot"]["mean"]["deviations"]["AUPRO@1% grid"] > 0
    shown = rows_of((tmp_path / "reproduction.md").read_text(), "4")
    deviation = data["5-shot"]["mean"]["deviations"]["I-AUROC"]
    assert shown["5-shot"][1].endswith(f" ± {deviation:.3f}")


@pytest.mark.slow
def test_a_table_runs_what_it_needs_alone(run, bagels, small, cache, tmp_path):
    command = ["reproduce", "cfm", bagels, "--out", tmp_path, "--table", "7", *QUICK]
    result = run(*command, *cache, "--set", "discrepancy=cosine")
    assert result.code == 0, result.err
    data = json.loads((tmp_path / "reproduction.json").read_text())
    sevens = settings_of(MVTEC)["7"]
    assert set(data["settings"]) == sevens
    page = (tmp_path / "reproduction.md").read_text()
    assert re.findall(r"^## (CFM.*)$", page, re.M) == ["CFM Table 7"]
    assert re.findall(r"^bagel.*seed 0: (\d) rows", result.out, re.M) == ["3", "3"]
    assert data["about"]["discrepancy"] == "cosine"


@pytest.mark.slow
def test_rows_of_several_extractors_are_each_of_their_own(run, bagels, small, cache, tmp_path):
    several = ["--table", "6", "--xyz", "geometry+normals", *cache, *QUICK]
    result = run("reproduce", "cfm", bagels, "--out", tmp_path, *several)
    assert result.code == 0, result.err
    data = json.loads((tmp_path / "reproduction.json").read_text())["settings"]
    areas = {name: one["mean"]["metrics"]["P-AUROC"] for name, one in data.items()}
    assert {"psi_2D", "psi_3D", "psi_2D + psi_3D"} <= set(areas)
    assert len(set(areas.values())) == len(areas)


def test_other_options_reach_each_extractors_detector(small):
    detector = cmad.CFM(
        rgb="vit_tiny_patch16_224", xyz="geometry+normals", weights="random", image_size=64
    )
    changed = _with(detector, {"aggregation": "2d"})
    members = list(changed.fusion.members.values())
    assert [m.options.aggregation for m in (changed, *members)] == ["2d"] * 3
    before = list(detector.fusion.members.values())
    assert [m.options.aggregation for m in (detector, *before)] == ["product"] * 3


@pytest.mark.slow
def test_eyecandies_tables_run_to_their_end(run, small, cache, tmp_path):
    eyecandies.write(tmp_path / "Eyecandies", "CandyCane", train=2, validation=2, good=1, size=160)
    command = ["reproduce", "cfm", tmp_path / "Eyecandies", "--out", tmp_path / "out"]
    result = run(*command, "--table", "3", "--table", "13", *cache, *QUICK)
    assert result.code == 0, result.err
    page = (tmp_path / "out" / "reproduction.md").read_text()
    assert re.findall(r"^## CFM Table (\d+)$", page, re.M) == ["3", "13"]
    data = json.loads((tmp_path / "out" / "reproduction.json").read_text())["settings"]
    ours = [one["mean"]["metrics"]["I-AUROC"] for one in data.values()]
    assert set(data) == {"as it is", "CFM-M"}
    shown = [line for line in page.splitlines() if line.startswith("|") and "ours" in line]
    assert all(any(f" {value:.3f} " in line for line in shown) for value in ours)
    assert len([line for line in page.splitlines() if ", difference |" in line]) > 1


def test_a_table_of_another_data_set_is_named(run, bagels, small, tmp_path):
    result = run("reproduce", "cfm", bagels, "--out", tmp_path / "o", "--table", "3", *QUICK)
    said = "--table 3 is of Eyecandies, DATA is of MVTec 3D-AD: of that the paper has 1, 2, 4, 5, "
    assert result.code == 1
    assert said in result.err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("table", "settings", "whole"),
    [
        ("1", set(), True),
        ("4", {"5-shot", "10-shot", "50-shot"}, True),
        ("8", {f"{n}, 50 epochs" for n in ("DINO", "SAM", "CLIP", "DINO-v2")}, False),
        ("10", {"psi_2D", "psi_3D", "psi_2D + psi_3D", "max(psi_2D, psi_3D)"}, True),
        ("11", {"CFM-M", "CFM-S", "CFM-T"}, True),
        ("12", set(), True),
    ],
)
def test_the_rows_of_a_table_are_chosen(table, settings, whole):
    own, with_whole, tables = _rows.chosen(cmad.CFM.ablations, [table], MVTEC)
    assert ({a.setting for a in own}, with_whole, tables) == (settings, whole, [table])


def test_of_eyecandies_the_medium_variant_is_run_and_of_a_variant_not_itself():
    own, whole, _ = _rows.chosen(cmad.CFM.ablations, None, EYECANDIES)
    assert ([a.setting for a in own], whole) == (["CFM-M"], True)
    for table, want in (("3", []), ("13", ["CFM-M"])):
        own, whole, _ = _rows.chosen(cmad.CFM.ablations, [table], EYECANDIES)
        assert ([a.setting for a in own], whole) == (want, True)
    own, _, _ = _rows.chosen(cmad.CFM.ablations, ["11"], replace(MVTEC, method="CFM-M"))
    assert {a.setting for a in own} == {"CFM-S", "CFM-T"}


def test_what_does_not_differ_is_left_out_and_epochs_are_no_more_than_asked():
    row = Ablation("9", "row", training={"epochs": 50}, made={"mapping": "conv"})
    assert _rows.settled(row, {"mapping": "mlp"}, {"epochs": 250}) == (row, "")
    got, note = _rows.settled(row, {"mapping": "conv"}, {"epochs": 20})
    assert (got.training, got.made) == ({}, {})
    assert note == "row: trained for 20 instead of 50 epochs, as asked"
    got, note = _rows.settled(row, {}, {"epochs": 50})
    assert (got.training, note) == ({}, "")


def test_what_is_said_of_several_rows_is_said_once():
    notes = ["a: short", "b, 50 epochs: short", "c: other"]
    assert _rows.together(notes) == ["a; b, 50 epochs: short", "c: other"]


def test_every_row_that_the_paper_has_of_the_method_is_run():
    known = {a.setting for a in cmad.CFM.ablations}
    for subject in (MVTEC, EYECANDIES):
        for settings in settings_of(subject).values():
            assert settings - {""} <= known
