"""Which rows of the papers stand beside a reproduction."""

import pytest

from cmad.evaluate import AREAS, METRICS, Evaluation
from cmad.report.blocks import Table
from cmad.report.reproduction import _numbers, tables
from cmad.report.subject import Subject


@pytest.mark.parametrize("method", ["CFM", "CFM-M", "G2SF"])
def test_only_a_papers_own_rows_are_quoted(method):
    rows = _numbers(Subject(method, "MVTec 3D-AD"))
    assert {row.paper for row in rows} == {method.split("-")[0]}
    assert {row.method for row in rows} == {method}


def test_a_variant_that_is_not_printed_stands_beside_the_full_method():
    assert {row.method for row in _numbers(Subject("G2SF-T", "MVTec 3D-AD"))} == {"G2SF"}
    assert _numbers(Subject("PatchCore", "MVTec 3D-AD")) == []
    assert _numbers(Subject("CFM", "folder")) == []


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
    assert rows["s^R"][1::2] != rows["s^R"][2::2] == ["-"] * 4
