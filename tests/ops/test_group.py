import numpy as np
import pytest
import torch

from cmad import ops
from cmad.testing import reference
from cmad.testing.devices import DEVICES, has, running_on
from cmad.testing.inputs import surface


def group(xyz, centre, k, sizes=None, centres=None):
    """Group clouds of these sizes with so many centres each, or one cloud."""
    ptr = torch.tensor([0, *np.cumsum(sizes or [len(xyz)])])
    return ops.group(xyz, ptr, centre, torch.tensor([0, *np.cumsum(centres or [len(centre)])]), k)


def wanted(xyz, centre, k):
    ends = np.array([0, len(xyz)]), np.array([0, len(centre)])
    return reference.group(xyz.numpy(), ends[0], centre.numpy(), ends[1], k)


def lattice(rng, *shape, high):
    return torch.from_numpy(rng.integers(-high, high, shape).astype(np.float32))


def part(n=3000):
    return torch.from_numpy(surface(np.random.default_rng(0), 224, n)[0])


def test_the_nearest_of_four_points_come_first():
    xyz = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]])
    centre = torch.tensor([[0.0, 0, 0], [0, 0, 2]])
    # Squared distances 0 1 4 9 and 4 5 8 1.
    assert group(xyz, centre, 3).tolist() == [[0, 1, 2], [3, 0, 1]]


def test_equal_distances_are_ordered_by_index():
    xyz = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 0], [-1, 0, 0], [0, 0, 0]])
    assert group(xyz, torch.zeros(1, 3), 5).tolist() == [[2, 4, 0, 1, 3]]


def test_a_centre_of_the_cloud_is_its_own_first_neighbour():
    xyz = part()
    picked = torch.arange(0, 3000, 7)
    assert torch.equal(group(xyz, xyz[picked], 1)[:, 0], picked)


def test_fewer_neighbours_are_a_prefix_of_more():
    xyz = lattice(np.random.default_rng(1), 200, 3, high=5)
    assert torch.equal(group(xyz, xyz[:20], 9), group(xyz, xyz[:20], 200)[:, :9])


def test_order_of_the_points_does_not_matter():
    xyz = torch.from_numpy(np.random.default_rng(2).random((900, 3)).astype(np.float32))
    order = torch.from_numpy(np.random.default_rng(3).permutation(900))
    want = group(xyz, xyz[:30], 40)
    assert torch.equal(order[group(xyz[order], xyz[:30], 40)], want)


def test_translation_and_scaling_by_powers_of_two_change_nothing():
    xyz = lattice(np.random.default_rng(4), 300, 3, high=6)
    want = group(xyz, xyz[:50], 32)
    assert torch.equal(group(xyz - 512, xyz[:50] - 512, 32), want)
    assert torch.equal(group(xyz * 2**-10, xyz[:50] * 2**-10, 32), want)


def test_centres_far_from_the_cloud_and_between_its_parts_find_the_nearest_points():
    rng = np.random.default_rng(5)
    xyz = torch.cat([lattice(rng, 80, 3, high=4) - 500, lattice(rng, 90, 3, high=4) + 500])
    centre = torch.tensor([[0.0, 0, 0], [1000, 1000, 1000], [-1000, 0, 7], [500, -500, 0]])
    np.testing.assert_array_equal(group(xyz, centre, 100), wanted(xyz, centre, 100))


def test_distances_that_overflow_float32_come_last_and_end_the_search():
    xyz = torch.zeros(6, 3)
    xyz[1:4] = 1e25
    assert group(xyz, torch.zeros(1, 3), 6).tolist() == [[0, 4, 5, 1, 2, 3]]


def test_many_points_with_many_equal_distances_agree_with_whole_arrays():
    rng = np.random.default_rng(10)
    for k in (1, 2, 5, 17, 40, 90):
        xyz = lattice(rng, 4000, 3, high=30) * torch.tensor([1.0, 1, 0])
        centre = lattice(rng, 150, 3, high=30)
        d2 = (centre[:, None] - xyz).square().sum(-1)  # small integers: exact
        assert torch.equal(group(xyz, centre, k), d2.argsort(dim=1, stable=True)[:, :k])


def test_of_many_equal_distances_the_lowest_indices_are_kept():
    rng = np.random.default_rng(8)
    wide = 3e38 * torch.from_numpy(rng.choice([-1.0, 0, 1], (3000, 3))).float()
    for xyz in (wide, 1e-30 * part(), torch.full((3000, 3), 0.4)):
        d2 = (xyz - xyz[5]).square().sum(-1)  # all are 0 or infinite
        assert group(xyz, xyz[5:6], 300)[0].tolist() == d2.argsort(stable=True)[:300].tolist()


@pytest.mark.parametrize("device", [device for device in DEVICES if has(device, "group")])
def test_near_points_that_few_threads_of_a_gpu_have_are_all_found(device):
    """More of them than there is room for are within the first bound (ops/group.cu)."""
    n = np.arange(2048)
    thread = n % 256 ^ n // 256 * 0x9E3779B9 % 2**32 >> 24
    xyz = (
        np.random.default_rng(9).integers(-3, 3, (2048, 3)) + np.where(thread < 90, 0, 50)[:, None]
    )
    xyz = torch.from_numpy(xyz.astype(np.float32))
    centre = torch.zeros(1, 3)
    ends = torch.tensor([0, 2048]), torch.tensor([0, 1])
    where = "cpu" if device == "emulated" else device
    with running_on(device):
        got = ops.group(*(x.to(where) for x in (xyz, ends[0], centre, ends[1])), 300)
    np.testing.assert_array_equal(got.cpu(), wanted(xyz, centre, 300))


def test_clouds_do_not_mix_and_may_have_no_centre():
    rng = np.random.default_rng(7)
    sizes, centres = [70, 20, 33], [9, 0, 14]
    xyz, centre = lattice(rng, 123, 3, high=5), lattice(rng, 23, 3, high=6)
    want = [group(xyz[:70], centre[:9], 20), group(xyz[90:], centre[9:], 20)]
    assert torch.equal(group(xyz, centre, 20, sizes, centres), torch.cat(want))


def test_random_lattices_agree_with_the_reference():
    rng = np.random.default_rng(6)
    for _ in range(150):
        n, g = (int(rng.integers(1, high)) for high in (120, 12))
        xyz = lattice(rng, n, 3, high=int(rng.integers(1, 20)))
        xyz[..., 2] *= float(rng.integers(0, 2))  # flat or not
        centre = lattice(rng, g, 3, high=int(rng.integers(1, 40)))
        k = int(rng.integers(1, n + 1))
        np.testing.assert_array_equal(group(xyz, centre, k), wanted(xyz, centre, k))


def test_a_surface_agrees_with_a_kd_tree():
    spatial = pytest.importorskip("scipy.spatial", reason="needs SciPy, of the test extra")
    xyz = part()
    centre = xyz[::11] + 2e-4
    want, _ = spatial.cKDTree(xyz.double()).query(centre.double(), k=64)
    found = xyz[group(xyz, centre, 64)].double()
    got = torch.linalg.norm(found - centre[:, None].double(), dim=-1)
    # Neighbours may swap where float32 distances are equal; the distances are the same.
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_far_points_and_far_centres_cost_little(fastest):
    """Work grows with the points around a centre, not with the cloud's extent."""
    xyz = part(20_000)
    centre = xyz[::40]
    far = xyz.clone()
    far[-1] = 50
    beside = centre + torch.tensor([0.5, 0, 0])
    equal = torch.full((20_000, 3), 0.4)
    normal, with_far, from_beside, of_equal, all_pairs = fastest(
        lambda: group(xyz, centre, 64),
        lambda: group(far, centre, 64),
        lambda: group(xyz, beside, 64),
        lambda: group(equal, centre, 64),
        # Not as a product of matrices: processors with units for these take a fifth of the time.
        lambda: torch.cdist(centre, xyz, compute_mode="donot_use_mm_for_euclid_dist"),
    )
    # Measured ratios are about 1; cells of equal size had 10 and 30. Generous: machines are busy.
    assert with_far < 4 * normal
    assert from_beside < 5 * normal
    assert of_equal < 3 * normal  # a search that looked at all of them had 20
    assert normal < all_pairs / 4  # measured: a thirtieth


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"xyz": torch.zeros(1, 4, 3)},
            ValueError,
            r"group: xyz must be \(N, 3\), got \(1, 4, 3\)",
        ),
        ({"centre": torch.zeros(2, 2)}, ValueError, r"centre must be \(G, 3\), got \(2, 2\)"),
        ({"centre": torch.zeros(2, 3).half()}, TypeError, "group: centre must be torch.float32"),
        ({"xyz": torch.full((4, 3), torch.inf)}, ValueError, "group: xyz must be finite, got"),
        ({"centre": torch.full((2, 3), torch.nan)}, ValueError, "group: centre must be finite"),
        ({"ptr": torch.tensor([0, 5])}, ValueError, "group: ptr must ascend from 0 to N=4"),
        ({"centre_ptr": torch.tensor([0, 1])}, ValueError, "centre_ptr must ascend from 0 to G=2"),
        (
            {"centre_ptr": torch.tensor([0, 1, 2])},
            ValueError,
            r"centre_ptr must be \(B\+1=2\), got \(3,\)",
        ),
        ({"k": 0}, ValueError, "group: k must be at least 1, got 0"),
        ({"k": 5}, ValueError, r"group: k must be in \[1, 4\], got 5"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    args = {
        "xyz": torch.zeros(4, 3),
        "ptr": torch.tensor([0, 4]),
        "centre": torch.zeros(2, 3),
        "centre_ptr": torch.tensor([0, 2]),
        "k": 2,
    }
    with pytest.raises(error, match=message):
        ops.group(**{**args, **change})
