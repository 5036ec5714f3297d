"""Fit a method on the categories of a data set, test it, and keep the results."""

from cmad.evaluate.category import Evaluation, Plan, evaluate, fingerprint, mean
from cmad.evaluate.run import Run, writable, write_whole
from cmad.evaluate.tally import AREAS, GRID, METRICS, Tally

__all__ = [
    "AREAS",
    "GRID",
    "METRICS",
    "Evaluation",
    "Plan",
    "Run",
    "Tally",
    "evaluate",
    "fingerprint",
    "mean",
    "writable",
    "write_whole",
]
