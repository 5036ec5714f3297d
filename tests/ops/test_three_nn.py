import numpy as np
import pytest
import torch

from cmad import ops
from cmad.testing import reference
from cmad.testing.inputs import surface


def three_nn(xyz, centre, sizes=None, centres=None):
    """Search clouds of these sizes with so many centres each, or one cloud."""
    ptr = torch.tensor([0, *np.cumsum(sizes or [len(xyz)])])
    return ops.three_nn(xyz, ptr, centre, torch.tensor([0, *np.cumsum(centres or [len(centre)])]))


def lattice(rng, *shape, high):
    return torch.from_numpy(rng.integers(-high, high, shape).astype(np.float32))


def part(n=3000):
    return torch.from_numpy(surface(np.random.default_rng(0), 224, n)[0])


def test_weights_are_inverse_squared_distances():
    centre = torch.tensor([[9.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, -4]])
    index, weight = three_nn(torch.zeros(1, 3), centre)
    assert index.tolist() == [[1, 2, 3]]
    # 1, 1/4, 1/16 over their sum 21/16; the 1e-8 is below float32 here.
    np.testing.assert_allclose(weight[0], [16 / 21, 4 / 21, 1 / 21], rtol=1e-6)


def test_a_tenth_of_a_millimetre_counts_as_the_guard():
    centre = torch.tensor([[0.0, 0, 0], [1e-4, 0, 0], [1, 0, 0]])
    _, weight = three_nn(torch.zeros(1, 3), centre)
    # 1 / 1e-8, 1 / 2e-8 and about 1.
    np.testing.assert_allclose(weight[0], [2 / 3, 1 / 3, 1 / 1.5e8], rtol=1e-5)


def test_with_fewer_than_three_centres_the_missing_ones_weigh_nothing():
    index, weight = three_nn(torch.zeros(1, 3), torch.tensor([[0.0, 0, 3], [0, 1, 0]]))
    assert index.tolist() == [[1, 0, 0]]
    np.testing.assert_allclose(weight[0], [0.9, 0.1, 0], atol=1e-7)
    index, weight = three_nn(torch.ones(8, 3), torch.zeros(2, 3), [4, 4], [1, 1])
    assert index.eq(0).all()
    assert weight.tolist() == [[1, 0, 0]] * 8


def test_equal_distances_are_ordered_by_index():
    centre = torch.tensor([[0.0, 1, 0], [5, 5, 5], [1, 0, 0], [-1, 0, 0], [0, 0, 1]])
    assert three_nn(torch.zeros(1, 3), centre)[0].tolist() == [[0, 2, 3]]


def test_weights_are_positive_and_sum_to_one():
    xyz = part()
    _, weight = three_nn(xyz, xyz[::40] + 1e-4)
    assert float(weight.min()) > 0
    np.testing.assert_allclose(weight.double().sum(-1), 1, atol=2e-7)


def test_weights_in_metres_agree_with_float64():
    xyz = part()
    centre = xyz[::40]
    index, weight = three_nn(xyz, centre)
    d2 = ((xyz[:, None].double() - centre[index].double()) ** 2).sum(-1)
    want = 1 / (d2 + 1e-8)
    want /= want.sum(-1, keepdim=True)
    # Float32 sums of squared differences: a few units in the last place of d2.
    np.testing.assert_allclose(weight, want, rtol=1e-6)


def test_order_of_the_centres_does_not_matter():
    rng = np.random.default_rng(1)
    xyz, centre = (torch.from_numpy(rng.random((n, 3)).astype(np.float32)) for n in (400, 90))
    order = torch.from_numpy(rng.permutation(90))
    index, weight = three_nn(xyz, centre)
    other, same_weight = three_nn(xyz, centre[order])
    assert torch.equal(order[other], index)
    assert torch.equal(same_weight, weight)


def test_translation_by_a_power_of_two_changes_nothing():
    rng = np.random.default_rng(2)
    xyz, centre = lattice(rng, 300, 3, high=7), lattice(rng, 50, 3, high=7)
    for a, b in zip(three_nn(xyz + 1024, centre + 1024), three_nn(xyz, centre), strict=True):
        assert torch.equal(a, b)


def test_random_lattices_agree_with_the_reference():
    rng = np.random.default_rng(3)
    for _ in range(150):
        sizes, centres = rng.integers(1, 60, 2).tolist(), rng.integers(1, 90, 2).tolist()
        xyz = lattice(rng, sum(sizes), 3, high=int(rng.integers(1, 60)))
        centre = lattice(rng, sum(centres), 3, high=int(rng.integers(1, 20)))
        centre[..., 2] *= float(rng.integers(0, 2))  # flat or not
        ends = (np.cumsum([0, *counts]) for counts in (sizes, centres))
        want_index, want_weight = reference.three_nn(
            xyz.numpy(), next(ends), centre.numpy(), next(ends)
        )
        index, weight = three_nn(xyz, centre, sizes, centres)
        np.testing.assert_array_equal(index, want_index)
        np.testing.assert_allclose(weight, want_weight, atol=1e-7)


def test_a_surface_agrees_with_a_kd_tree():
    spatial = pytest.importorskip("scipy.spatial", reason="needs SciPy, of the test extra")
    xyz = part()
    centre = xyz[::30]
    want, _ = spatial.cKDTree(centre.double()).query(xyz.double(), k=3)
    found = centre[three_nn(xyz, centre)[0]].double()
    got = torch.linalg.norm(found - xyz[:, None].double(), dim=-1)
    # Neighbours may swap where float32 distances are equal; the distances are the same.
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_clouds_without_points_give_no_rows_and_need_no_centres():
    index, weight = three_nn(torch.zeros(0, 3), torch.zeros(5, 3), [0, 0], [5, 0])
    assert index.shape == weight.shape == (0, 3)


def test_clouds_do_not_mix():
    rng = np.random.default_rng(4)
    xyz, centre = lattice(rng, 90, 3, high=5), lattice(rng, 40, 3, high=6)
    got = three_nn(xyz, centre, [50, 0, 40], [30, 2, 8])
    want = zip(three_nn(xyz[:50], centre[:30]), three_nn(xyz[50:], centre[32:]), strict=True)
    for g, parts in zip(got, want, strict=True):
        assert torch.equal(g, torch.cat(parts))


def test_far_points_and_far_centres_cost_little(fastest):
    """Work grows with the centres around a point, not with the cloud's extent."""
    xyz = part(20_000)
    centre = xyz[::20]
    far, far_centre = xyz.clone(), centre.clone()
    far[-1] = far_centre[-1] = 50
    beside = centre + torch.tensor([0.5, 0, 0])
    equal = torch.full_like(centre, 0.4)
    normal, with_far, from_beside, of_many, of_equal = fastest(
        lambda: three_nn(xyz, centre),
        lambda: three_nn(far, far_centre),
        lambda: three_nn(xyz, beside),
        lambda: three_nn(xyz, xyz),
        lambda: three_nn(xyz, equal),
    )
    # Measured ratios are 1 to 1.3; cells of equal size had 7 and 40. Generous: machines are busy.
    assert with_far < 4 * normal
    assert from_beside < 5 * normal
    assert of_equal < 3 * normal  # a search that looked at all of them had 14
    assert of_many < 8 * normal  # 20 times as many centres; measured: 2


def test_more_points_than_are_searched_at_a_time_agree_with_whole_arrays():
    rng = np.random.default_rng(9)
    xyz, centre = lattice(rng, 20_011, 3, high=40), lattice(rng, 70, 3, high=40)
    d2 = ((xyz[:, None] - centre) ** 2).sum(-1)  # small integers: exact
    want = d2.sort(dim=1, stable=True).indices[:, :3]
    assert torch.equal(three_nn(xyz, centre)[0], want)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"xyz": torch.zeros(1, 4, 3)}, ValueError, r"three_nn: xyz must be \(N, 3\), got \(1, 4,"),
        ({"xyz": torch.zeros(4, 3).double()}, TypeError, "three_nn: xyz must be torch.float32"),
        ({"centre": torch.zeros(2, 2)}, ValueError, r"centre must be \(M, 3\), got \(2, 2\)"),
        ({"ptr": torch.tensor([0, 3])}, ValueError, "three_nn: ptr must ascend from 0 to N=4"),
        ({"centre_ptr": torch.tensor([0, 3])}, ValueError, "centre_ptr must ascend from 0 to M=2"),
        (
            {"ptr": torch.tensor([0, 1, 4]), "centre_ptr": torch.tensor([0, 2, 2])},
            ValueError,
            "three_nn: centre must have at least one for each cloud, got none for cloud 1",
        ),
        ({"xyz": torch.full((4, 3), torch.nan)}, ValueError, "three_nn: xyz must be finite"),
        ({"centre": torch.full((2, 3), torch.inf)}, ValueError, "centre must be finite, got"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    args = {
        "xyz": torch.zeros(4, 3),
        "ptr": torch.tensor([0, 4]),
        "centre": torch.zeros(2, 3),
        "centre_ptr": torch.tensor([0, 2]),
    }
    with pytest.raises(error, match=message):
        ops.three_nn(**{**args, **change})
