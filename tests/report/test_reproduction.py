"""Which rows of the papers stand beside a reproduction."""

import pytest

from cmad.report.reproduction import _numbers
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
