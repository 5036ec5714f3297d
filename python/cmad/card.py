"""What a model file says of itself beside what a verdict needs: data, training, time, licences."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from statistics import median
from typing import Any

from cmad.environment import machine


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
        )


def _record(kind: type[Any], stored: object) -> Any:
    """Rebuild a record from the fields that it knows; None where they do not make one."""
    if not isinstance(stored, Mapping):
        return None
    known = {f.name: stored[f.name] for f in fields(kind) if f.name in stored}
    try:
        return kind(**known)
    except TypeError:
        return None
