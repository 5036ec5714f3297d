"""The papers' numbers: what CFM and G2SF print in their tables, to set beside ours.

``cfm.csv`` and ``g2sf.csv`` hold one number a line, with the digits printed. The papers' own slips
stay; docs/results/published.md shows the tables.
"""

import csv
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FILES = ("cfm.csv", "g2sf.csv")
PARTS = {
    "MVTec 3D-AD": {
        "bagel": (244, 110),
        "cable_gland": (223, 108),
        "carrot": (286, 159),
        "cookie": (210, 131),
        "dowel": (288, 130),
        "foam": (236, 100),
        "peach": (361, 132),
        "potato": (300, 114),
        "rope": (298, 101),
        "tire": (210, 112),
    },
    "Eyecandies": dict.fromkeys(
        (
            "CandyCane",
            "ChocolateCookie",
            "ChocolatePraline",
            "Confetto",
            "GummyBear",
            "HazelnutTruffle",
            "LicoriceSandwich",
            "Lollipop",
            "Marshmallow",
            "PeppermintCandy",
        ),
        (1000, 50),
    ),
}
"""Training parts and test parts with a known truth that each category has, as downloaded."""


@dataclass(frozen=True)
class Published:
    """One number of a paper's table."""

    paper: str
    """``"CFM"`` or ``"G2SF"``."""
    table: str
    """Its number there; G2SF counts anew in ``"supplementary I"`` and ``"supplementary II"``."""
    dataset: str
    """``"MVTec 3D-AD"`` or ``"Eyecandies"``."""
    setting: str
    """What differs from the full method and training: ``"5-shot"``, ``"psi_2D"``; or empty."""
    metric: str
    """``"I-AUROC"``, ``"P-AUROC"``, ``"AUPRO@30%"`` (10, 5, 1), ``"fps"`` or ``"memory MB"``."""
    method: str
    """As written there; the paper's own is ``"CFM"`` (``-M``, ``-S``, ``-T``) or ``"G2SF"``."""
    category: str
    """The data set's folder name, or ``"mean"``."""
    value: float
    """Areas are in [0, 1]."""


@dataclass(frozen=True)
class Row:
    """A method's row of one table."""

    paper: str
    table: str
    values: dict[str, float]
    """By category."""

    @property
    def source(self) -> str:
        """The table, as one refers to it."""
        *part, number = self.table.split()  # "supplementary I"
        return f"{self.paper}, {' '.join([*part, 'Table', number])}"


def published(
    dataset: str,
    metric: str | None = None,
    *,
    method: str | None = None,
    setting: str | None = None,
) -> list[Published]:
    """Look up numbers of the papers.

    The same number may come from several tables, and rarely differs between them. AUPRO is that of
    the published grid of thresholds, not of all thresholds.

    Args:
        dataset: "MVTec 3D-AD" or "Eyecandies".
        metric: such as "AUPRO@1%"; None for all.
        method: such as "CFM"; None for all.
        setting: such as "5-shot", or "" for the full method and training; None for all.

    Returns:
        The numbers in the order of the papers; empty where the papers have none for this choice.

    Raises:
        ValueError: a name that is nowhere in the papers' tables.

    """
    asked = {"dataset": dataset, "metric": metric, "method": method, "setting": setting}
    chosen = _numbers()
    for field, name in asked.items():
        if name is None:
            continue
        known = dict.fromkeys(getattr(number, field) for number in _numbers())
        if name not in known:
            names = ", ".join(repr(one) for one in known)
            raise ValueError(f"published: {field} must be one of {names}, got {name!r}")
        chosen = tuple(number for number in chosen if getattr(number, field) == name)
    return list(chosen)


def beside(
    dataset: str, categories: Collection[str], metric: str, *, setting: str = ""
) -> dict[str, Row]:
    """Give the papers' rows to print under one's own table of a metric.

    A row comes from one table, so that its mean belongs to its categories: the table that has most
    of the categories, the first printed of equals.

    Args:
        dataset: "MVTec 3D-AD" or "Eyecandies".
        categories: the table's columns; "mean" is the papers' mean of all 10. A name that the
            papers do not have is passed over.
        metric: such as "AUPRO@1%".
        setting: such as "5-shot"; "" for the full method and training.

    Returns:
        By method. Methods without any of the categories are left out.

    Raises:
        ValueError: a data set, metric or setting that is nowhere in the papers' tables.

    """
    rows: dict[tuple[str, str, str], Row] = {}
    for number in published(dataset, metric, setting=setting):
        if number.category in categories:
            source = number.paper, number.table
            row = rows.setdefault((number.method, *source), Row(*source, {}))
            row.values[number.category] = number.value
    fullest: dict[str, Row] = {}
    for (method, *_), row in rows.items():
        if method not in fullest or len(row.values) > len(fullest[method].values):
            fullest[method] = row
    return fullest


@cache
def _numbers() -> tuple[Published, ...]:
    numbers = []
    for name in FILES:
        with files(__package__).joinpath(name).open(encoding="utf-8") as file:
            for line in csv.DictReader(file):
                value = float(line.pop("value"))
                numbers.append(Published(**line, value=value))
    return tuple(numbers)
