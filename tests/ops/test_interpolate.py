import numpy as np
import pytest
import torch

from cmad.ops import interpolate
from cmad.testing import reference


def sparse(rng, rows, m, d):
    entries = rng.integers(0, 6, rows)
    start = np.concatenate([[0], np.cumsum(entries)]).astype(np.int64)
    arrays = (
        rng.standard_normal((m, d)).astype(np.float32),
        start,
        rng.integers(0, m, start[-1]).astype(np.int32),
        rng.standard_normal(start[-1]).astype(np.float32),
    )
    return tuple(torch.from_numpy(a) for a in arrays)


def test_rows_add_their_weighted_features_and_an_empty_row_is_zero():
    feature = torch.tensor([[1.0, 10], [2, 20], [3, 30]])
    start, index = torch.tensor([0, 2, 2, 3]), torch.tensor([0, 2, 1], dtype=torch.int32)
    got = interpolate(feature, start, index, torch.tensor([0.5, 2, -1]))
    assert got.tolist() == [[6.5, 65], [0, 0], [-2, -20]]


def test_result_is_linear_in_the_features():
    rng = np.random.default_rng(0)
    feature, *weights = sparse(rng, 80, 9, 21)
    other = torch.from_numpy(rng.standard_normal((9, 21)).astype(np.float32))
    got = interpolate(2 * feature - 3 * other, *weights)
    want = 2 * interpolate(feature, *weights) - 3 * interpolate(other, *weights)
    np.testing.assert_allclose(got, want, atol=2e-5)  # sums of five terms of size 10


def test_result_is_a_sparse_matrix_times_the_features():
    feature, start, index, weight = sparse(np.random.default_rng(1), 200, 30, 70)
    matrix = torch.zeros(200, 30, dtype=torch.float64)
    row = torch.repeat_interleave(torch.arange(200), start.diff())
    matrix.index_put_((row, index.long()), weight.double(), accumulate=True)
    got = interpolate(feature, start, index, weight)
    np.testing.assert_allclose(got, matrix @ feature.double(), atol=5e-6)


def test_one_entry_of_weight_one_copies_the_feature():
    feature = torch.randn(7, 33, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([6, 0, 3, 3], dtype=torch.int32)
    got = interpolate(feature, torch.arange(5), index, torch.ones(4))
    assert torch.equal(got, feature[index.long()])


def test_random_rows_agree_with_the_reference():
    rng = np.random.default_rng(2)
    for _ in range(150):
        rows, m, d = (int(rng.integers(low, 40)) for low in (0, 1, 0))
        args = sparse(rng, rows, m, d)
        want = reference.interpolate(*(a.numpy() for a in args))
        np.testing.assert_allclose(interpolate(*args), want, atol=5e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"feature": torch.zeros(2)}, ValueError, r"interpolate: feature must be \(M, D\), got"),
        ({"feature": torch.zeros(2, 3).half()}, TypeError, "feature must be torch.float32, got"),
        ({"start": torch.tensor([0, 2]).int()}, TypeError, "start must be torch.int64, got"),
        ({"index": torch.zeros(2).long()}, TypeError, "index must be torch.int32, got torch.int64"),
        ({"weight": torch.zeros(3)}, ValueError, r"weight must be \(E=2\), got \(3,\)"),
        ({"start": torch.tensor([1, 2])}, ValueError, "start must ascend from 0 to E=2"),
        ({"start": torch.tensor([0, 1])}, ValueError, "start must ascend from 0 to E=2"),
        ({"start": torch.tensor([0, 2, 1, 2])}, ValueError, "start must ascend from 0 to E=2"),
        ({"start": torch.tensor([]).long()}, ValueError, r"start must be \(P\+1\), got \(0,\)"),
        ({"index": torch.tensor([0, 2]).int()}, ValueError, r"index must be in \[0, M=2\)"),
        ({"index": torch.tensor([-1, 0]).int()}, ValueError, r"index must be in \[0, M=2\)"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    args = {
        "feature": torch.zeros(2, 3),
        "start": torch.tensor([0, 2]),
        "index": torch.tensor([0, 1], dtype=torch.int32),
        "weight": torch.ones(2),
    }
    with pytest.raises(error, match=message):
        interpolate(**{**args, **change})
