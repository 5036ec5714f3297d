import numpy as np
import pytest
import torch

from cmad import ops
from cmad.testing import reference
from cmad.testing.devices import DEVICES, has, running_on
from cmad.testing.inputs import part_of


def fps(xyz, k, sizes=None, **more):
    """Pick from clouds of these sizes, or of one cloud; (B, k) or (k,)."""
    picked = ops.fps(xyz, torch.tensor([0, *np.cumsum(sizes or [len(xyz)])]), k, **more)
    return picked if sizes else picked[0]


def lattice(seed, n, high=6):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(-high, high, (n, 3)).astype(np.float32))


def surface(seed, n=500):
    return torch.from_numpy(np.random.default_rng(seed).random((n, 3)).astype(np.float32))


def test_points_on_a_line_are_picked_ends_first():
    xyz = torch.tensor([[0.0, 0, 0], [4, 0, 0], [10, 0, 0], [7, 0, 0]])
    # 10 is 10 away from 0; then 4 is 4 away from 0, 7 only 3 from 10.
    assert fps(xyz, 4).tolist() == [0, 2, 1, 3]


def test_four_equally_far_points_are_picked_in_either_order_of_ties():
    xyz = torch.tensor([[0.0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    assert fps(xyz, 2).tolist() == [0, 1]
    # Blocks of 4: slots 1, 2, 3, 0 have the bit-reversed order 2, 1, 3, 0.
    assert fps(xyz, 2, ties="published").tolist() == [0, 4]
    assert fps(xyz[:4], 2, ties="published").tolist() == [0, 2]


def test_published_blocks_are_of_at_most_512_points():
    xyz = torch.zeros(1100, 3)
    xyz[[517, 1029]] = 1  # the same slot of 512, so the lower index; not the same of 1024
    assert fps(xyz, 2, ties="published").tolist() == [0, 517]


@pytest.mark.parametrize("ties", ["lowest", "published"])
def test_fewer_picks_are_a_prefix_of_more(ties):
    xyz = lattice(1, 300)
    all_picks = fps(xyz, 300, ties=ties)
    for k in (1, 2, 37, 299):
        assert torch.equal(fps(xyz, k, ties=ties), all_picks[:k])


def test_order_of_the_other_points_does_not_matter():
    xyz = surface(2)
    order = torch.from_numpy(np.r_[0, 1 + np.random.default_rng(3).permutation(499)])
    assert torch.equal(order[fps(xyz[order], 100)], fps(xyz, 100))


def test_translation_and_scaling_by_powers_of_two_change_nothing():
    xyz = lattice(4, 300)
    assert torch.equal(fps(xyz + 1024, 120), fps(xyz, 120))
    assert torch.equal(fps(xyz * 2**-9, 120), fps(xyz, 120))


def test_clouds_of_a_batch_do_not_mix():
    clouds = [surface(seed, n) for seed, n in enumerate((500, 50, 73))]
    got = fps(torch.cat(clouds), 50, [500, 50, 73])
    assert torch.equal(got, torch.stack([fps(one, 50) for one in clouds]))


def test_published_blocks_are_those_of_each_cloud():
    clouds = [lattice(n, n, high=3) for n in (700, 9, 100)]
    got = fps(torch.cat(clouds), 9, [700, 9, 100], ties="published")
    assert torch.equal(got, torch.stack([fps(one, 9, ties="published") for one in clouds]))


def test_distances_above_1e10_square_metres_are_compared_too():
    xyz = torch.tensor([[0.0, 0, 0], [2e5, 0, 0], [3e6, 0, 0], [1e6, 0, 0]])
    assert fps(xyz, 4).tolist() == [0, 2, 3, 1]


def test_picks_are_distinct_while_points_are():
    assert len(set(fps(surface(5), 500).tolist())) == 500


def test_a_skipped_point_is_picked_only_as_the_first():
    xyz = surface(6)
    xyz[0] = 0
    near = (xyz**2).sum(-1) <= 0.3
    assert 0 < int(near.sum()) < 400
    picked = fps(xyz, 100, skip=0.3)
    assert picked[0] == 0
    assert not near[picked[1:]].any()
    assert fps(xyz, 100, skip=3.0).tolist() == [0] * 100
    assert torch.equal(fps(xyz, 100, skip=-1.0), fps(xyz, 100))


def test_a_point_at_the_skip_distance_is_skipped_and_compared_in_double():
    xyz = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0.25, 0, 0]])
    assert fps(xyz, 2, skip=0.25).tolist() == [0, 0]
    assert fps(xyz, 2, skip=0.25 - 1e-12).tolist() == [0, 1]


@pytest.mark.parametrize("ties", ["lowest", "published"])
def test_random_lattices_agree_with_the_reference(ties):
    rng = np.random.default_rng(7)
    for seed in range(120):
        sizes = rng.integers(1, 150, rng.integers(1, 4)).tolist()
        xyz = lattice(seed, sum(sizes), high=int(rng.integers(1, 6)))
        k = int(rng.integers(1, min(sizes) + 1))
        skip = [None, 0.0, 3.0][seed % 3]
        ptr = np.cumsum([0, *sizes])
        want = reference.fps(xyz.numpy(), ptr, k, ties=ties, skip=skip)
        np.testing.assert_array_equal(fps(xyz, k, sizes, ties=ties, skip=skip), want)


def test_more_points_than_a_published_block_agree_with_the_reference():
    for n in (511, 512, 513, 1400):
        xyz = lattice(n, n, high=4)
        want = reference.fps(xyz.numpy(), np.array([0, n]), 60, ties="published")[0]
        np.testing.assert_array_equal(fps(xyz, 60, ties="published"), want)


def brute_force(xyz, k):
    """Pick by whole arrays, in the op's own expression for the distance."""
    nearest, picked = torch.full((len(xyz),), torch.inf), [0]
    for _ in range(1, k):
        x, y, z = (xyz - xyz[picked[-1]]).square().unbind(-1)
        nearest = torch.minimum(nearest, (x + y) + z)
        picked.append(int(nearest.argmax()))  # the first of several
    return picked


def part(n, seed=0):
    return torch.from_numpy(part_of(n)(np.random.default_rng(seed)))


def test_many_tiles_give_the_picks_of_brute_force():
    for xyz in (
        part(9000),
        lattice(8, 9000, high=40),
        part(9000).flip(0),
        part(5000).round(decimals=3),
    ):
        assert fps(xyz, 400).tolist() == brute_force(xyz, 400)


@pytest.mark.parametrize("device", [device for device in DEVICES if has(device, "fps")])
def test_clouds_of_very_different_sizes_are_picked_as_by_brute_force(device):
    """A GPU's tile of the first has two runs of points, most of its threads none of the others."""
    clouds = [lattice(8, 33_000, high=40), lattice(9, 4, high=2), part(70).round(decimals=3)]
    xyz = torch.cat(clouds)
    where = "cpu" if device == "emulated" else device
    with running_on(device):
        ptr = torch.tensor([0, 33_000, 33_004, 33_074], device=where)
        got = ops.fps(xyz.to(where), ptr, 4, check=False)
    assert got.tolist() == [brute_force(one, 4) for one in clouds]


def test_distances_that_overflow_or_vanish_leave_the_lowest_index():
    wide = 3e38 * torch.from_numpy(np.random.default_rng(9).choice([-1.0, 0, 1], (3000, 3))).float()
    assert fps(wide, 60).tolist() == brute_force(wide, 60)
    tiny = 1e-30 * surface(9, 3000)
    assert fps(tiny, 5).tolist() == [0] * 5


def test_far_and_equal_points_cost_little(fastest):
    xyz = part(20_000)
    far = xyz.clone()
    far[-1] = 50
    order = torch.from_numpy(np.random.default_rng(0).permutation(20_000))
    normal, with_far, equal, shuffled, brute = fastest(
        lambda: fps(xyz, 500),
        lambda: fps(far, 500),
        lambda: fps(torch.full((20_000, 3), 0.4), 500),
        lambda: fps(xyz[order], 500),
        lambda: brute_force(xyz, 60),
    )
    # Measured: 1.5, 0.5, 1.1; brute force in C++ is 8 times slower. Generous: machines are busy.
    assert with_far < 4 * normal
    assert equal < 3 * normal
    assert shuffled < 4 * normal
    assert normal < brute


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"xyz": torch.zeros(1, 4, 3)}, ValueError, r"fps: xyz must be \(N, 3\), got \(1, 4, 3\)"),
        ({"xyz": torch.zeros(4, 3).double()}, TypeError, "fps: xyz must be torch.float32, got"),
        ({"xyz": np.zeros((4, 3))}, TypeError, "fps: xyz must be a torch tensor, got ndarray"),
        ({"xyz": torch.full((4, 3), torch.nan)}, ValueError, "fps: xyz must be finite, got NaN"),
        ({"ptr": torch.tensor([0, 4]).int()}, TypeError, "fps: ptr must be torch.int64, got"),
        ({"ptr": torch.tensor([]).long()}, ValueError, r"fps: ptr must be \(B\+1\), got \(0,\)"),
        ({"ptr": torch.tensor([0, 3])}, ValueError, "fps: ptr must ascend from 0 to N=4"),
        ({"ptr": torch.tensor([1, 4])}, ValueError, "fps: ptr must ascend from 0 to N=4"),
        ({"ptr": torch.tensor([0, 3, 2, 4])}, ValueError, "fps: ptr must ascend from 0 to N=4"),
        ({"k": 0}, ValueError, "fps: k must be at least 1, got 0"),
        ({"k": 5}, ValueError, r"fps: k must be in \[1, 4\], got 5"),
        ({"ptr": torch.tensor([0, 1, 4])}, ValueError, r"fps: k must be in \[1, 1\], got 2"),
        ({"ties": "any"}, ValueError, "fps: ties must be 'lowest' or 'published', got 'any'"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    with pytest.raises(error, match=message):
        ops.fps(**{"xyz": torch.zeros(4, 3), "ptr": torch.tensor([0, 4]), "k": 2, **change})
