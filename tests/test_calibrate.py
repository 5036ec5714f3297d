"""Calibration: ranks, p-values, what the guarantee says, and its limits."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cmad.calibrate import (
    Calibration,
    check_parts,
    conformal_threshold,
    from_file,
    parts_needed,
    to_file,
)

PAGE = Path(__file__).parent.parent / "docs" / "calibration.md"
RATES = sorted({k / 100 for k in range(1, 100)} | {1 - k / 100 for k in range(1, 100)})
RATES += [a / b for b in range(2, 25) for a in range(1, b)] + [1e-3, 0.999, 1 - 2**-53]


def calibration(scores, rate):
    return Calibration.of(rate, scores, scores, [{}] * len(scores))


def test_the_threshold_is_the_conformal_rank():
    scores = [float(s) for s in range(1, 20)]  # 19 parts
    assert conformal_threshold(scores[::-1], 0.05) == 19
    assert conformal_threshold(scores, 0.1) == 18
    assert conformal_threshold(scores, 0.5) == 10
    assert conformal_threshold([3.0], 0.5) == 3


@pytest.mark.parametrize("ties", [False, True])
def test_a_part_is_rejected_exactly_if_its_p_value_is_at_most_the_rate(ties):
    rng = np.random.default_rng(0)
    for n in [*range(1, 41), 99, 199]:
        scores = rng.integers(0, n // 3 + 1, n) if ties else rng.permutation(n)
        values = np.unique(scores)
        candidates = np.concatenate([values, values + 0.5, values[:1] - 1.0]).tolist()
        for rate in RATES:
            if n < parts_needed(rate):
                continue
            made = calibration([float(s) for s in scores], rate)
            for score in candidates:
                assert (score > made.threshold) is (made.p_value(score) <= rate), (n, rate)


def test_the_share_rejected_is_the_largest_that_the_rate_allows():
    for n in [*range(1, 41), 99, 199]:
        for rate in RATES:
            if n >= parts_needed(rate):
                rejected = n - conformal_threshold([float(s) for s in range(n)], rate)
                assert rejected / (n + 1) <= rate < (rejected + 1) / (n + 1)


def test_held_out_in_turn_each_part_has_a_p_value_as_promised():
    """Of N exchangeable parts each is the further one as often: P(p <= a) is a share of N."""
    tied = [0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 7.0]
    for scores in (tied, [float(s) for s in range(7)]):
        p = np.array(
            [calibration(scores[:i] + scores[i + 1 :], 0.5).p_value(scores[i]) for i in range(7)]
        )
        for a in np.arange(1, 8) / 7:
            assert (p <= a).mean() <= a
    assert sorted(p) == [k / 7 for k in range(1, 8)]


def reject_rates(choose, n, rate, repeats=200):
    """For uniform scores 1 - threshold is the probability that a further good part is rejected."""
    rng = np.random.default_rng(0)
    return [1 - choose(rng.random(n).tolist(), rate) for _ in range(repeats)]


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.4])
def test_the_reject_rate_at_the_threshold_is_what_the_calibration_promises(rate):
    n = 99
    known = calibration([float(s) for s in range(n)], rate)
    found = known.reject_rate(known.threshold)
    m = round(rate * (n + 1))
    assert (found.above, found.parts, found.at_most) == (m - 1, n, m / (n + 1))
    want = stats.beta(m, n + 1 - m).ppf([0.05, 0.95])
    assert (found.low, found.high) == pytest.approx(want)


@pytest.mark.parametrize("at", [-1.0, 0.5, 3.5, 17.5, 18.5, 30.0])
def test_between_scores_the_interval_is_that_of_clopper_and_pearson(at):
    known = calibration([float(s) for s in range(19)], 0.5)
    found = known.reject_rate(at)
    want = stats.binomtest(found.above, 19).proportion_ci(0.9, "exact")
    assert found.above == sum(score > at for score in range(19))
    assert (found.low, found.high) == pytest.approx((want.low, want.high))
    with pytest.raises(ValueError, match="threshold must be a number, got nan"):
        known.reject_rate(math.nan)


def test_the_interval_holds_the_rate_of_9_of_10_calibrations():
    """The threshold is the 18th of 20 uniform scores, so that the rate is 1 minus it."""
    held = []
    for scores in np.random.default_rng(0).random((1000, 20)):
        known = calibration(scores.tolist(), 0.15)
        found = known.reject_rate(known.threshold)
        held.append(found.low <= 1 - known.threshold <= found.high)
    assert np.mean(held) == pytest.approx(0.9, abs=0.03)


def plain_quantile(scores, rate):
    """The quantile without the correction: exceeded by a share of at most the rate of *these*."""
    return sorted(scores)[math.ceil(round(len(scores) * (1 - rate), 9)) - 1]


@pytest.mark.parametrize(("n", "rate"), [(9, 0.1), (19, 0.05), (30, 0.1), (30, 0.25), (199, 0.05)])
def test_given_its_calibration_a_reject_rate_is_beta_distributed_with_a_mean_below_the_rate(
    n, rate
):
    """The law is exact for continuous scores: Beta(m, n + 1 - m), its mean m / (n + 1)."""
    m = math.floor(round((n + 1) * rate, 9))
    assert stats.kstest(
        reject_rates(conformal_threshold, n, rate), "beta", (m, n + 1 - m)
    ).pvalue > (1e-3)
    assert m / (n + 1) <= rate


def test_a_plain_quantile_would_not_pass():
    n, rate = 20, 0.05
    got = reject_rates(plain_quantile, n, rate)
    assert stats.kstest(got, "beta", (1, n)).pvalue < 1e-6
    assert np.mean(got) > 1.5 * rate


@pytest.mark.parametrize(("rate", "needed"), [(0.05, 19), (0.01, 99), (0.1, 9), (0.5, 1)])
def test_too_few_parts_are_counted_exactly(rate, needed):
    conformal_threshold([0.0] * needed, rate)
    if needed > 1:
        with pytest.raises(
            ValueError, match=f"needs at least {needed} good parts, got {needed - 1}"
        ):
            conformal_threshold([0.0] * (needed - 1), rate)


def test_the_parts_needed_are_enough_and_one_fewer_is_not():
    for rate in RATES:
        needed = parts_needed(rate)
        check_parts(needed, rate)
        if needed > 1:
            with pytest.raises(ValueError, match=f"at least {needed} good parts, got {needed - 1}"):
                check_parts(needed - 1, rate)
    assert parts_needed(1e-300) > 10**299


def test_no_parts_rates_out_of_range_and_nan_are_refused():
    with pytest.raises(ValueError, match="needs at least 9 good parts, got 0"):
        conformal_threshold([], 0.1)
    for rate in (0, 1, -1, float("nan")):
        with pytest.raises(ValueError, match="must be in"):
            conformal_threshold([1.0], rate)
    with pytest.raises(ValueError, match="scores must be finite"):
        conformal_threshold([1.0, float("nan")], 0.5)


def test_a_calibration_has_a_threshold_for_scores_pixels_and_each_map():
    peaks = [{"2d": float(i), "3d": 10.0 * i} for i in range(9)]
    made = Calibration.of(0.2, [3.0, 1.0, 2.0] * 3, [0.1 * i for i in range(9)], peaks)
    assert made.scores == (1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0)
    assert made.threshold == 3.0
    assert made.pixel_threshold == pytest.approx(0.7)
    assert made.map_thresholds == {"2d": 7.0, "3d": 70.0}
    assert [made.p_value(s) for s in (0.0, 1.0, 1.5, 3.0, 4.0)] == [1.0, 1.0, 0.7, 0.4, 0.1]


def test_what_is_saved_comes_back():
    made = Calibration.of(0.3, [0.1, 1 / 3, 0.2], [0.1] * 3, [{"2d": 0.1}] * 3)
    other = Calibration.of(0.5, [0.4, 0.2], [0.3] * 2, [{"3d": 0.7}] * 2)
    for kept in ({"2d+3d": made, "3d": other}, {}):
        header, tensors = to_file(kept)
        assert from_file(header, tensors) == kept
    assert tensors == {}


def test_the_table_of_the_documentation_is_right():
    rows = re.findall(r"^\| ([\d.]+) % \| (.*) \|$", PAGE.read_text(), re.M)
    assert len(rows) == 5
    for percent, cells in rows:
        rate, (least, spread, more, narrower) = float(percent) / 100, cells.split(" | ")
        assert int(least) == parts_needed(rate)
        for n, m, said in ((int(least), 1, spread), (int(more), 5, narrower)):
            assert round(m / (n + 1), 9) == rate
            low, high = 100 * stats.beta(m, n + 1 - m).ppf([0.05, 0.95])
            assert said == f"{low:.2f} to {high:.2f} %"
