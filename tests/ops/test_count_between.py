import numpy as np
import pytest
import torch

from cmad.ops import count_between


def none_of(score):
    return torch.zeros(len(score), dtype=torch.bool)


def test_a_hand_made_example():
    score = torch.tensor([0.5, 1.0, 1.0, 1.5, 2.0, 7.0, 7.0, -3.0, 9.0])
    skip = none_of(score)
    skip[-1] = True
    count, tied = count_between(score, skip, torch.tensor([1.0, 2.0, 5.0]))
    assert count.tolist() == [2, 3, 1, 2]  # below 1; from 1 to 2; from 2 to 5; from 5 on
    assert tied.tolist() == [2, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_may_come_in_pieces(dtype):
    rng = np.random.default_rng(0)
    score = torch.from_numpy(rng.integers(0, 50, 4000) / 8).to(dtype)
    skip = torch.from_numpy(rng.random(4000) < 0.2)
    level = torch.from_numpy(np.unique(rng.integers(0, 50, 9) / 8)).to(dtype)
    want = count_between(score, skip, level)
    so_far = None
    for piece in torch.arange(4000).split(700):
        so_far = count_between(score[piece], skip[piece], level, so_far)
    for w, g in zip(want, so_far, strict=True):
        assert torch.equal(w, g)
    assert int(want[0].sum()) == int((~skip).sum())


def test_counts_go_on_beyond_32_bits():
    score, level = torch.tensor([0.0, 0.0, 3.0, 3.0, 3.0]), torch.tensor([3.0])
    for begin in (2**31 - 1, 2**32 - 1, 2**40):
        so_far = torch.tensor([begin, begin]), torch.tensor([begin])
        count, tied = count_between(score, none_of(score), level, so_far)
        assert count.tolist() == [begin + 2, begin + 3]
        assert tied.tolist() == [begin + 3]


def test_more_scores_than_32_bits_can_count():
    """In memory that is never written to, so that the system gives it addresses only."""
    n = 2**31 + 5
    try:
        score, skip = (torch.from_numpy(np.zeros(n, dtype)) for dtype in (np.float32, bool))
    except MemoryError:
        pytest.skip("the system does not give out 10 GB of addresses")
    score[:2], score[-3:] = 9, 7
    count, tied = count_between(score, skip, torch.tensor([0.0, 7.0]))
    assert count.tolist() == [0, n - 5, 5]
    assert tied.tolist() == [n - 5, 3]


@pytest.mark.parametrize("levels", [1, 3_000_000])
def test_blocks_are_added_up(levels):
    """Runs that end and begin in the blocks, which are of some millions of scores."""
    rng = np.random.default_rng(5)
    score = np.repeat(rng.random(100).astype(np.float32), 150_000)
    level = np.unique(rng.random(levels).astype(np.float32))
    count, *_ = count_between(torch.from_numpy(score), none_of(score), torch.from_numpy(level))
    at = np.searchsorted(level, score[::150_000], side="right")
    np.testing.assert_array_equal(count, 150_000 * np.bincount(at, minlength=len(level) + 1))


def test_neighbouring_numbers_are_told_apart():
    """No rounding anywhere: a score one bit below a level is below it."""
    for dtype in (np.float32, np.float64):
        level = np.array([-1e-3, 0.1, 1, 1e9], dtype)
        below, above = np.nextafter(level, dtype(-np.inf)), np.nextafter(level, dtype(np.inf))
        score = torch.from_numpy(np.concatenate([below, level, above]))
        count, *_ = count_between(score, none_of(score), torch.from_numpy(level))
        assert count.tolist() == [1, 3, 3, 3, 2]


def test_counts_are_those_of_searchsorted_whatever_the_distribution():
    rng = np.random.default_rng(3)
    for score in (
        rng.normal(size=20000),
        np.exp(9 * rng.normal(size=20000)),
        rng.integers(-9, 9, 20000) * 1.0,
        1 + rng.integers(0, 5000, 20000) * 2.0**-23,
    ):
        score = score.astype(np.float32)
        level = np.unique(rng.choice(score, 4000))
        count, tied = count_between(
            torch.from_numpy(score), none_of(score), torch.from_numpy(level)
        )
        at = np.searchsorted(level, score, side="right")
        np.testing.assert_array_equal(count, np.bincount(at, minlength=len(level) + 1))
        below = np.searchsorted(level, score, side="left")
        np.testing.assert_array_equal(tied, np.bincount(below[at > below], minlength=len(level)))


def test_very_many_levels_in_a_coarser_table():
    rng = np.random.default_rng(4)
    for scale in (1, 9):
        level = np.unique(np.exp(scale * rng.normal(size=300_000)).astype(np.float32))
        assert len(level) > 2**18
        score = np.exp(scale * rng.normal(size=200_000)).astype(np.float32)
        score[::2] = rng.choice(level, 100_000)
        count, *_ = count_between(torch.from_numpy(score), none_of(score), torch.from_numpy(level))
        at = np.searchsorted(level, score, side="right")
        np.testing.assert_array_equal(count, np.bincount(at, minlength=len(level) + 1))


@pytest.mark.parametrize(
    "so_far",
    [
        (torch.zeros(2, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)),
        (torch.zeros(4), torch.zeros(3)),
        tuple(torch.zeros(2 * n, dtype=torch.int64)[::2] for n in (4, 3)),
    ],
)
def test_results_of_other_levels_are_not_added_to(so_far):
    score = torch.zeros(5)
    with pytest.raises((TypeError, ValueError), match="count_between: so_far must be"):
        count_between(score, none_of(score), torch.arange(3.0), so_far)


S, F, L = torch.zeros(4), torch.zeros(4, dtype=torch.bool), torch.arange(3.0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((S.long(), F, L), TypeError, "score must be float32 or float64, got torch.int64"),
        ((S, F, L.double()), TypeError, "level must be torch.float32, got torch.float64"),
        ((S, F[:3], L), ValueError, r"skip must be \(N=4\), got \(3,\)"),
        ((S, F, L[:0]), ValueError, "level must hold at least one, got none"),
        ((S, F, L.flip(0)), ValueError, "level must be ascending, distinct and not NaN"),
        ((S, F, torch.zeros(2)), ValueError, "level must be ascending, distinct"),
        ((S, F, torch.tensor([0.0, torch.nan])), ValueError, "level must be .* not NaN"),
        ((S.numpy(), F, L), TypeError, "score must be a torch tensor, got ndarray"),
    ],
)
def test_other_inputs_are_named(arguments, error, message):
    with pytest.raises(error, match=f"count_between: {message}"):
        count_between(*arguments)
