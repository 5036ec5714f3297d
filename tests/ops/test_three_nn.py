import numpy as np
import pytest
import torch

from cmad.ops import three_nn
from cmad.testing import reference
from cmad.testing.inputs import surface


def lattice(rng, *shape, high):
    return torch.from_numpy(rng.integers(-high, high, shape).astype(np.float32))


def part(n=3000):
    return torch.from_numpy(surface(np.random.default_rng(0), 224, n)[0])[None]


def test_weights_are_inverse_squared_distances():
    centre = torch.tensor([[[9.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, -4]]])
    index, weight = three_nn(torch.zeros(1, 1, 3), centre)
    assert index.tolist() == [[[1, 2, 3]]]
    # 1, 1/4, 1/16 over their sum 21/16; the 1e-8 is below float32 here.
    np.testing.assert_allclose(weight[0, 0], [16 / 21, 4 / 21, 1 / 21], rtol=1e-6)


def test_a_tenth_of_a_millimetre_counts_as_the_guard():
    centre = torch.tensor([[[0.0, 0, 0], [1e-4, 0, 0], [1, 0, 0]]])
    _, weight = three_nn(torch.zeros(1, 1, 3), centre)
    # 1 / 1e-8, 1 / 2e-8 and about 1.
    np.testing.assert_allclose(weight[0, 0], [2 / 3, 1 / 3, 1 / 1.5e8], rtol=1e-5)


def test_with_fewer_than_three_centres_the_missing_ones_weigh_nothing():
    index, weight = three_nn(torch.zeros(1, 1, 3), torch.tensor([[[0.0, 0, 3], [0, 1, 0]]]))
    assert index.tolist() == [[[1, 0, 0]]]
    np.testing.assert_allclose(weight[0, 0], [0.9, 0.1, 0], atol=1e-7)
    index, weight = three_nn(torch.ones(2, 4, 3), torch.zeros(2, 1, 3))
    assert index.eq(0).all()
    assert weight.tolist() == [[[1, 0, 0]] * 4] * 2


def test_equal_distances_are_ordered_by_index():
    centre = torch.tensor([[[0.0, 1, 0], [5, 5, 5], [1, 0, 0], [-1, 0, 0], [0, 0, 1]]])
    assert three_nn(torch.zeros(1, 1, 3), centre)[0].tolist() == [[[0, 2, 3]]]


def test_weights_are_positive_and_sum_to_one():
    xyz = part()
    _, weight = three_nn(xyz, xyz[:, ::40] + 1e-4)
    assert float(weight.min()) > 0
    np.testing.assert_allclose(weight.double().sum(-1), 1, atol=2e-7)


def test_weights_in_metres_agree_with_float64():
    xyz = part()
    centre = xyz[:, ::40]
    index, weight = three_nn(xyz, centre)
    d2 = ((xyz[0, :, None].double() - centre[0][index[0]].double()) ** 2).sum(-1)
    want = 1 / (d2 + 1e-8)
    want /= want.sum(-1, keepdim=True)
    # Float32 sums of squared differences: a few units in the last place of d2.
    np.testing.assert_allclose(weight[0], want, rtol=1e-6)


def test_order_of_the_centres_does_not_matter():
    rng = np.random.default_rng(1)
    xyz, centre = (torch.from_numpy(rng.random((1, n, 3)).astype(np.float32)) for n in (400, 90))
    order = torch.from_numpy(rng.permutation(90))
    index, weight = three_nn(xyz, centre)
    other, same_weight = three_nn(xyz, centre[:, order])
    assert torch.equal(order[other], index)
    assert torch.equal(same_weight, weight)


def test_translation_by_a_power_of_two_changes_nothing():
    rng = np.random.default_rng(2)
    xyz, centre = lattice(rng, 1, 300, 3, high=7), lattice(rng, 1, 50, 3, high=7)
    for a, b in zip(three_nn(xyz + 1024, centre + 1024), three_nn(xyz, centre), strict=True):
        assert torch.equal(a, b)


def test_random_lattices_agree_with_the_reference():
    rng = np.random.default_rng(3)
    for _ in range(150):
        b, n, m = (int(rng.integers(1, high)) for high in (3, 60, 90))
        xyz = lattice(rng, b, n, 3, high=int(rng.integers(1, 60)))
        centre = lattice(rng, b, m, 3, high=int(rng.integers(1, 20)))
        centre[..., 2] *= float(rng.integers(0, 2))  # flat or not
        want_index, want_weight = reference.three_nn(xyz.numpy(), centre.numpy())
        index, weight = three_nn(xyz, centre)
        np.testing.assert_array_equal(index, want_index)
        np.testing.assert_allclose(weight, want_weight, atol=1e-7)


def test_a_surface_agrees_with_a_kd_tree():
    spatial = pytest.importorskip("scipy.spatial", reason="needs SciPy, of the test extra")
    xyz = part()
    centre = xyz[:, ::30]
    want, _ = spatial.cKDTree(centre[0].double()).query(xyz[0].double(), k=3)
    found = centre[0][three_nn(xyz, centre)[0][0]].double()
    got = torch.linalg.norm(found - xyz[0, :, None].double(), dim=-1)
    # Neighbours may swap where float32 distances are equal; the distances are the same.
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_batch_without_points_gives_no_rows():
    index, weight = three_nn(torch.zeros(2, 0, 3), torch.zeros(2, 5, 3))
    assert index.shape == weight.shape == (2, 0, 3)
    assert three_nn(torch.zeros(2, 0, 3), torch.zeros(2, 0, 3))[0].shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"xyz": torch.zeros(4, 3)}, ValueError, r"three_nn: xyz must be \(B, N, 3\), got \(4, 3"),
        ({"xyz": torch.zeros(1, 4, 3).double()}, TypeError, "three_nn: xyz must be torch.float32"),
        ({"centre": torch.zeros(2, 2, 3)}, ValueError, r"centre must be \(B=1, M, 3\), got \(2,"),
        ({"centre": torch.zeros(1, 0, 3)}, ValueError, "centre must have at least one point, got"),
        ({"xyz": torch.full((1, 4, 3), torch.nan)}, ValueError, "three_nn: xyz must be finite"),
        ({"centre": torch.full((1, 2, 3), torch.inf)}, ValueError, "centre must be finite, got"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    with pytest.raises(error, match=message):
        three_nn(**{"xyz": torch.zeros(1, 4, 3), "centre": torch.zeros(1, 2, 3), **change})
