"""Fit a method on the categories of a data set, test it, and keep the results."""

from cmad.evaluate.category import (
    AREAS,
    GRID,
    METRICS,
    Evaluation,
    Plan,
    evaluate,
    fingerprint,
    mean,
)
from cmad.evaluate.run import Run, writable, write_whole

__all__ = [
    "AREAS",
    "GRID",
    "METRICS",
    "Evaluation",
    "Plan",
    "Run",
    "evaluate",
    "fingerprint",
    "mean",
    "writable",
    "write_whole",
]
