"""The conformal threshold: its rank, its guarantee, its limits."""

import numpy as np
import pytest

from cmad.calibrate import conformal_threshold


def test_the_threshold_is_the_conformal_rank():
    scores = [float(s) for s in range(1, 20)]  # 19 parts
    assert conformal_threshold(scores[::-1], 0.05) == 19
    assert conformal_threshold(scores, 0.1) == 18
    assert conformal_threshold(scores, 0.5) == 10
    assert conformal_threshold([3.0], 0.5) == 3


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.25])
def test_the_false_reject_rate_holds_on_average(rate):
    """Mean over 4000 draws: within 4 standard errors of the guarantee, and not far below it."""
    rng = np.random.default_rng(0)
    rejected = [
        rng.standard_normal() > conformal_threshold(rng.standard_normal(59).tolist(), rate)
        for _ in range(4000)
    ]
    error = (rate * (1 - rate) / 4000) ** 0.5
    assert rate - 1 / 60 - 4 * error < np.mean(rejected) < rate + 4 * error


@pytest.mark.parametrize(("rate", "needed"), [(0.05, 19), (0.01, 99), (0.1, 9), (0.5, 1)])
def test_too_few_parts_are_counted_exactly(rate, needed):
    conformal_threshold([0.0] * needed, rate)
    if needed > 1:
        with pytest.raises(
            ValueError, match=f"needs at least {needed} good parts, got {needed - 1}"
        ):
            conformal_threshold([0.0] * (needed - 1), rate)


def test_no_parts_rates_out_of_range_and_nan_are_refused():
    with pytest.raises(ValueError, match="needs at least 9 good parts, got 0"):
        conformal_threshold([], 0.1)
    for rate in (0, 1, -1, float("nan")):
        with pytest.raises(ValueError, match="must be in"):
            conformal_threshold([1.0], rate)
    with pytest.raises(ValueError, match="scores must be finite"):
        conformal_threshold([1.0, float("nan")], 0.5)
