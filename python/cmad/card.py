"""What a model file says of itself beside what a verdict needs: data, training, time, licences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from statistics import median
from typing import Any

from cmad.environment import machine

POINTS = 32
"""Of a curve that a card keeps, at most."""


@dataclass(frozen=True)
class Seen:
    """Parts that something was learnt from."""

    parts: int
    source: str = ""
    """Data set or folder, category and split, such as ``"MVTec 3D-AD, bagel, train"``; empty where
    that is not known."""
    date: str = ""
    """When, UTC, ``"2026-01-31 12:05"``."""

    @classmethod
    def now(cls, parts: int, samples: object) -> "Seen":
        """Note how many there are now, and where they are from, if they know (``source``)."""
        date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M")
        return cls(parts, str(getattr(samples, "source", "")), date)

    def __str__(self) -> str:
        """Say it in one line."""
        source = self.source or "a source that is not known"
        return f"{self.parts} good part{'s' * (self.parts != 1)} of {source}, {self.date} UTC"


@dataclass(frozen=True)
class Timing:
    """How long one part took, from arrays to scores, without reading its files."""

    seconds: float
    """Median."""
    parts: int
    machine: str
    """Processor, threads and instructions."""

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Timing":
        """Take the median of what parts took on this machine, one at a time."""
        return cls(float(median(seconds)), len(seconds), machine())

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.seconds:.3g} s (median of {self.parts}) on {self.machine}"


@dataclass(frozen=True)
class Course:
    """How a loss went, in little; all its values are the detector's ``curves``."""

    epochs: int
    last: float
    """The last that is finite."""
    lowest: float
    at: int
    """Epoch of the lowest, counted from 1; the first one where several are as low."""
    points: tuple[tuple[int, float], ...]
    """Epoch and value, some of them, at even steps of the epoch's logarithm; first and last too."""

    @classmethod
    def of(cls, values: Sequence[float]) -> "Course | None":
        """Take it from the values of all epochs; None where none is finite.

        Args:
            values: one for each epoch; not finite ones are left out.

        """
        known = [(epoch, v) for epoch, v in enumerate(values, 1) if math.isfinite(v)]
        if not known:
            return None
        at, lowest = min(known, key=lambda point: point[1])
        steps = {round(len(known) ** (i / (POINTS - 1))) for i in range(POINTS)}
        points = tuple((e, float(f"{v:.6g}")) for e, v in (known[i - 1] for i in sorted(steps)))
        return cls(len(values), known[-1][1], lowest, at, points)

    def __str__(self) -> str:
        """Say it in a few words."""
        lowest = f" (lowest {self.lowest:.4g} in epoch {self.at} of {self.epochs})"
        return f"{self.last:.4g}{lowest if self.lowest < self.last else ''}"


def courses(curves: Mapping[str, Sequence[float]]) -> dict[str, Course]:
    """Return the courses of curves, those that have any value, by name."""
    found = {name: Course.of(values) for name, values in sorted(curves.items())}
    return {name: course for name, course in found.items() if course is not None}


@dataclass(frozen=True)
class Card:
    """The model card; what is not known is empty, as in files of before there were cards."""

    trained: Seen | None = None
    training: Mapping[str, object] = field(default_factory=dict)
    """Arguments of the method's training, defaults included."""
    calibrated: Seen | None = None
    timing: Timing | None = None
    """Measured while calibrating; None with a cache, which may know the parts."""
    licences: Mapping[str, str] = field(default_factory=dict)
    """Of the extractors' weights, by name."""
    losses: Mapping[str, Course] = field(default_factory=dict)
    """Of the training, by the names of the curves; empty where it has no epochs."""

    def to_file(self) -> dict[str, object]:
        """Return what goes into a model file's header."""
        return asdict(self)

    @classmethod
    def from_file(cls, stored: object) -> "Card":
        """Undo `to_file`; older files have no card, and newer ones may know more."""
        if not isinstance(stored, Mapping):
            return cls()
        return cls(
            _record(Seen, stored.get("trained")),
            dict(stored.get("training") or {}),
            _record(Seen, stored.get("calibrated")),
            _record(Timing, stored.get("timing")),
            dict(stored.get("licences") or {}),
            _courses(stored.get("losses")),
        )


def _courses(stored: object) -> dict[str, Course]:
    """Rebuild courses; those that cannot be are left out."""
    found: dict[str, Course] = {}
    for name, one in stored.items() if isinstance(stored, Mapping) else ():
        if isinstance(course := _record(Course, one), Course):
            points = tuple((int(epoch), float(value)) for epoch, value in course.points)
            found[str(name)] = replace(course, points=points)
    return found


def _record(kind: type[Any], stored: object) -> Any:
    """Rebuild a record from the fields that it knows; None where they do not make one."""
    if not isinstance(stored, Mapping):
        return None
    known = {f.name: stored[f.name] for f in fields(kind) if f.name in stored}
    try:
        return kind(**known)
    except TypeError:
        return None
