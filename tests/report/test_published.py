"""The papers' numbers: nothing lost or misread between the papers, the files and the page."""

import csv
import re
from importlib.resources import files
from itertools import groupby
from pathlib import Path

import pytest

from cmad.report import published as package
from cmad.report.published import FILES, PARTS, Published, Row, beside, published
from cmad.report.published.page import page

MVTEC = ["bagel", "cable_gland", "carrot", "cookie", "dowel"]
MVTEC += ["foam", "peach", "potato", "rope", "tire"]
EYECANDIES = ["CandyCane", "ChocolateCookie", "ChocolatePraline", "Confetto", "GummyBear"]
EYECANDIES += ["HazelnutTruffle", "LicoriceSandwich", "Lollipop", "Marshmallow", "PeppermintCandy"]
CATEGORIES = {"MVTec 3D-AD": MVTEC, "Eyecandies": EYECANDIES}
NUMBERS = [number for dataset in CATEGORIES for number in published(dataset)]

# Printed means that are not the mean of the printed categories: printed, computed.
SLIPS = {
    ("CFM", "1", "AUPRO@30%", "AST"): (0.944, 0.9446),
    ("CFM", "2", "AUPRO@1%", "AST"): (0.398, 0.3989),
    ("CFM", "13", "I-AUROC", "M3DM*"): (0.882, 0.8827),
    ("CFM", "13", "AUPRO@30%", "M3DM"): (0.882, 0.8865),
    ("CFM", "13", "AUPRO@5%", "M3DM*"): (0.661, 0.6619),
    ("CFM", "13", "AUPRO@1%", "AST"): (0.149, 0.1497),
    ("G2SF", "I", "AUPRO@30%", "AST"): (0.944, 0.9446),
}
# Means that two tables print differently.
DIFFER = {
    # CFM, Tables 6 and 10.
    ("MVTec 3D-AD", "AUPRO@1%", "CFM", "psi_2D + psi_3D"): {0.430, 0.432},
    ("MVTec 3D-AD", "AUPRO@1%", "CFM", "max(psi_2D, psi_3D)"): {0.400, 0.401},
    # CFM, Tables 7 and 9.
    ("MVTec 3D-AD", "I-AUROC", "CFM", "50 epochs"): {0.944, 0.949},
    ("MVTec 3D-AD", "AUPRO@30%", "CFM", "50 epochs"): {0.970, 0.968},
    ("MVTec 3D-AD", "AUPRO@1%", "CFM", "50 epochs"): {0.450, 0.445},
    # G2SF, Table III and supplementary Table I: exchanged.
    ("MVTec 3D-AD", "AUPRO@1%", "G2SF", "s^R"): {0.363, 0.319},
    ("MVTec 3D-AD", "AUPRO@1%", "G2SF", "s^P"): {0.363, 0.319},
    # CFM, Tables 3 and 13.
    ("Eyecandies", "I-AUROC", "AST", ""): {0.758, 0.780},
    ("Eyecandies", "AUPRO@30%", "AST", ""): {0.878, 0.744},
    ("Eyecandies", "AUPRO@1%", "AST", ""): {0.224, 0.149},
}


def rows():
    """Each row of a table, as category to value."""
    found = {}
    for n in NUMBERS:
        row = (n.paper, n.table, n.dataset, n.metric, n.method, n.setting)
        assert n.category not in found.setdefault(row, {}), f"{row} has two of {n.category}"
        found[row][n.category] = n.value
    return found


def test_a_row_has_a_mean_and_all_ten_categories_or_none():
    for (_, _, dataset, *_), row in rows().items():
        assert list(row) in (["mean"], [*CATEGORIES[dataset], "mean"])


def test_a_printed_mean_is_that_of_its_categories_but_for_the_papers_slips():
    slips = {}
    for (paper, table, _, metric, method, _), row in rows().items():
        categories = [value for name, value in row.items() if name != "mean"]
        if categories and abs(sum(categories) / 10 - row["mean"]) > 0.0006:
            slips[paper, table, metric, method] = (row["mean"], round(sum(categories) / 10, 4))
    assert slips == SLIPS


def test_tables_that_repeat_a_number_agree_but_for_the_papers_slips():
    # The speed of CFM is printed twice with the same digits, its memory as 437.91 and 437.911.
    printed = {}
    for n in NUMBERS:
        place = (n.dataset, n.metric, n.method, n.setting, n.category)
        printed.setdefault(place, set()).add(n.value)
    differ = {place: values for place, values in printed.items() if len(values) > 1}
    assert differ == {(*place, "mean"): values for place, values in DIFFER.items()}


@pytest.mark.parametrize(
    ("paper", "table", "rows_of_table", "first", "last"),
    [
        ("CFM", "1", 20, 0.538, 0.971),
        ("CFM", "2", 4, 0.428, 0.455),
        ("CFM", "3", 12, 0.758, 0.335),
        ("CFM", "4", 64, 0.671, 0.455),
        ("CFM", "5", 42, 3.197, 0.419),
        ("CFM", "6", 20, 0.895, 0.455),
        ("CFM", "7", 24, 0.860, 0.450),
        ("CFM", "8", 16, 0.949, 0.437),
        ("CFM", "9", 21, 0.993, 2780.690),
        ("CFM", "10", 25, 0.937, 0.455),
        ("CFM", "11", 20, 0.994, 0.419),
        ("CFM", "12", 4, 0.996, 0.993),
        ("CFM", "13", 31, 0.529, 0.330),
        ("G2SF", "I", 19, 0.538, 0.979),
        ("G2SF", "II", 27, 0.865, 0.468),
        ("G2SF", "III", 20, 0.849, 0.468),
        ("G2SF", "IV", 15, 0.868, 0.979),
        ("G2SF", "V", 16, 0.963, 0.468),
        ("G2SF", "supplementary I", 20, 0.945, 0.468),
        ("G2SF", "supplementary II", 16, 0.997, 0.468),
    ],
)
def test_every_table_is_whole(paper, table, rows_of_table, first, last):
    assert sum(row[:2] == (paper, table) for row in rows()) == rows_of_table
    values = [n.value for n in NUMBERS if (n.paper, n.table) == (paper, table)]
    assert (values[0], values[-1]) == (first, last)


def test_there_are_no_other_tables_and_they_keep_their_order():
    tables = [key for key, _ in groupby((n.paper, n.table) for n in published("MVTec 3D-AD"))]
    cfm = ("1", "2", "4", "5", "6", "7", "8", "9", "10", "11", "12")
    g2sf = ("I", "II", "III", "IV", "V", "supplementary I", "supplementary II")
    assert tables == [*(("CFM", n) for n in cfm), *(("G2SF", n) for n in g2sf)]
    assert {(n.paper, n.table) for n in published("Eyecandies")} == {("CFM", "3"), ("CFM", "13")}


def test_the_files_keep_the_printed_digits():
    digits = {"fps": r"\d+\.\d{3}", "memory MB": r"\d+\.\d{2,3}"}
    short = []
    for name in FILES:
        for line in csv.DictReader(files(package).joinpath(name).read_text("utf-8").splitlines()):
            if not re.fullmatch(digits.get(line["metric"], r"[01]\.\d{3}"), line["value"]):
                short.append((line["table"], line["setting"], line["category"], line["value"]))
    assert short == [("supplementary I", "s^P", "bagel", "0.96")]  # as printed


def test_areas_are_at_most_one():
    areas = [n for n in NUMBERS if n.metric not in ("fps", "memory MB")]
    assert all(re.fullmatch(r"[IP]-AUROC|AUPRO@(30|10|5|1)%", n.metric) for n in areas)
    assert all(0 < n.value <= 1 for n in areas)


def test_published_chooses_by_every_name():
    got = published("MVTec 3D-AD", "AUPRO@1%", method="CFM", setting="5-shot")
    want = Published("CFM", "4", "MVTec 3D-AD", "5-shot", "AUPRO@1%", "CFM", "mean", 0.382)
    assert got == [want]
    assert published("Eyecandies", "fps") == []
    every = published("MVTec 3D-AD", method="G2SF")
    assert {"", "s^R", "w^P", "l_0", "max operator"} < {n.setting for n in every}
    assert {n.metric for n in published("MVTec 3D-AD", method="CFM-T", setting="")} > {"fps"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"dataset": "MVTec"}, "dataset must be one of 'MVTec 3D-AD', 'Eyecandies', got 'MVTec'"),
        ({"metric": "AUPRO"}, "metric must be one of 'I-AUROC', 'AUPRO@30%', .*, got 'AUPRO'"),
        ({"method": "Ours"}, "method must be one of .*'CFM-T'.*'G2SF', got 'Ours'"),
        ({"setting": "3-shot"}, "setting must be one of '', '5-shot', .*, got '3-shot'"),
    ],
)
def test_an_unknown_name_is_told_the_known_ones(names, message):
    with pytest.raises(ValueError, match=message):
        published(**{"dataset": "MVTec 3D-AD", **names})


def test_beside_gives_a_row_for_each_method_that_has_the_categories():
    got = beside("MVTec 3D-AD", ["cable_gland", "mean"], "AUPRO@1%")
    assert got["CFM"] == Row("CFM", "2", {"cable_gland": 0.431, "mean": 0.455})
    assert got["G2SF"] == Row("G2SF", "supplementary I", {"cable_gland": 0.443, "mean": 0.468})
    assert got["Shape-guided"] == Row("G2SF", "II", {"mean": 0.456})
    assert got["G2SF"].source == "G2SF, supplementary Table I"
    assert "Shape-guided" not in beside("MVTec 3D-AD", ["cable_gland"], "AUPRO@1%")
    assert beside("MVTec 3D-AD", ["my_own_part"], "AUPRO@1%") == {}


def test_beside_keeps_a_mean_with_its_categories():
    # Table 3 prints AST's mean as 0.758, Table 13 its categories, and 0.780.
    assert beside("Eyecandies", ["mean"], "I-AUROC")["AST"] == Row("CFM", "3", {"mean": 0.758})
    row = beside("Eyecandies", ["CandyCane", "mean"], "I-AUROC")["AST"]
    assert row == Row("CFM", "13", {"CandyCane": 0.574, "mean": 0.780})


def test_beside_takes_the_asked_setting_only():
    few = beside("MVTec 3D-AD", ["mean"], "I-AUROC", setting="10-shot")
    assert few == {
        m: Row("CFM", "4", {"mean": v})
        for m, v in [("BTF", 0.695), ("AST", 0.689), ("M3DM", 0.845), ("CFM", 0.845)]
    }


def test_the_data_sets_have_as_many_parts_as_the_paper_says():
    """CFM, section 4: 2656 training and 1197 test parts of one, 10k training parts of the other."""
    totals = {n: [sum(c) for c in zip(*parts.values(), strict=True)] for n, parts in PARTS.items()}
    assert totals == {"MVTec 3D-AD": [2656, 1197], "Eyecandies": [10000, 500]}
    assert {name: sorted(parts) for name, parts in PARTS.items()} == CATEGORIES


def test_the_page_in_the_documentation_is_made_from_the_files():
    written = (Path(__file__).parents[2] / "docs/results/published.md").read_text("utf-8")
    assert written == page(), "write it: python -m cmad.report.published.page"


def test_the_page_marks_the_best_mean():
    assert "| CFM-T | **42.818** | **48.12** | 0.899 | 0.990 | 0.961 | 0.419 |" in page()
    assert "| AST | - | - | - | - | - | - | - | - | - | - | 0.976 |" in page()
    assert "| CFM, 10-shot | **0.845** | **0.987** | **0.954** | **0.398** |" in page()
