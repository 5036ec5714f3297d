"""What training parts looked like: ranges that a new part is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from cmad.ranges.looks import TURNS, Floats, Look, angle, likeness, turned

FEW = 5
"""Training parts from which on their spread says something; with fewer, only what is far out of
their range is told."""
TIE = 0.02
"""R squared by which points may explain the turned image better: of parts that are symmetric."""
COLOURED = 2.0
"""Grey levels between red and blue below which an image is grey."""


@dataclass(frozen=True)
class Direction:
    """Of the unit vectors that training parts had."""

    mean: tuple[float, ...]
    """(3,)"""
    spread: float
    """Degrees; the largest angle between one and the mean of the others."""


@dataclass(frozen=True)
class Ranges:
    """What training parts had. Empty entries: nothing is known, and nothing compared."""

    parts: int
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Smallest and largest of the numbers of `Look`."""
    directions: dict[str, Direction] = field(default_factory=dict)
    chroma: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Means of the chroma of `Look`, where that is not grey, and behind them the smallest share of
    these that a part had."""
    pictures: dict[str, list[float]] = field(default_factory=dict)
    """Mean of the pictures of `Look`, row by row."""
    leads: dict[str, list[float]] = field(default_factory=dict)
    """(8,) for ``rgb`` and ``shape`` by how much a part is more like the others than when it is
    turned, for each turn; the smallest over all parts."""
    likes: dict[str, float] = field(default_factory=dict)
    """Likewise how much it is like the others at all; the smallest correlation."""
    registered: tuple[float, ...] = ()
    """Smallest and largest share of the image that points explain; empty where that is no better
    than when the image is turned."""

    @staticmethod
    def of(looks: Sequence[Look]) -> "Ranges":
        """Collect what parts had; at least one."""
        leads, likes = _leads(looks) if len(looks) >= FEW else ({}, {})
        return Ranges(
            parts=len(looks),
            spans=_spans(looks),
            directions=_directions(looks),
            chroma=_chroma(looks),
            pictures={name: _rounded(mean.ravel()) for name, mean in _means(looks).items()},
            leads=leads,
            likes=likes,
            registered=_registered(looks) if len(looks) >= FEW else (),
        )

    def to_file(self) -> dict[str, object]:
        """Return it as fit for JSON."""
        return asdict(self)

    @staticmethod
    def from_file(stored: Mapping[str, Any]) -> "Ranges":
        """Undo `to_file`."""
        return Ranges(
            parts=int(stored["parts"]),
            spans={name: (float(a), float(b)) for name, (a, b) in stored["spans"].items()},
            directions={
                name: Direction(tuple(d["mean"]), float(d["spread"]))
                for name, d in stored["directions"].items()
            },
            chroma={name: tuple(values) for name, values in stored["chroma"].items()},
            pictures={name: list(values) for name, values in stored["pictures"].items()},
            leads={name: list(values) for name, values in stored["leads"].items()},
            likes=dict(stored["likes"]),
            registered=tuple(stored["registered"]),
        )

    def describe(self) -> str:
        """Say in one line what the parts had."""
        said = [f"{self.parts} part{'s' if self.parts != 1 else ''}"]
        spans = self.spans
        if "distance" in spans:
            said.append(f"{_span(spans['distance'])} m away")
        if "pitch" in spans:
            low, high = (1e3 * value for value in spans["pitch"])
            said.append(f"{_span((low, high))} mm between pixels")
        if "share" in spans:
            low, high = (100 * value for value in spans["share"])
            said.append(f"on {_span((low, high))} % of the grid")
        if "brightness" in spans:
            said.append(f"brightness {_span(spans['brightness'])} of 255")
        return ", ".join(said)


def likenesses(look: Look, pictures: Mapping[str, Floats]) -> dict[str, Floats]:
    """Compare the image, and what the points show, with mean pictures, for each turn of them.

    Args:
        look: of a part.
        pictures: of others.

    Returns:
        (8,) correlations by name, ``rgb`` and ``shape``, of those that there are.

    """
    found: dict[str, Floats] = {}
    for name, those in (("rgb", ("rgb",)), ("shape", ("cover", "relief"))):
        if all(p in look.pictures and p in pictures for p in those):
            found[name] = np.array(
                [
                    sum(likeness(turned(look.pictures[p], t), pictures[p]) for p in those)
                    / len(those)
                    for t in TURNS
                ]
            )
    return found


def _spans(looks: Sequence[Look]) -> dict[str, tuple[float, float]]:
    found = {}
    for name in dict.fromkeys(name for look in looks for name in look.numbers):
        values = [look.numbers[name] for look in looks if name in look.numbers]
        found[name] = min(values), max(values)
    return found


def _directions(looks: Sequence[Look]) -> dict[str, Direction]:
    found = {}
    for name in looks[0].directions:
        if not all(name in look.directions for look in looks):
            continue
        each = np.stack([look.directions[name] for look in looks])
        others = each.sum(0) - each if len(each) > 1 else each
        spread = max(
            angle(a, b / max(np.linalg.norm(b), 1e-9)) for a, b in zip(each, others, strict=True)
        )
        mean = each.sum(0) / max(float(np.linalg.norm(each.sum(0))), 1e-9)
        found[name] = Direction(tuple(mean.tolist()), spread)
    return found


def _chroma(looks: Sequence[Look]) -> dict[str, tuple[float, ...]]:
    found: dict[str, tuple[float, ...]] = {}
    for name in looks[0].chroma:
        known = [look.chroma[name] for look in looks if name in look.chroma]
        mean = np.mean(known, 0)
        if len(known) == len(looks) and np.abs(mean).max() >= COLOURED:
            least = float((np.stack(known) @ mean).min() / (mean @ mean))
            found[name] = (*mean.tolist(), least)
    return found


def _means(looks: Sequence[Look]) -> dict[str, Floats]:
    return {
        name: np.mean([look.pictures[name] for look in looks], 0)
        for name in looks[0].pictures
        if all(name in look.pictures for look in looks)
    }


def _leads(looks: Sequence[Look]) -> tuple[dict[str, list[float]], dict[str, float]]:
    mean, n = _means(looks), len(looks)
    least: dict[str, Floats] = {}
    likes: dict[str, float] = {}
    for look in looks:
        others = {name: (n * m - look.pictures[name]) / (n - 1) for name, m in mean.items()}
        for name, like in likenesses(look, others).items():
            lead = like[0] - like
            least[name] = np.minimum(least.get(name, lead), lead)
            likes[name] = min(likes.get(name, 1.0), float(like[0]))
    return {name: _rounded(lead) for name, lead in least.items()}, likes


def _registered(looks: Sequence[Look]) -> tuple[float, ...]:
    known = [look.registered for look in looks if look.registered is not None]
    if len(known) < len(looks) or any(r[0] < r.max() - TIE for r in known):
        return ()
    own = [float(r[0]) for r in known]
    return min(own), max(own)


def _rounded(values: Floats) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def _span(span: tuple[float, float]) -> str:
    low, high = (f"{value:.3g}" for value in span)
    return low if low == high else f"{low} to {high}"
