"""Evaluation tables: what is in the files, and the papers' rows beside ours."""

import csv
import json

import pytest

from cmad.evaluate import AREAS, METRICS, Evaluation
from cmad.report import evaluation as report
from cmad.report.published import published

MVTEC = "MVTec 3D-AD"
ABOUT = {"seed": 3, "versions": {"torch": "2.15"}, "note": 'a | b, "c"'}
TEN = sorted({n.category for n in published(MVTEC)} - {"mean"})


def result(category, value=0.5, **more):
    return Evaluation(
        category=category,
        train=3,
        good=4,
        defective=5,
        metrics=dict.fromkeys(METRICS, value),
        grid=dict.fromkeys(AREAS, value / 2),
        frames_per_second=12.34,
        memory=1234.5,
        seconds={"fit": 1.0, "test": 2.0},
        **more,
    )


def written(folder, results, **more):
    options = {"name": "CFM", "dataset": MVTEC, "shots": None, "about": ABOUT, **more}
    return {p.suffix[1:]: p.read_text() for p in report.write(folder, results, **options)}


def test_each_file_has_the_results_and_what_they_came_from(tmp_path):
    files = written(tmp_path, [result("bagel", 0.25), result("tire", 0.75)])
    assert set(files) == {"csv", "json", "md"}
    lines = files["csv"].splitlines()
    about = [line for line in lines if line.startswith("#")]
    assert '# versions: {"torch": "2.15"}' in about
    rows = {r["category"]: r for r in csv.DictReader(lines[len(about) :])}
    assert list(rows) == ["bagel", "tire", "mean"]
    assert float(rows["mean"]["AUPRO@1%"]) == 0.5
    assert float(rows["tire"]["AUPRO@1% grid"]) == 0.375
    data = json.loads(files["json"])
    assert data["about"] == ABOUT
    assert [r["category"] for r in data["results"]] == ["bagel", "tire"]
    assert data["mean"]["metrics"]["I-AUROC"] == 0.5
    assert "| bagel | 0.250 | 0.250 | 0.250 | 0.250 | 12.3 |" in files["md"]
    assert '| versions | `{"torch": "2.15"}` |' in files["md"]
    assert "## Left out" not in files["md"]
    assert "## Verdicts" not in files["md"]


def test_verdicts_and_parts_left_out_are_listed(tmp_path):
    judged = result(
        "bagel",
        verdicts={"threshold": 0.125, "false_rejects": 1.0, "missed": 2.0},
        bad=(("train/good/001", "cannot be read"),),
    )
    page = written(tmp_path, [judged])["md"]
    assert "| bagel | 0.125 | 1 of 4 | 2 of 5 |" in page
    assert "- train/good/001: cannot be read" in page


def table_of(results, metric, dataset=MVTEC, shots=None):
    tables = report.comparisons("CFM", dataset, results, shots)
    return next(t for t in tables if t.metric == metric)


def test_the_papers_rows_stand_beside_ours_with_the_same_categories():
    table = table_of([result(name) for name in TEN], "AUPRO@30%")
    assert table.categories == (*TEN, "mean")
    assert table.rows["CFM, exact"] == dict.fromkeys((*TEN, "mean"), 0.5)
    assert table.rows["CFM, grid"]["mean"] == 0.25
    printed = {
        n.category: n.value
        for n in published(MVTEC, "AUPRO@30%", method="CFM", setting="")
        if n.table == "1"
    }
    assert table.rows["CFM (paper)"] == printed
    assert printed["mean"] == 0.971  # CFM, Table 1


def test_beside_some_categories_the_papers_mean_is_that_of_these():
    table = table_of([result("bagel"), result("tire")], "I-AUROC")
    row = table.rows["CFM (paper)"]
    assert set(row) == {"bagel", "tire", "mean"}
    assert row["mean"] == pytest.approx((row["bagel"] + row["tire"]) / 2)


def test_few_shots_stand_beside_the_papers_few_shots():
    everything = [result(name) for name in TEN]
    (want,) = {n.value for n in published(MVTEC, "I-AUROC", method="CFM", setting="5-shot")}
    assert table_of(everything, "I-AUROC", shots=5).rows["CFM (paper)"] == {"mean": want}
    # The paper prints only the mean of all ten, which says nothing of two.
    assert set(table_of(everything[:2], "I-AUROC", shots=5).rows) == {"CFM"}
    assert set(table_of(everything, "I-AUROC", shots=7).rows) == {"CFM"}


def test_a_data_set_that_the_papers_do_not_have_gets_our_rows_only():
    table = table_of([result("cover")], "AUPRO@1%", dataset="folder")
    assert set(table.rows) == {"CFM, exact", "CFM, grid"}


def test_own_categories_in_a_known_layout_get_no_papers(tmp_path):
    assert set(table_of([result("cover")], "P-AUROC").rows) == {"CFM"}
    assert "Beside the papers" not in written(tmp_path, [result("cover")])["md"]
