"""The overview of a page as values for JSON: rows, verdicts, counts, rates, axis."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cmad.calibrate import Calibration, RejectRate
from cmad.report.page.parts import About, Part
from cmad.report.page.scale import Scale

Values = dict[str, object]
VERDICTS = ("rejected", "not inspected", "not scored", "accepted", "no verdict")
"""In the order that a person has to look after them."""
OBLONG = 30.0
"""Largest over smallest score from which the axis is logarithmic."""


def row(part: Part) -> Values:
    """Return what the table says of a part."""
    regions = part.regions or ()
    areas = [region.area for region in regions]
    known = [area for area in areas if area is not None]
    modalities = {region.modality for region in regions} - {None}
    both = "both" if len(modalities) > 1 else next(iter(modalities), None)
    return {
        "name": part.name,
        "score": _finite(part.score),
        "p": part.p_value,
        "regions": None if part.regions is None else len(regions),
        "area": math.fsum(known) if known and len(known) == len(areas) else None,
        "pixels": sum(region.pixels for region in regions),
        "modality": both,
        "defect": part.defect,
        "inspected": part.inspected,
        "warnings": list(part.warnings),
        "error": part.error,
        "levels": dict(part.levels),
    }


def verdict(row: Mapping[str, object], threshold: float | None) -> str:
    """Say the verdict of a row at a threshold, as `cmad.Prediction.verdict` does.

    Returns:
        One of `VERDICTS`.

    """
    score = row["score"]
    if row["error"] is not None or not isinstance(score, float):
        return "not scored"
    if threshold is not None and score > threshold:
        return "rejected"
    if not row["inspected"]:
        return "not inspected"
    return "no verdict" if threshold is None else "accepted"


def counts(rows: Iterable[Mapping[str, object]], threshold: float | None) -> dict[str, int]:
    """Count the verdicts at a threshold, and what is wrong with them where the truth is known."""
    found = dict.fromkeys((*VERDICTS, "good", "defective", "false rejects", "missed"), 0)
    for one in rows:
        said = verdict(one, threshold)
        found[said] += 1
        if one["defect"] is None or said in ("not scored", "no verdict"):
            continue
        good, passed = one["defect"] == "good", said == "accepted"
        found["good" if good else "defective"] += 1
        if good != passed:
            found["false rejects" if good else "missed"] += 1
    return found


def rates(calibration: Calibration | None) -> Values | None:
    """Return the false-reject rate at any threshold, by the number of calibration scores above it.

    Returns:
        The scores, and of each number above, 0 to n: ``at_most``, ``high``, and ``low`` for a
        threshold between two scores, ``tied`` for one that is a score; see
        `cmad.calibrate.RejectRate`. None without a calibration.

    """
    if calibration is None:
        return None
    n = len(calibration.scores)
    between = [RejectRate.of(k, n, False) for k in range(n + 1)]
    at = [RejectRate.of(k, n, True) if k < n else between[n] for k in range(n + 1)]
    return {
        "scores": list(calibration.scores),
        "at_most": [rate.at_most for rate in between],
        "high": [rate.high for rate in between],
        "low": [rate.low for rate in between],
        "tied": [rate.low for rate in at],
    }


def axis(values: Sequence[float]) -> Values:
    """Choose the axis of scores: its ends, and whether it is logarithmic."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if low > 0 and high / low > OBLONG:
        return {"low": low / 1.05, "high": high * 1.05, "log": True}
    margin = 0.03 * (high - low) or max(abs(high), 1.0) * 0.1
    return {"low": min(low, max(0.0, low - margin)), "high": high + margin, "log": False}


def group(about: About, rows: Sequence[Values], scale: Scale) -> Values:
    """Compose what a page knows of the parts that one model judged.

    Args:
        about: the model.
        rows: of `row`.
        scale: of the colours.

    """
    known = [score for one in rows if isinstance(score := one["score"], float)]
    scores = [] if about.calibration is None else list(about.calibration.scores)
    marks = [] if about.threshold is None else [about.threshold]
    rate = None if about.calibration is None else about.calibration.false_reject_rate
    return {
        "name": about.name,
        "threshold": about.threshold,
        "rate": rate,
        "rates": rates(about.calibration),
        "scale": {"low": scale.low, "high": scale.high, "mark": scale.mark, "why": scale.why},
        "axis": axis([*known, *scores, *marks]),
        "counts": counts(rows, about.threshold),
        "metrics": {name: round(value, 4) for name, value in about.metrics.items()},
        "facts": dict(about.facts),
        "notes": list(about.notes),
        "rows": list(rows),
    }


def _finite(score: float | None) -> float | None:
    """Return a score as JSON can hold it: an infinite one as the largest number."""
    if score is None or math.isnan(score):
        return None
    return float(np.clip(score, -1.7e308, 1.7e308))
