"""Decisions with a known false-reject rate, from the scores of good parts only.

Everything here rests on split-conformal quantiles: if a further good part is exchangeable with the
n calibration parts, each rank of its score among all n + 1 is equally likely, whatever the
distribution of scores. docs/calibration.md says what follows from that and what does not.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

import torch
from torch import Tensor

SCORES = "calibration.{}.scores"
"""Name of the tensor of scores in a model file, by the modalities that were looked at."""
LEVELS = "calibration.{}.levels."
"""Beginning of the names of the tensors of levels, likewise."""
TAIL = 0.05
"""Share of calibrations that lie below, and above, the interval of a `RejectRate`."""


@dataclass(frozen=True)
class RejectRate:
    """How many good parts a threshold rejects, by the calibration parts."""

    above: int
    """Calibration parts whose score is above the threshold."""
    parts: int
    """All calibration parts, n."""
    at_most: float
    """(above + 1) / (n + 1): the probability that a further good part is rejected is at most that,
    over calibrations, for the threshold that leaves so many above."""
    low: float
    """Of 10 calibrations 9 have a rate, in the long run, between ``low`` and ``high``."""
    high: float

    @classmethod
    def of(cls, above: int, parts: int, tied: bool) -> "RejectRate":
        """Compute it for a threshold that leaves so many of the calibration parts above it.

        With k above it, the rate at the calibration score at or below the threshold has a
        Beta(k + 1, n - k) distribution, and at the next above Beta(k, n - k + 1). So the interval
        ends at the 95 % point of the former, and begins at the 5 % point of the latter, which is
        the interval of Clopper and Pearson; or of the former, where the threshold is a calibration
        score itself, as a calibrated one is.

        Args:
            above: k.
            parts: n.
            tied: whether the threshold is a calibration score.

        """
        low, high = above + tied, above + 1
        return cls(
            above,
            parts,
            high / (parts + 1),
            _beta_point(low, parts + 1 - low, TAIL),
            _beta_point(high, parts + 1 - high, 1 - TAIL),
        )


@dataclass(frozen=True)
class Calibration:
    """What good parts that were not trained on say about a detector."""

    false_reject_rate: float
    """Asked for, in (0, 1)."""
    scores: tuple[float, ...]
    """Of the calibration parts, ascending."""
    threshold: float
    """The score above which a part is rejected."""
    pixel_threshold: float
    """The value of the map above which a pixel is marked: at most ``false_reject_rate`` of good
    parts get any pixel marked."""
    map_thresholds: Mapping[str, float] = field(default_factory=dict)
    """The same for the smoothed map of each modality."""
    levels: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """`cmad.Prediction.levels` of the calibration parts, by name, in the order of ``scores``; none
    in files from before there were levels."""

    @classmethod
    def of(
        cls,
        false_reject_rate: float,
        scores: Sequence[float],
        pixel_peaks: Sequence[float],
        map_peaks: Sequence[Mapping[str, float]],
        levels: Sequence[Mapping[str, float]] = (),
    ) -> "Calibration":
        """Choose all thresholds from n good parts, each by `conformal_threshold`.

        Args:
            false_reject_rate: in (0, 1).
            scores: of the parts.
            pixel_peaks: the largest value of each part's map, on the input's pixels.
            map_peaks: likewise of each part's smoothed maps, by modality.
            levels: of each part, by name.

        Raises:
            ValueError: see `conformal_threshold`.

        """
        names, false_reject_rate = map_peaks[0] if map_peaks else (), float(false_reject_rate)
        order = sorted(range(len(scores)), key=scores.__getitem__)
        return cls(
            false_reject_rate,
            tuple(sorted(scores)),
            conformal_threshold(scores, false_reject_rate),
            conformal_threshold(pixel_peaks, false_reject_rate),
            {k: conformal_threshold([p[k] for p in map_peaks], false_reject_rate) for k in names},
            {k: tuple(levels[i][k] for i in order) for k in (levels[0] if levels else ())},
        )

    def p_value(self, score: float) -> float:
        """Compute the share of parts at least as anomalous, the part itself counted in.

        (1 + number of calibration scores >= score) / (n + 1). For a good part that is exchangeable
        with the calibration parts, P(p <= a) <= a for every a. A part is rejected if and only if
        its p-value is at most ``false_reject_rate``.

        Args:
            score: of the part.

        Returns:
            In [1 / (n + 1), 1].

        Raises:
            ValueError: the score is NaN, of which nothing can be said.

        """
        if math.isnan(score):
            raise ValueError("p_value: score must be a number, got nan")
        n = len(self.scores)
        return (1 + n - bisect_left(self.scores, score)) / (n + 1)

    def reject_rate(self, threshold: float) -> RejectRate:
        """Say how many good parts a threshold rejects, with the interval of 9 of 10 calibrations.

        It holds for each threshold by itself, not for one picked because its rate looks best.

        Args:
            threshold: the score above which a part is rejected.

        Raises:
            ValueError: the threshold is NaN.

        """
        if math.isnan(threshold):
            raise ValueError("reject_rate: threshold must be a number, got nan")
        below = bisect_right(self.scores, threshold)
        tied = bisect_left(self.scores, threshold) < below
        return RejectRate.of(len(self.scores) - below, len(self.scores), tied)


def _beta_point(a: int, b: int, share: float) -> float:
    """Return the value below which a share of a Beta(a, b) distribution lies."""
    from scipy.special import betaincinv  # 0.2 s to import, and no other calibration needs it

    return float(betaincinv(a, b, share)) if a and b else float(b == 0)


def to_file(
    calibrations: Mapping[str, Calibration],
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Return what goes into the header and the tensors of a model file.

    Args:
        calibrations: by the modalities that the parts were judged by, such as ``"2d+3d"``.

    """
    header: dict[str, object] = {
        way: {
            "false_reject_rate": c.false_reject_rate,
            "threshold": c.threshold,
            "pixel_threshold": c.pixel_threshold,
            "map_thresholds": dict(c.map_thresholds),
        }
        for way, c in calibrations.items()
    }
    tensors = {
        SCORES.format(way): torch.tensor(c.scores, dtype=torch.float64)
        for way, c in calibrations.items()
    }
    for way, c in calibrations.items():
        for name, values in c.levels.items():
            tensors[LEVELS.format(way) + name] = torch.tensor(values, dtype=torch.float64)
    return {"calibration": header}, tensors


def from_file(
    header: Mapping[str, object], tensors: Mapping[str, Tensor]
) -> dict[str, Calibration]:
    """Return the calibrations in a model file; empty where it has none."""
    found = {}
    for way, values in cast("dict[str, dict[str, object]]", header["calibration"]).items():
        maps, begin = values["map_thresholds"], LEVELS.format(way)
        if not isinstance(maps, dict):
            raise ValueError(f"map_thresholds must be numbers by name, got {maps!r}")
        found[way] = Calibration(
            _number(values["false_reject_rate"]),
            tuple(tensors[SCORES.format(way)].sort().values.tolist()),
            _number(values["threshold"]),
            _number(values["pixel_threshold"]),
            {k: _number(v) for k, v in maps.items()},
            {
                name.removeprefix(begin): tuple(tensor.tolist())
                for name, tensor in tensors.items()
                if name.startswith(begin)
            },
        )
    return found


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise ValueError(f"a rate or threshold must be a number, got {value!r}")
    return float(value)


def conformal_threshold(scores: Sequence[float], false_reject_rate: float) -> float:
    """Choose the score above which a part is rejected, by a split-conformal quantile.

    With n scores of good parts that took no part in training, the threshold is their
    (n + 1 - m)-th smallest, where m is the largest whole number with m / (n + 1) at most the rate.
    If a further good part is exchangeable with them, it is rejected (its score is above the
    threshold) with probability at most m / (n + 1), whatever the distribution of scores; where
    scores do not tie, with exactly that probability.

    Args:
        scores: of good parts, finite.
        false_reject_rate: in (0, 1).

    Returns:
        The threshold.

    Raises:
        ValueError: the rate is out of range, a score is not finite, or there are too few parts for
            the rate; the message says how many it needs.

    """
    if not all(math.isfinite(s) for s in scores):
        raise ValueError("calibrate: scores must be finite")
    n = len(scores)
    check_parts(n, false_reject_rate)
    # Compared as floats, as p-values are: so the 1 of 20 parts that a rate of 0.05 allows is not
    # lost to rounding, and "rejected" and "p-value <= rate" are the same, tied scores or not.
    near = math.floor((n + 1) * false_reject_rate)
    m = max(i for i in (near - 1, near, near + 1) if i / (n + 1) <= false_reject_rate)
    return sorted(scores)[n - m]


def check_parts(n: int, false_reject_rate: float) -> None:
    """Raise where n good parts are too few for a rate; the message says how many it needs."""
    if not 0 < false_reject_rate < 1:
        raise ValueError(f"calibrate: false_reject_rate must be in (0, 1), got {false_reject_rate}")
    if 1 / (n + 1) > false_reject_rate:
        raise ValueError(
            f"calibrate: a false-reject rate of {false_reject_rate} needs at least "
            f"{parts_needed(false_reject_rate)} good parts, got {n}"
            + (f"; with {n} parts the lowest rate is 1/{n + 1}" if n else "")
        )


class Parts:
    """The parts of a calibration, each checked to be one more of the kind that will be met.

    The guarantee is for parts that are exchangeable with those to come. One that was trained on has
    too low a score, and a copy of another says nothing new.
    """

    def __init__(self, trained_on: Collection[str]) -> None:
        """Begin with no part.

        Args:
            trained_on: digests of what the training saw.

        """
        self._trained_on = trained_on
        self._name: dict[str, str] = {}
        self._of_score: dict[float, list[str]] = {}

    def add(self, content: str, name: str) -> None:
        """Add a part by the digest of what is seen of it.

        Raises:
            ValueError: it was trained on, or is a copy of one before.

        """
        said = name or f"part {len(self._name) + 1}"
        if content in self._trained_on:
            raise ValueError(
                f"calibrate: {said} was trained on, so its score is lower than a new part's and "
                "the false-reject rate would not hold; take good parts that were not trained on"
            )
        if content in self._name:
            raise ValueError(
                f"calibrate: {said} is a copy of {self._name[content]}: copies of one part count "
                "as one; take parts of their own"
            )
        self._name[content] = said

    def scored(self, score: float) -> None:
        """Note the score of the part added last."""
        self._of_score.setdefault(score, []).append(list(self._name.values())[-1])

    def check_scores(self) -> None:
        """Raise where scores repeat more often than by chance, which floats leave to few.

        Raises:
            ValueError: more than one part in a hundred has the score of another.

        """
        repeated = {s: names for s, names in self._of_score.items() if len(names) > 1}
        copies = sum(len(names) - 1 for names in repeated.values())
        if 100 * copies > len(self._name):
            score, names = next(iter(repeated.items()))
            raise ValueError(
                f"calibrate: {copies} of {len(self._name)} parts have a score that another has, "
                f"such as {names[0]} and {names[1]} with {score:.6g}: they are copies of one part, "
                "or the method does not tell parts apart; take parts of their own"
            )


def parts_needed(false_reject_rate: float) -> int:
    """Return the least number of good parts that a false-reject rate in (0, 1) needs."""
    exact = math.ceil(1 / Fraction(false_reject_rate))
    least = next(i for i in (exact - 1, exact) if 1 / i <= false_reject_rate or i == exact)
    return max(least - 1, 1)
