"""The analysis of variance against hand-worked numbers and SciPy, and what is kept of scans."""

import math

import numpy as np
import pytest
from scipy import stats

from cmad.repeatability import Repeats, identical, part_of, variance
from cmad.types import Prediction, Region

MAP = np.zeros((2, 2), np.float32)


def test_three_parts_of_two_scans_by_hand():
    # Means 2, 6, 10, of all 6. Within: each part 1 + 1, so 6 over 3 degrees: 2. Between: 2 (16 + 0
    # + 16) = 64 over 2: 32. Parts: (32 - 2) / 2 = 15.
    got = variance([(1, 3), (5, 7), (9, 11)])
    assert (got.parts, got.scans, got.mean, got.degrees) == (3, 6, 6.0, (2, 3))
    assert got.repeatability**2 == pytest.approx(2)
    assert got.part_variation**2 == pytest.approx(15)
    assert got.f == pytest.approx(16)
    assert got.total**2 == pytest.approx(17)
    assert got.share == pytest.approx(math.sqrt(2 / 17))
    assert got.categories == 3  # 1.41 sqrt(15 / 2) = 3.86


def test_parts_of_one_two_and_three_scans_by_hand():
    # Means 2, 5, 11, of all 7. Within: 2 + 0 + 8 over 3. Between: 2 * 25 + 4 + 3 * 16 over 2: 51.
    # Scans a part, for the expectation: (6 - (4 + 1 + 9) / 6) / 2 = 11 / 6.
    got = variance([(1, 3), (5,), (9, 11, 13)])
    assert got.repeatability**2 == pytest.approx(10 / 3)
    assert got.part_variation**2 == pytest.approx((51 - 10 / 3) * 6 / 11)
    assert got.f == pytest.approx(15.3)


def test_f_is_scipys_where_parts_have_as_many_scans_and_where_not():
    draw = np.random.default_rng(0)
    for sizes in ((3,) * 8, (2, 5, 1, 3)):
        parts = [draw.normal(draw.normal(), 0.5, n) for n in sizes]
        assert variance(parts).f == pytest.approx(stats.f_oneway(*parts).statistic)


def test_the_deviations_are_those_that_values_were_drawn_with():
    draw = np.random.default_rng(1)
    sizes = draw.integers(1, 7, 4000)  # unequal: the mean number of scans would not do
    got = variance([draw.normal(draw.normal(5, 2), 0.7, n) for n in sizes])
    assert got.repeatability == pytest.approx(0.7, rel=0.03)
    assert got.part_variation == pytest.approx(2, rel=0.05)
    assert got.mean == pytest.approx(5, abs=0.1)


def test_parts_that_do_not_differ_have_no_variation_of_their_own():
    got = variance([(1, 3), (3, 1), (2, 2)])
    assert (got.part_variation, got.categories, got.share) == (0, 1, 1)


def test_scans_that_do_not_differ_have_no_repeatability():
    got = variance([(1, 1), (3, 3)])
    assert (got.repeatability, got.categories, got.share, got.f) == (0, None, 0, math.inf)
    none = variance([(1, 1), (1, 1)])
    assert math.isnan(none.share)
    assert math.isnan(none.f)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], "got 0 parts"),
        ([(1.0, 2.0)], "got 1 parts"),
        ([(1.0,), (2.0,)], "at most 1"),
        ([(1.0, math.nan), (2.0,)], "must be finite"),
    ],
)
def test_too_little_is_an_error(parts, said):
    with pytest.raises(ValueError, match=said):
        variance(parts)


def region(x, area):
    return Region((0, 0, 1, 1), 1, area, (x, 0.0, 0.5), 1.0, (0, 0), "3d", {})


def scan(score, threshold=2.0, regions=(), **levels):
    return Prediction(score, MAP, threshold=threshold, regions=regions, levels=levels)


def test_flips_places_and_areas_of_a_part():
    repeats = Repeats()
    repeats.add("a", scan(1.0, regions=(region(0.001, 4.0), region(9.0, 99.0)), x=1.0))
    repeats.add("b", scan(1.0, x=2.0))
    repeats.add("a", scan(3.0, regions=(region(0.003, 6.0),), x=1.5))
    repeats.add("b", scan(1.5, x=2.5))
    assert list(repeats.parts) == ["a", "b"]
    assert repeats.flips == ["a"]
    a, b = repeats.parts.values()
    assert a.spread == pytest.approx(
        math.sqrt(2)
    )  # mm: 1 mm to either side, of 1 degree of freedom
    assert a.area == pytest.approx((5, math.sqrt(2)))
    assert (b.spread, b.area, b.flips) == (None, None, False)
    got = repeats.variances()
    assert list(got) == ["score", "x"]
    assert got["score"] == variance([(1, 3), (1, 1.5)])
    assert got["x"] == variance([(1, 1.5), (2, 2.5)])


def test_parts_without_a_threshold_have_no_verdicts_to_flip():
    repeats = Repeats()
    for score in (1.0, 3.0):
        repeats.add("a", scan(score, None))
    assert repeats.flips == []
    assert identical(repeats.parts) == []
    repeats.add("b", scan(3.0))
    repeats.add("b", scan(3.0))
    assert identical(repeats.parts) == ["b"]


@pytest.mark.parametrize(
    ("name", "part"), [("0815__1", "0815"), ("day/a__b__2", "day/a__b"), ("x__y z", "x")]
)
def test_a_scan_is_named_by_its_part(name, part):
    assert part_of(name) == part


@pytest.mark.parametrize("name", ["0815", "__1", "0815__", "day__1/0815", "day/__1"])
def test_a_name_without_part_or_scan_is_refused(name):
    with pytest.raises(ValueError, match=r"must be named PART__SCAN, as in"):
        part_of(name)
