"""The report: one self-contained HTML file of parts, maps, clouds and verdicts."""

from cmad.report.page.page import NEEDED, Group, available, expect_available, write_page
from cmad.report.page.parts import About, Part
from cmad.report.page.rows import counts, verdict

__all__ = [
    "NEEDED",
    "About",
    "Group",
    "Part",
    "available",
    "counts",
    "expect_available",
    "verdict",
    "write_page",
]
