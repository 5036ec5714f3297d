import math

import numpy as np
import pytest
import torch

from cmad.ops import discrepancy
from cmad.testing import reference


def rows(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def test_three_four_against_four_three():
    euclidean, cosine = discrepancy(torch.tensor([[3.0, 4]]), torch.tensor([[40.0, 30]]))
    # (0.6, 0.8) and (0.8, 0.6): differences of 0.2, product 0.96.
    assert float(euclidean) == pytest.approx(math.sqrt(0.08), rel=1e-6)
    assert float(cosine) == pytest.approx(0.04, rel=1e-6)


def test_orthogonal_opposite_equal_and_zero_rows():
    a = torch.tensor([[1.0, 0], [2, 0], [3, 0], [0, 0], [0, 0]])
    b = torch.tensor([[0.0, 5], [-1, 0], [3, 0], [7, 0], [0, 0]])
    euclidean, cosine = discrepancy(a, b)
    np.testing.assert_allclose(euclidean, [math.sqrt(2), 2, 0, 1, 0], rtol=1e-6)
    assert cosine.tolist() == [1, 2, 0, 1, 1]


def test_distances_are_symmetric():
    a, b = rows(0, 100, 77), rows(1, 100, 77)
    for x, y in zip(discrepancy(a, b), discrepancy(b, a), strict=True):
        assert torch.equal(x, y)


def test_length_does_not_matter():
    a, b = rows(2, 100, 77), rows(3, 100, 77)
    for x, y in zip(discrepancy(a * 1024, b / 4096), discrepancy(a, b), strict=True):
        assert torch.equal(x, y)


def test_values_stay_in_their_range():
    a = rows(4, 3000, 768)
    for b in (a, -a, a * 3, a * -0.3):
        for distance in discrepancy(a, b):
            assert 0 <= float(distance.min()) <= float(distance.max()) <= 2


def test_the_cosine_distance_is_half_the_squared_euclidean_one():
    euclidean, cosine = discrepancy(rows(5, 500, 96), rows(6, 500, 96))
    np.testing.assert_allclose(cosine, euclidean**2 / 2, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-1, 1e-2, 1e-3])
def test_small_distances_keep_their_digits(size):
    a = rows(7, 200, 768)
    b = a + size * rows(8, 200, 768)
    want = reference.discrepancy(a.numpy().astype(np.float64), b.numpy().astype(np.float64))
    euclidean, cosine = discrepancy(a, b)
    # Each component is off by some 6e-8 of itself, in random directions; 1 - a·b would lose them.
    np.testing.assert_allclose(euclidean, want[0], rtol=1e-7 / size + 3e-7)
    np.testing.assert_allclose(cosine, want[1], rtol=2e-7 / size + 6e-7)


def test_order_of_the_rows_does_not_matter():
    a, b = rows(9, 300, 50), rows(10, 300, 50)
    order = torch.from_numpy(np.random.default_rng(11).permutation(300))
    for x, y in zip(discrepancy(a[order], b[order]), discrepancy(a, b), strict=True):
        assert torch.equal(x, y[order])


def test_random_rows_agree_with_the_reference():
    rng = np.random.default_rng(12)
    for seed in range(150):
        shape = int(rng.integers(0, 20)), int(rng.integers(0, 100))
        a, b = rows(seed, *shape), rows(seed + 1000, *shape)
        a[::3] = 0
        for got, want in zip(
            discrepancy(a, b), reference.discrepancy(a.numpy(), b.numpy()), strict=True
        ):
            np.testing.assert_allclose(got, want, atol=5e-7)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"a": torch.zeros(4)}, ValueError, r"discrepancy: a must be \(P, D\), got \(4,\)"),
        ({"a": torch.zeros(4, 3).half()}, TypeError, "discrepancy: a must be torch.float32, got"),
        ({"b": torch.zeros(4, 2)}, ValueError, r"discrepancy: b must be \(P=4, D=3\), got \(4, 2"),
        ({"b": torch.zeros(5, 3)}, ValueError, r"discrepancy: b must be \(P=4, D=3\), got \(5, 3"),
        ({"b": np.zeros((4, 3))}, TypeError, "discrepancy: b must be a torch tensor, got ndarray"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    with pytest.raises(error, match=message):
        discrepancy(**{"a": torch.zeros(4, 3), "b": torch.zeros(4, 3), **change})
