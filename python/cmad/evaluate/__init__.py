"""Fit a method on the categories of a data set, test it, and keep the results."""

from cmad.evaluate.ablations import Group, ablate, ablated, groups
from cmad.evaluate.averages import Runs, averages, mean, over_seeds
from cmad.evaluate.category import Evaluation, Plan, evaluate, fingerprint
from cmad.evaluate.run import Run, writable, write_whole
from cmad.evaluate.tally import AREAS, GRID, METRICS, Tally

__all__ = [
    "AREAS",
    "GRID",
    "METRICS",
    "Evaluation",
    "Group",
    "Plan",
    "Run",
    "Runs",
    "Tally",
    "ablate",
    "ablated",
    "averages",
    "evaluate",
    "fingerprint",
    "groups",
    "mean",
    "over_seeds",
    "writable",
    "write_whole",
]
