"""Evaluation tables: what is in the files, and the papers' rows beside ours."""

import csv
import json
from dataclasses import replace

import pytest

from cmad.evaluate import AREAS, METRICS, Evaluation, averages
from cmad.report import evaluation as report
from cmad.report.comparisons import comparisons
from cmad.report.published import PARTS, published
from cmad.report.subject import Difference, Subject

MVTEC = "MVTec 3D-AD"
VERDICTS = ("threshold", "false_rejects", "missed")
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


def as_published(category, value=0.5):
    """Of as many parts as the papers have."""
    train, test = PARTS[MVTEC][category]
    return replace(result(category, value), train=train, good=test - 5)


def written(folder, results, command="", method="CFM", dataset=MVTEC, **more):
    runs = results if isinstance(results, dict) else {0: results}
    subject = Subject(method, dataset, **more)
    files = report.write(folder, runs, subject, ABOUT, command)
    return {p.suffix[1:]: p.read_text() for p in files}


def test_each_file_has_the_results_and_what_they_came_from(tmp_path):
    files = written(tmp_path, [result("bagel", 0.25), result("tire", 0.75)])
    assert set(files) == {"csv", "json", "md", "tex"}
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


def table_of(results, metric, dataset=MVTEC, shots=None, method="CFM"):
    tables = comparisons(Subject(method, dataset, shots=shots), *averages({0: results}))
    return next(t for t in tables if t.metric == metric)


def test_the_papers_rows_stand_beside_ours_with_the_same_categories():
    table = table_of([as_published(name) for name in TEN], "AUPRO@30%")
    assert table.categories == (*TEN, "mean")
    assert table.rows["CFM (cmad), exact"] == dict.fromkeys((*TEN, "mean"), 0.5)
    assert table.rows["CFM (cmad), grid"]["mean"] == 0.25
    printed = {
        n.category: n.value
        for n in published(MVTEC, "AUPRO@30%", method="CFM", setting="")
        if n.table == "1"
    }
    assert table.rows["CFM (paper: CFM, Table 1)"] == printed
    assert printed["mean"] == 0.971  # CFM, Table 1
    assert "G2SF (paper: G2SF, Table I)" in table.rows


def test_beside_some_categories_the_papers_mean_is_that_of_these():
    table = table_of([result("bagel"), result("tire")], "I-AUROC")
    row = table.rows["CFM (paper: CFM, Table 1)"]
    assert set(row) == {"bagel", "tire", "mean"}
    assert row["mean"] == pytest.approx((row["bagel"] + row["tire"]) / 2)


def test_few_shots_stand_beside_the_papers_few_shots():
    everything = [result(name) for name in TEN]
    (want,) = {n.value for n in published(MVTEC, "I-AUROC", method="CFM", setting="5-shot")}
    rows = table_of(everything, "I-AUROC", shots=5).rows
    assert rows["CFM, 5-shot (paper: CFM, Table 4)"] == {"mean": want}
    assert "CFM (cmad), 5-shot" in rows
    # The paper prints only the mean of all ten, which says nothing of two.
    assert set(table_of(everything[:2], "I-AUROC", shots=5).rows) == {"CFM (cmad), 5-shot"}
    assert set(table_of(everything, "I-AUROC", shots=7).rows) == {"CFM (cmad), 7-shot"}


@pytest.mark.parametrize(
    ("categories", "options", "why"),
    [
        (["cover"], {"dataset": "folder"}, "no numbers for folder; they use MVTec 3D-AD and Eye"),
        (["bagel", "cover"], {}, "papers' MVTec 3D-AD has no category cover: bagel, cable_gland,"),
        (["bagel"], {"shots": 7}, "no 7-shot results on MVTec 3D-AD; they print 5-shot, 10-shot"),
        (["Lollipop"], {"dataset": "Eyecandies", "shots": 5}, "no 5-shot results on Eyecandies"),
        (["bagel"], {"shots": 5}, "print 5-shot results only as the mean of all 10 categories"),
    ],
)
def test_the_papers_section_says_why_there_is_nothing_beside_ours(
    tmp_path, categories, options, why
):
    files = written(tmp_path, [result(name) for name in categories], **options)
    section = files["md"].split("## Beside the papers\n")[1].split("## ")[0]
    assert why in section
    assert "|" not in section
    assert "Not comparable" not in files["md"]
    assert why.replace("-", "-{}").replace("_", "\\_") in files["tex"]


def test_a_metric_that_the_papers_do_not_print_is_told_below_its_table(tmp_path):
    everything = [result(name) for name in TEN]
    page = written(tmp_path, everything, shots=5)["md"]
    assert "The papers do not print 5-shot AUPRO@10%." in page
    assert page.count("The papers do not print") == 2  # AUPRO@5%, too


def test_the_same_as_the_papers_is_not_called_incomparable(tmp_path):
    files = written(tmp_path, [as_published("bagel"), as_published("tire")])
    assert files["md"].startswith("# CFM on MVTec 3D-AD\n")
    assert "## Beside the papers\n" in files["md"]
    assert "omparable" not in files["md"].replace("never comparable", "")
    assert json.loads(files["json"])["not comparable"] == []


def test_what_is_not_comparable_says_so_at_the_top_and_at_the_papers_with_reasons(tmp_path):
    random = Difference("random weights", "the weights of the 3D extractor are random")
    short = Difference("", "epochs 1, by default 250", apart=False)
    files = written(tmp_path, [result("bagel")], method="CFM-T", differences=(random, short))
    page = files["md"]
    assert page.startswith(
        "# CFM-T, random weights, 3 training parts on MVTec 3D-AD\n\n**Not comparable with"
    )
    section = page.split("## Beside the papers (not comparable)\n")[1]
    reasons = section.split("Set otherwise in ours:")[0]
    assert "- the weights of the 3D extractor are random\n" in reasons
    assert "- trained on 3 parts, the papers on 244\n" in reasons
    assert "- tested on 9 parts, the papers on 110\n" in reasons
    assert "epochs" not in reasons
    assert "- epochs 1, by default 250\n" in section
    assert "| CFM-T (cmad), random weights, 3 training parts | 0.500 |" in section
    assert json.loads(files["json"])["not comparable"][0] == random.reason


def test_settings_that_leave_the_method_the_papers_are_no_reason(tmp_path):
    """The documented `--pixels-per-image 500` among them."""
    some = Difference("", "pixels per image 500, by default all", apart=False)
    page = written(tmp_path, [as_published("bagel")], differences=(some,))["md"]
    assert "ot comparable" not in page
    assert "- pixels per image 500, by default all\n" in page


def test_other_methods_are_told_apart_from_the_papers(tmp_path):
    page = written(tmp_path, [as_published("bagel")], method="PatchCore")["md"]
    assert "The papers do not have PatchCore: their rows are other methods." in page
    page = written(tmp_path, [result("Lollipop")], method="CFM-T", dataset="Eyecandies")["md"]
    assert "The papers have no CFM-T for this; CFM is the full variant." in page
    page = written(tmp_path, [as_published("bagel")], method="CFM-T")["md"]
    assert "CFM-T (paper: CFM, Table 11)" in page
    assert "full variant" not in page


def test_the_page_says_what_pixels_and_areas_are(tmp_path):
    page = written(tmp_path, [result("bagel")], pixels=112)["md"]
    assert "the detector's own grid of 112x112" in page
    assert "as the papers do on 224x224" in page
    assert "grid the 99 published ones" in page
    assert "The papers' AUPRO is that of a grid (99 thresholds in CFM, 100 in G2SF" in page


def test_command_and_dates_stand_on_the_page(tmp_path):
    days = [replace(result("bagel"), date="2026-01-31 12:05")]
    files = written(tmp_path, days, command="cmad evaluate 'my data'")
    assert "```bash\ncmad evaluate 'my data'\n```" in files["md"]
    assert '| date | `"2026-01-31 12:05 UTC"` |' in files["md"]
    assert "% cmad evaluate 'my data'\n" in files["tex"]
    assert "# command: \"cmad evaluate 'my data'\"\n" in files["csv"]
    days.append(replace(result("tire"), date="2026-02-01 08:00"))
    assert "2026-01-31 12:05 to 2026-02-01 08:00 UTC" in written(tmp_path, days)["md"]


def test_several_seeds_give_mean_and_deviation(tmp_path):
    runs = {
        seed: [
            replace(result("bagel", value), verdicts=dict.fromkeys(VERDICTS, float(seed))),
            result("tire", 1 - value),
        ]
        for seed, value in ((0, 0.2), (1, 0.4), (4, 0.9))
    }
    files = written(tmp_path, runs)
    page, data = files["md"], json.loads(files["json"])
    assert "over seeds 0, 1, 4 of all that is drawn" in page
    assert "| bagel | 0.500 ± 0.361 |" in page  # of .2, .4, .9: sqrt(.26 / 2)
    assert "| mean | 0.500 ± 0.000 |" in page  # in each seed the two have mean .5
    assert "| CFM (cmad), 3 training parts per category, grid | 0.250 ± 0.180 |" in page
    assert "| bagel, seed 4 | 4 |" in page
    assert "0.500 $\\pm$ 0.361" in files["tex"]
    assert data["results"][0]["deviations"]["I-AUROC"] == pytest.approx(0.13**0.5)
    assert data["seeds"]["4"]["results"][0]["metrics"]["I-AUROC"] == 0.9
    lines = files["csv"].splitlines()
    rows = list(csv.DictReader(line for line in lines if line[0] != "#"))
    assert float(rows[0]["AUPRO@1% grid deviation"]) == pytest.approx(0.13**0.5 / 2)


def test_one_seed_has_no_deviation(tmp_path):
    files = written(tmp_path, {7: [result("bagel")]})
    assert not any("±" in text or "pm$" in text for text in files.values())
    assert "seeds" not in files["md"]
    assert "deviation" not in files["csv"]
    assert "seeds" not in set(json.loads(files["json"]))
