"""What a page says of the line: whether its parts stay what they were, and how repeatable it is."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from cmad.calibrate import Calibration
from cmad.drift import NAMES, REJECTED, SCORE, Monitor
from cmad.report.page.rows import Values, verdict

WIDTH, HEIGHT = 1000.0, 130.0
"""Of the drawing, in its own units."""
LEAST = 10
"""Parts from which a course is drawn."""
LOWEST = 0.01
"""Stakes below are drawn as this."""
STREAMS = {SCORE: "score", REJECTED: "more rejected parts"}
"""What the others beside `cmad.drift.NAMES` are called."""


def drift(calibration: Calibration | None, rows: Sequence[Mapping[str, object]]) -> Values | None:
    """Bet against parts being like the calibration parts, in the order they have.

    `cmad.drift.Monitor` on what a table of results keeps: the scores, how many are rejected and,
    where the table and the calibration have them, `cmad.Prediction.levels`: each modality's
    discrepancy, the image's brightness and so on.

    Args:
        calibration: of the model.
        rows: see `cmad.report.page.rows.row`; in the order in which the parts came.

    Returns:
        The course of each stream's stake as the points of a line, with its name and highest stake,
        where the limit lies, and in words what moved. None where the truth of a part is known,
        which is a test and no line, where fewer than `LEAST` parts have a score, or without a
        calibration that allows it.

    """
    if calibration is None or any(row["defect"] is not None for row in rows):
        return None
    scored = [row for row in rows if isinstance(row["score"], float)]
    levels = calibration.levels
    whole = [row for row in scored if levels and set(levels) <= set(_levels(row))]
    if len(whole) < LEAST:  # of a version that kept none
        levels, whole = {}, scored
    if len(whole) < LEAST:
        return None
    try:
        monitor = Monitor({SCORE: calibration.scores, **levels}, calibration.threshold)
    except ValueError:  # too few calibration parts lie below the threshold
        return None
    stakes: dict[str, list[float]] = {name: [] for name in monitor.stakes}
    first = 0
    for row in whole:
        rejected = verdict(row, calibration.threshold) != "accepted"
        alarmed = monitor.add({SCORE: cast("float", row["score"]), **_levels(row)}, rejected)
        first = first or (monitor.parts if alarmed else 0)
        for name, course in stakes.items():
            course.append(monitor.stakes[name])
    most = {name: max(course) for name, course in stakes.items()}
    top = math.log10(max(10 * monitor.limit, *most.values()))

    def height(stake: float) -> float:
        low = math.log10(LOWEST)
        share = (math.log10(max(stake, LOWEST)) - low) / (top - low)
        return round(HEIGHT * (1 - share), 1)

    step = WIDTH / (len(whole) - 1)
    lines = {
        name: " ".join(f"{i * step:.1f},{height(stake)}" for i, stake in enumerate(course))
        for name, course in stakes.items()
    }
    return {
        "parts": len(whole),
        "left_out": len(scored) - len(whole),
        "lines": lines,
        "names": {name: NAMES.get(name, STREAMS.get(name, name)) for name in lines},
        "most": most,
        "limit": height(monitor.limit),
        "one": height(1.0),
        "highest": max(most.values()),
        "alarm": monitor.limit,
        "false_alarm": monitor.false_alarm,
        "first": first,
        "moved": [str(moved) for moved in monitor.moved],
    }


def _levels(row: Mapping[str, object]) -> Mapping[str, float]:
    """Return the levels of a row that are numbers."""
    found = row.get("levels")
    known = found if isinstance(found, Mapping) else {}
    return {str(name): float(v) for name, v in known.items() if math.isfinite(v)}


def repeated(folder: Path) -> Values:
    """Read what `cmad repeat` wrote.

    Args:
        folder: with repeat.json and repeat.csv.

    Returns:
        ``"analysis"``, a row for each level: its name, mean, standard deviations from scan to scan
        and between parts, the former's share of the spread, and the groups of parts it can tell
        apart; ``"share"``, that of the score; ``"parts"``, the rows of the table; ``"flips"``, the
        parts whose verdict depends on the scan.

    Raises:
        FileNotFoundError: there is no such analysis.
        ValueError: it is damaged.

    """
    whole, table = folder / "repeat.json", folder / "repeat.csv"
    if not (whole.is_file() and table.is_file()):
        raise FileNotFoundError(f"{folder} holds no repeat.json and repeat.csv of cmad repeat")
    try:
        kept = json.loads(whole.read_text(encoding="utf-8"))
        analysis = [
            {
                "name": NAMES.get(name, name),
                **{key: _number(of[key]) for key in ("mean", "repeatability", "part_variation")},
                "share": _number(of["share"]),
                "categories": _number(of["categories"]),
            }
            for name, of in kept["analysis"].items()
        ]
        with table.open(encoding="utf-8", newline="") as file:
            parts = [
                {
                    "name": row["part"],
                    "scans": int(row["scans"]),
                    "mean": float(row["mean_score"]),
                    "deviation": _number(row["score_deviation"]),
                    "accepted": int(row["accepted"]),
                    "rejected": int(row["rejected"]),
                    "flips": row["flips"] == "True",
                    "moves": _number(row["region_spread_mm"]),
                    "area": _number(row["area_mm2"]),
                }
                for row in csv.DictReader(file)
            ]
        share = _number(kept["analysis"][SCORE]["share"])
        flips = [str(name) for name in kept["flips"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{folder} holds a damaged analysis of cmad repeat ({error}): repeat it"
        ) from error
    return {"analysis": analysis, "parts": parts, "share": share, "flips": flips}


def _number(value: object) -> float | None:
    """Return a number that JSON or a table has; None for what is none of these."""
    if value is None or value == "":
        return None
    number = float(value)  # type: ignore[arg-type]
    return number if math.isfinite(number) else None
