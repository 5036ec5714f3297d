"""Averages over seeds and categories."""

import pytest

from cmad.evaluate import AREAS, METRICS, Evaluation, averages, mean, over_seeds


def result(category, value, **more):
    fields = {"train": 3, "memory": 100.0, "bad": (("a", "cut"),), **more}
    return Evaluation(
        category=category,
        good=4,
        defective=5,
        metrics=dict.fromkeys(METRICS, value),
        grid=dict.fromkeys(AREAS, value / 2),
        frames_per_second=10 * value,
        seconds={"fit": 2 * value},
        verdicts={"missed": 1.0},
        **fields,
    )


def test_seeds_are_averaged_with_the_deviation_of_a_sample():
    runs = [
        result("a", 0.2, date="2026-01-02 00:00"),
        result("a", 0.6, memory=300.0, bad=(("b", "x"),), date="2026-01-01 00:00"),
    ]
    got = over_seeds(runs)
    assert got.metrics["I-AUROC"] == pytest.approx(0.4)
    assert got.deviations["I-AUROC"] == pytest.approx(0.08**0.5)  # sqrt(2 * 0.2^2 / 1)
    assert got.deviations["AUPRO@1% grid"] == pytest.approx(0.02**0.5)
    assert (got.seeds, got.train, got.good, got.memory) == (2, 3, 4, 300.0)
    assert got.frames_per_second == pytest.approx(4)
    assert got.seconds == {"fit": pytest.approx(0.8)}
    assert got.bad == (("a", "cut"), ("b", "x"))
    assert got.verdicts == {}
    assert got.date == "2026-01-02 00:00"


def test_one_seed_comes_back_as_it_is():
    one = result("a", 0.2)
    assert over_seeds([one]) is one
    rows, whole = averages({3: [one, result("b", 0.4)]})
    assert rows[0] is one
    assert whole == mean(rows)


def test_the_deviation_of_the_mean_is_that_of_the_seeds_means():
    _, whole = averages(
        {0: [result("a", 0.2), result("b", 0.8)], 1: [result("a", 0.9), result("b", 0.3)]}
    )
    assert whole.metrics["I-AUROC"] == pytest.approx(0.55)
    assert whole.deviations["I-AUROC"] == pytest.approx((2 * 0.05**2) ** 0.5)


def test_a_seed_that_is_not_through_counts_for_what_it_has_and_not_for_the_mean():
    rows, whole = averages({0: [result("a", 0.2), result("b", 0.8)], 1: [result("a", 0.4)]})
    assert [(r.category, r.seeds) for r in rows] == [("a", 2), ("b", 1)]
    assert whole.metrics["I-AUROC"] == pytest.approx(0.5)
    assert whole.seeds == 1


def test_seeds_that_have_no_category_in_common_still_have_a_mean():
    _, whole = averages({0: [result("a", 0.2)], 1: [result("b", 0.4)]})
    assert whole.metrics["I-AUROC"] == pytest.approx(0.3)
    assert whole.deviations == {}
