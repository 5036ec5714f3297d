"""The report: one self-contained HTML file of parts, maps, clouds and verdicts."""

from cmad.report.page.page import Group, available, write_page
from cmad.report.page.parts import About, Part

__all__ = ["About", "Group", "Part", "available", "write_page"]
