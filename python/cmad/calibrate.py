"""A threshold with a known false-reject rate, from good parts only."""

import math
from collections.abc import Sequence


def conformal_threshold(scores: Sequence[float], false_reject_rate: float) -> float:
    """Choose the score above which a part is rejected, by a split-conformal quantile.

    With n scores of good parts that took no part in training, the threshold is their
    ceil((n + 1) (1 - rate))-th smallest. If a further good part is exchangeable with them, it is
    rejected (its score is above the threshold) with probability at most ``false_reject_rate``,
    whatever the distribution of scores.

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
    # Rounded first, so that 1 - 0.05 does not turn the 19th of 19 into the 20th.
    rank = math.ceil(round((n + 1) * (1 - false_reject_rate), 9))
    return sorted(scores)[rank - 1]


def check_parts(n: int, false_reject_rate: float) -> None:
    """Raise where n good parts are too few for a rate; the message says how many it needs."""
    if not 0 < false_reject_rate < 1:
        raise ValueError(f"calibrate: false_reject_rate must be in (0, 1), got {false_reject_rate}")
    needed = math.ceil(round(1 / false_reject_rate - 1, 9))
    if n < needed:
        raise ValueError(
            f"calibrate: a false-reject rate of {false_reject_rate:g} needs at least {needed} good "
            f"parts, got {n}; with {n} parts the lowest rate is {1 / (n + 1):.3g}"
        )
