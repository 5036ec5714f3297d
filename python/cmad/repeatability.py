"""How repeatable a station is: the variance of repeated scans of the same parts.

One-way, with random effects: a value is that of the part plus what differs from scan to scan. This
is the repeatability of a measurement system analysis (AIAG, gauge R&R); with one station and no
operator there is no reproducibility beside it. docs/repeat.md has the formulas.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cmad.types import Prediction, Region

SCORE = "score"
SEPARATOR = "__"
"""Between a part's name and its scan's."""


@dataclass(frozen=True)
class Variance:
    """The analysis of variance of one quantity."""

    parts: int
    scans: int
    """Of all parts together."""
    mean: float
    repeatability: float
    """Standard deviation between scans of the same part."""
    part_variation: float
    """Standard deviation between parts, that of scans taken off; 0 where it is not seen."""
    f: float
    """Mean square between parts over that within parts; with `degrees` it is Fisher's F where parts
    do not differ. Infinite where the scans of each part are equal."""

    @property
    def degrees(self) -> tuple[int, int]:
        """Degrees of freedom between and within parts."""
        return self.parts - 1, self.scans - self.parts

    @property
    def total(self) -> float:
        """Standard deviation of a scan of any part."""
        return math.hypot(self.repeatability, self.part_variation)

    @property
    def share(self) -> float:
        """Repeatability over ``total``, in [0, 1]: %GRR of the study. NaN where nothing varies."""
        return self.repeatability / self.total if self.total > 0 else math.nan

    @property
    def categories(self) -> int | None:
        """Number of distinct categories: groups of parts that can be told apart, at least 1.

        1.41 times part variation over repeatability, rounded down; None where scans do not differ.
        """
        if self.repeatability == 0:
            return None
        return max(1, math.floor(1.41 * self.part_variation / self.repeatability))


def variance(parts: Iterable[Sequence[float]]) -> Variance:
    """Analyse the variance of a quantity, one-way with random effects; parts may differ in scans.

    Args:
        parts: the values of each part's scans.

    Raises:
        ValueError: fewer than two parts, no part with two scans, or a value that is not finite.

    """
    groups = [np.asarray(values, np.float64) for values in parts]
    groups = [values for values in groups if len(values)]
    count = np.array([len(values) for values in groups])
    if len(groups) < 2 or count.max() < 2:
        raise ValueError(
            f"repeatability: needs at least 2 parts, one of them with 2 scans, got {len(groups)} "
            f"parts with at most {count.max() if len(count) else 0}"
        )
    every = np.concatenate(groups)
    if not np.isfinite(every).all():
        raise ValueError("repeatability: values must be finite")
    means = np.array([values.mean() for values in groups])
    within = sum(float(((values - values.mean()) ** 2).sum()) for values in groups)
    between = float((count * (means - every.mean()) ** 2).sum())
    square = within / (len(every) - len(groups))
    of_parts = between / (len(groups) - 1)
    # How often a part was scanned, in the expectation of the mean square between parts.
    usual = (len(every) - float((count**2).sum()) / len(every)) / (len(groups) - 1)
    return Variance(
        parts=len(groups),
        scans=len(every),
        mean=float(every.mean()),
        repeatability=math.sqrt(square),
        part_variation=math.sqrt(max(of_parts - square, 0.0) / usual),
        f=of_parts / square if square > 0 else math.inf if of_parts > 0 else math.nan,
    )


@dataclass
class Part:
    """What was found in the scans of one part."""

    scores: list[float] = field(default_factory=list)
    rejected: list[bool] = field(default_factory=list)
    """Of the scans, where there is a threshold."""
    levels: dict[str, list[float]] = field(default_factory=dict)
    """`cmad.Prediction.levels` of the scans, by name."""
    regions: list[Region] = field(default_factory=list)
    """The region with the largest peak of each scan that has one."""

    @property
    def flips(self) -> bool:
        """Whether the verdict depends on the scan."""
        return len(set(self.rejected)) > 1

    @property
    def spread(self) -> float | None:
        """How far the region lies from its mean place, mm, as the root of the mean square.

        None with fewer than two scans that have a region with a place.
        """
        places = np.array([r.centroid for r in self.regions if r.centroid is not None])
        if len(places) < 2:
            return None
        return 1e3 * math.sqrt(((places - places.mean(0)) ** 2).sum() / (len(places) - 1))

    @property
    def area(self) -> tuple[float, float] | None:
        """Mean and standard deviation of the region's area, mm²; None as for `spread`."""
        areas = [r.area for r in self.regions if r.area is not None]
        if len(areas) < 2:
            return None
        return float(np.mean(areas)), float(np.std(areas, ddof=1))


class Repeats:
    """Collects the scans of parts, by name."""

    def __init__(self) -> None:
        """Begin with none."""
        self.parts: dict[str, Part] = {}
        """By name, in the order that they came."""

    def add(self, part: str, prediction: Prediction) -> None:
        """Take a scan of a part.

        Args:
            part: its name.
            prediction: of the scan.

        """
        kept = self.parts.setdefault(part, Part())
        kept.scores.append(prediction.score)
        for name, value in prediction.levels.items():
            kept.levels.setdefault(name, []).append(value)
        if prediction.rejected is not None:
            kept.rejected.append(prediction.rejected)
        if prediction.regions:
            kept.regions.append(prediction.regions[0])

    @property
    def flips(self) -> list[str]:
        """Names of the parts whose verdict depends on the scan."""
        return [name for name, part in self.parts.items() if part.flips]

    def variances(self) -> dict[str, Variance]:
        """Analyse the score and each level.

        Raises:
            ValueError: see `variance`.

        """
        found = {SCORE: variance(part.scores for part in self.parts.values())}
        names = {name: None for part in self.parts.values() for name in part.levels}
        for name in names:
            found[name] = variance(part.levels.get(name, []) for part in self.parts.values())
        return found


def part_of(name: str) -> str:
    """Return the part that a scan is of, by the name PART__SCAN.

    Raises:
        ValueError: it has no such form.

    """
    folder, slash, file = name.rpartition("/")
    part, _, scan = file.rpartition(SEPARATOR)
    if not (part and scan):
        raise ValueError(
            f"{name}: the scans of a part must be named PART{SEPARATOR}SCAN, as in "
            f"0815{SEPARATOR}1.png and 0815{SEPARATOR}2.png"
        )
    return folder + slash + part


def identical(parts: Mapping[str, Part]) -> list[str]:
    """Name the parts all of whose scans have one score, which are copies of one scan."""
    return [n for n, p in parts.items() if len(p.scores) > 1 and len(set(p.scores)) == 1]
