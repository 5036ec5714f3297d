"""Which rows of the papers stand beside a reproduction."""

import pytest

from cmad.evaluate import AREAS, METRICS, Evaluation
from cmad.report.blocks import Table
from cmad.report.reproduction import _rows, settings_of, tables
from cmad.report.subject import Subject


@pytest.mark.parametrize("method", ["CFM", "CFM-M", "G2SF"])
def test_only_a_papers_own_rows_are_quoted_and_other_variants_by_their_name(method):
    rows = _rows(Subject(method, "MVTec 3D-AD"))
    paper = method.split("-")[0]
    assert {n.paper for _, n in rows} == {paper}
    assert {n.method.split("-")[0] for _, n in rows} == {paper}
    assert {n.method for setting, n in rows if setting == ""} == {method}
    named = {setting for setting, n in rows if n.method != method}
    assert named >= ({"CFM-S", "CFM-T"} if paper == "CFM" else set())


def test_a_variant_that_is_not_printed_stands_beside_the_full_method():
    assert {n.method for _, n in _rows(Subject("G2SF-T", "MVTec 3D-AD"))} == {"G2SF"}
    assert _rows(Subject("PatchCore", "MVTec 3D-AD")) == []
    assert _rows(Subject("CFM", "folder")) == []


def test_the_settings_of_each_table_are_known():
    found = settings_of(Subject("CFM", "MVTec 3D-AD"))
    assert list(found) == ["1", "2", "4", "5", "6", "7", "8", "9", "10", "11", "12"]
    assert found["4"] == {"", "5-shot", "10-shot", "50-shot"}
    assert found["11"] == {"", "CFM-M", "CFM-S", "CFM-T"}
    assert settings_of(Subject("CFM", "Eyecandies")) == {"3": {""}, "13": {"", "CFM-M"}}


def result(category, value):
    numbers = dict.fromkeys(METRICS, value), dict.fromkeys(AREAS, value)
    return Evaluation(category, 3, 4, 5, *numbers, 1.0, 100.0, {})


def test_a_row_that_is_not_through_has_gaps_and_no_mean():
    whole = [result("bagel", 0.5), result("rope", 0.25)]
    results = {"": {0: whole}, "s^R": {0: [result("rope", 0.125)]}}
    found = list(tables(results, Subject("G2SF", "MVTec 3D-AD")))
    rows = {row[0]: row for t in found if isinstance(t, Table) for row in t.rows}
    assert rows["s^R, ours"][1:] == ["-", "0.125", "-", "-"]
    assert rows["as it is, ours"][1:] == ["0.500", "0.250", "0.375", "-"]
    assert rows["s^R, difference"][1] == "-"
    assert rows["s^R"][1::3] != rows["s^R"][2::3] == rows["s^R"][3::3] == ["-"] * 4
