"""Drift: false alarms, what is found and how soon, and a state that goes on."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from cmad import drift
from cmad.drift import Monitor
from cmad.types import Prediction


def line(n, seed, rate=0.05):
    """A monitor on n calibration parts of two independent streams, and what draws further ones."""
    draw = np.random.default_rng(seed)
    parts = draw.normal(size=(n, 2))
    threshold = np.sort(parts[:, 0])[n - int((n + 1) * rate)]
    return parts, float(threshold), draw


def alarm(n, seed, count, begin=None, shift=0.0, **settings):
    """The part at which it alarms, if any, where the second stream moves from part ``begin`` on."""
    parts, threshold, draw = line(n, seed)
    levels = {"score": parts[:, 0], "2d": parts[:, 1]}
    monitor = Monitor(levels, threshold, seed=seed, **settings)
    for part in range(1, count + 1):
        score, level = draw.normal(size=2)
        level += shift * (begin is not None and part >= begin)
        if monitor.add({"score": score, "2d": level}, bool(score > threshold)):
            return part, monitor
    return None, monitor


def test_parts_like_the_calibration_parts_alarm_no_more_often_than_asked():
    alarms = sum(
        alarm(19 + seed % 60, seed, 60, false_alarm=0.2)[0] is not None for seed in range(200)
    )
    # At most 40 are expected; 58 or more of 200 have a probability of 0.1 % at a rate of 0.2.
    assert alarms < 58


@pytest.mark.parametrize("shift", [3.0, -3.0])
def test_a_change_is_found_soon_named_and_dated(shift):
    for seed in range(5):
        part, monitor = alarm(50, seed, 140, begin=101, shift=shift)
        assert part is not None
        assert 101 <= part <= 115
        [moved] = monitor.moved
        assert (moved.stream, moved.higher) == ("2d", shift > 0)
        assert abs(moved.since - 101) <= 5
        assert str(moved) == (
            f"the 2d discrepancy is {'higher' if shift > 0 else 'lower'} since part {moved.since}"
        )


def test_no_way_to_bet_gains_on_average():
    ranks = drift._Ranks([0.0])
    # Integrals over u from 0 to 1, by v = u^(1/10), where the bets have no pole.
    v = (np.arange(2000) + 0.5) / 2000
    weight = 10 * v**9 / len(v)
    higher = sum(w * ranks.factors(u)[:2] for u, w in zip(v**10, weight, strict=True))
    assert higher == pytest.approx([1, 1], abs=2e-2)
    assert ranks.factors(0.9)[2:] == pytest.approx(ranks.factors(0.1)[:2])
    assert ranks.factors(0.25) == pytest.approx(
        [0.2 * 4**0.8, 1.0, 0.2 * (4 / 3) ** 0.8, 0.5 / 0.75**0.5]
    )
    rejections = drift._Rejections(0.3)
    on_average = 0.3 * rejections.factors(1.0) + 0.7 * rejections.factors(0.0)
    assert on_average == pytest.approx([1.0] * len(drift.STAKES))
    assert (rejections.factors(0.0) > 0).all()


def test_a_stake_that_gains_nothing_stays_one():
    stream = drift._Ranks([0.0])
    stream.factors = lambda value: np.ones(4)
    for part in range(1, 50):
        stream.bet(0.5, part)
        assert stream.stake == pytest.approx(1, abs=1e-12)


def test_ranks_are_uniform_and_independent():
    # Of all orders of five values: two before, then three ranks, each equally likely.
    seen = {}
    for order in itertools.permutations(range(5)):
        stream = drift._Ranks(sorted(map(float, order[:2])))
        ranks = tuple(int(stream.rank(float(v), 0.5) * (i + 3)) for i, v in enumerate(order[2:]))
        seen[ranks] = seen.get(ranks, 0) + Fraction(1, 120)
    assert len(seen) == 3 * 4 * 5
    assert set(seen.values()) == {Fraction(1, 60)}


def test_equal_values_share_a_rank_by_chance():
    # Ascending before: one above, two equal, one below.
    ranks = [drift._Ranks([1.0, 2.0, 2.0, 3.0]).rank(2.0, chance) for chance in (0.0, 0.5, 1.0)]
    assert ranks == [1 / 5, 2.5 / 5, 4 / 5]


def test_a_line_that_rejects_too_many_is_found_though_no_part_is_ranked():
    parts, threshold, _ = line(30, 0)
    monitor = Monitor({"score": parts[:, 0], "2d": parts[:, 1]}, threshold)
    assert not monitor.add({"score": 9.0, "2d": 0.0}, True)
    assert any(monitor.add({"score": 9.0, "2d": 0.0}, True) for _ in range(18))
    assert [moved.stream for moved in monitor.moved] == ["rejected"]
    assert str(monitor.moved[0]) == "more parts are rejected since part 1"


def test_rejected_parts_do_not_move_the_levels():
    parts, threshold, draw = line(50, 1)
    monitor = Monitor({"score": parts[:, 0], "2d": parts[:, 1]}, threshold)
    for i in range(40):
        monitor.add(
            {"score": 50.0, "2d": 50.0} if i % 3 == 0 else {"score": -1.0, "2d": draw.normal()},
            i % 3 == 0,
        )
    assert monitor.stakes["2d"] < 3


def test_only_calibration_parts_below_the_threshold_are_ranked_with():
    monitor = Monitor({"score": [1.0, 4.0, 2.0, 3.0], "2d": [10.0, 40.0, 20.0, 30.0]}, 3.0)
    assert monitor._streams["2d"].values == [10.0, 20.0]
    monitor.add({"score": 3.0, "2d": 5.0}, False)  # accepted, and at the threshold: not ranked
    assert monitor._streams["2d"].values == [10.0, 20.0]
    monitor.add({"score": 2.5, "2d": 5.0}, False)
    assert monitor._streams["2d"].values == [5.0, 10.0, 20.0]


def test_it_goes_on_from_its_file(tmp_path):
    parts, threshold, draw = line(30, 2)
    further = draw.normal(0.5, size=(40, 2))
    whole, halves = (
        Monitor({"score": parts[:, 0], "2d": parts[:, 1]}, threshold) for _ in range(2)
    )
    for i, (score, level) in enumerate(further):
        for monitor in (whole, halves):
            monitor.add({"score": score, "2d": level}, bool(score > threshold))
        if i % 7 == 0:
            halves.save(tmp_path / "drift")
            halves = Monitor.load(tmp_path / "drift")
    assert halves.stakes == whole.stakes
    assert (halves.parts, halves.moved, halves.limit) == (40, whole.moved, whole.limit)
    assert [file.name for file in tmp_path.iterdir()] == ["drift"]


def test_an_alarm_stays():
    _, monitor = alarm(50, 0, 100, begin=1, shift=4.0)
    for _ in range(300):
        monitor.add({"score": 0.0, "2d": 0.0}, False)
    assert monitor.alarmed
    assert monitor.moved[0].stream == "2d"


@pytest.mark.parametrize("content", [b"", b"not a file of numbers", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "drift").write_bytes(content)
    with pytest.raises(ValueError, match="drift: not the state of a drift monitor, or damaged"):
        Monitor.load(tmp_path / "drift")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    monitor = Monitor({"score": [1.0, 2.0, 3.0]}, 3.0)
    monitor.save(tmp_path / "drift")
    before = (tmp_path / "drift").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drift.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        monitor.save(tmp_path / "drift")
    assert (tmp_path / "drift").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"false_alarm": 0.0}, "false_alarm must be in"),
        ({"most_rejected": 1.0}, "most_rejected must be in"),
        ({"levels": {"2d": [1.0, 2.0]}}, 'must have "score"'),
        ({"levels": {"score": [1.0, 2.0], "2d": [1.0]}}, "as many of each"),
        ({"levels": {"score": [1.0, np.nan]}}, "must be finite"),
        ({"threshold": 1.5}, "at least 2 calibration parts below the threshold, got 1"),
    ],
)
def test_what_cannot_be_is_an_error(settings, said):
    with pytest.raises(ValueError, match=said):
        Monitor(**{"levels": {"score": [1.0, 2.0, 3.0]}, "threshold": 3.0, **settings})


@pytest.mark.parametrize("levels", [{"score": 1.0}, {"score": 1.0, "2d": np.nan}])
def test_a_part_without_a_level_leaves_it_as_it_was(levels):
    monitor = Monitor({"score": [1.0, 2.0, 3.0], "2d": [1.0, 2.0, 3.0]}, 3.0)
    with pytest.raises(ValueError, match=r"of all streams; not so: \['2d'\]"):
        monitor.add(levels, False)
    assert monitor.parts == 0


def test_it_watches_predictions_of_its_own_calibration():
    monitor = Monitor({"score": [1.0, 2.0, 3.0], "2d": [1.0, 2.0, 3.0]}, 3.0)
    map_ = np.zeros((2, 2), np.float32)
    monitor.watch(Prediction(1.5, map_, threshold=3.0, levels={"2d": 1.5, "brightness": 9.0}))
    assert monitor.parts == 1
    assert monitor._streams["2d"].values == [1.0, 1.5, 2.0]
    with pytest.raises(ValueError, match="has no verdict"):
        monitor.watch(Prediction(1.5, map_, levels={"2d": 1.5}))
    with pytest.raises(ValueError, match="begun with a threshold of 3, the prediction's is 4"):
        monitor.watch(Prediction(1.5, map_, threshold=4.0, levels={"2d": 1.5}))
    assert monitor.parts == 1
