import importlib

import numpy as np
import pytest
import torch

from cmad.ops import coreset
from cmad.testing import reference
from cmad.testing.devices import DEVICES, running_on
from cmad.testing.inputs import grid, normal_rows

module = importlib.import_module("cmad.ops.coreset")


def test_a_hand_made_example():
    rows = torch.tensor([[0.0], [1], [10], [4], [-2], [10]])
    # 10 is farthest from 0, at its first index; then 4, 2 from it no longer; then -2; 1; the copy.
    assert coreset(rows, 6).tolist() == [0, 2, 3, 4, 1, 5]
    assert coreset(rows, 3, start=3).tolist() == [3, 2, 4]  # both are 6 from 4


@pytest.mark.parametrize("wanted", [1, 7, 100, 10**6])
@pytest.mark.parametrize("make", [grid(4), grid(20), normal_rows(3), normal_rows(50)])
def test_how_many_rows_are_looked_at_together_changes_nothing(make, wanted, monkeypatch):
    monkeypatch.setattr(module, "WANTED", wanted)
    rows = make(np.random.default_rng(1), 400)
    want = reference.coreset(rows, 250)
    assert coreset(torch.from_numpy(rows), 250).tolist() == want.tolist()


@pytest.mark.parametrize("picks", [1, 2, 31, 32, 33])
def test_a_run_in_slices_picks_what_one_call_picks(picks, monkeypatch):
    monkeypatch.setattr(module, "SLICE", picks)
    rows = normal_rows(20)(np.random.default_rng(2), 300)
    assert coreset(torch.from_numpy(rows), 110).tolist() == reference.coreset(rows, 110).tolist()


@pytest.mark.skipif("emulated" not in DEVICES, reason="the emulated ops are not built")
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("m", [2, 128, 129, 300])
def test_a_kernel_whose_blocks_have_128_rows_picks_the_same(m, seed, monkeypatch):
    """By slices of one pick and of several; ties lie in other blocks, and wider than a tile."""
    rows = grid(3)(np.random.default_rng(seed), m).repeat(13, 1)
    count = min(m, 12)
    for picks in (1, 5):
        monkeypatch.setattr(module, "SLICE", picks)
        with running_on("emulated", seed):
            got = coreset(torch.from_numpy(rows), count, start=m - 1)
        assert got.tolist() == reference.coreset(rows, count, start=m - 1).tolist()


def test_no_row_is_picked_twice():
    rows = torch.zeros(50, 3)
    rows[7:20] = 1
    index = coreset(rows, 50, start=30)
    assert index.tolist() == [30, 7, *(i for i in range(50) if i not in (7, 30))]


def test_picks_cover_the_rows_better_and_better():
    rows = torch.from_numpy(normal_rows(8)(np.random.default_rng(3), 2000))
    index = coreset(rows, 300)
    nearest = torch.cdist(rows, rows[index]).cummin(1).values
    radius = nearest.amax(0)
    assert (radius.diff() <= 0).all()
    for i in range(1, 300, 40):
        torch.testing.assert_close(nearest[index[i], i - 1], radius[i - 1])


def test_values_beyond_the_range_of_squares_are_still_picked_once_each():
    rows = torch.tensor([[0.0], [3e38], [-3e38], [1e25], [1.0]])
    assert coreset(rows, 5).tolist() == [0, 1, 2, 3, 4]
    assert sorted(coreset(torch.full((5, 2), torch.nan), 5, check=False).tolist()) == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_progress_counts_every_pick_and_may_interrupt():
    rows = torch.from_numpy(normal_rows(4)(np.random.default_rng(4), 900))
    steps = []
    coreset(rows, 600, progress=lambda note="": steps.append(note))
    assert len(steps) == 600

    def stop(note=""):
        steps.append(note)
        raise KeyboardInterrupt

    steps.clear()
    with pytest.raises(KeyboardInterrupt):
        coreset(rows, 600, progress=stop)
    assert len(steps) == 1


R = torch.zeros(9, 4)


@pytest.mark.parametrize(
    ("arguments", "more", "error", "message"),
    [
        ((R.half(), 1), {}, TypeError, "rows must be torch.float32, got torch.float16"),
        ((R[0], 1), {}, ValueError, r"rows must be \(M, D\), got \(4,\)"),
        ((R, 0), {}, ValueError, r"count must be in \[1, M=9\], got 0"),
        ((R, 10), {}, ValueError, r"count must be in \[1, M=9\], got 10"),
        ((R, 1), {"start": 9}, ValueError, r"start must be in \[0, M=9\), got 9"),
        ((R, 1), {"start": -1}, ValueError, r"start must be in \[0, M=9\), got -1"),
        ((R + torch.inf, 1), {}, ValueError, "rows must be finite, got NaN or infinity"),
    ],
)
def test_other_inputs_are_named(arguments, more, error, message):
    with pytest.raises(error, match=f"coreset: {message}"):
        coreset(*arguments, **more)
