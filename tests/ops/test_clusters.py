import numpy as np
import pytest
import torch

from cmad.ops import clusters
from cmad.testing import reference
from cmad.testing.inputs import surface


def lattice(rng, n, high):
    return torch.from_numpy(rng.integers(-high, high, (n, 3)).astype(np.float32))


def on_x(*x):
    return torch.tensor([[float(v), 0, 0] for v in x])


def test_two_rows_a_border_point_and_noise():
    # 2.0 is within 1 of 1.0, which has three points so near; 2.0 has only two.
    xyz = on_x(9, 0, 0.5, 1, 2, 20, 20.5, 21)
    assert clusters(xyz, 1.0, 3).tolist() == [-1, 0, 0, 0, 0, 1, 1, 1]


def test_a_neighbour_at_exactly_eps_counts():
    assert clusters(on_x(0, 2), 2.0, 2).tolist() == [0, 0]
    assert clusters(on_x(0, 2), 1.9999, 2).tolist() == [-1, -1]


def test_points_just_beyond_eps_along_a_diagonal_are_not_neighbours():
    near, far = torch.full((1, 3), 0.001), torch.full((1, 3), 0.001 + 1.005 / 3**0.5)
    assert clusters(torch.cat([near, far]), 1.0, 2).tolist() == [-1, -1]


def test_a_border_point_between_two_clusters_joins_the_lower_numbered():
    rows = [2, 3, 4, 5, 0, -2, -3, -4, -5]  # 0 has three points within 2, the inner ends four
    assert clusters(on_x(*rows), 2.0, 4).tolist() == [0] * 5 + [1] * 4
    assert clusters(on_x(*rows[::-1]), 2.0, 4).tolist() == [0] * 5 + [1] * 4


def test_border_points_do_not_join_clusters():
    label = clusters(on_x(2, 3, 4, 5, 0, -2, -3, -4, -5), 2.0, 4)
    assert label[0] != label[-1]


def test_with_one_point_enough_nothing_is_noise():
    label = clusters(lattice(np.random.default_rng(0), 100, 9), 1.0, 1)
    assert int(label.min()) == 0
    assert label.unique().tolist() == list(range(int(label.max()) + 1))


def test_order_of_the_points_changes_the_numbering_only():
    rng = np.random.default_rng(1)
    xyz = lattice(rng, 300, 9)
    order = torch.from_numpy(rng.permutation(300))
    label = torch.empty(300, dtype=torch.int64)
    label[order] = clusters(xyz[order], 2.0, 5)
    want = clusters(xyz, 2.0, 5)
    assert torch.equal(label < 0, want < 0)
    core = (torch.cdist(xyz, xyz) <= 2).sum(1) >= 5  # border points may join either neighbour
    assert len(want[core].unique()) > 1
    pairs = torch.stack([label[core], want[core]], 1).unique(dim=0)
    assert len(pairs) == len(label[core].unique()) == len(want[core].unique())


def test_translation_and_scaling_by_powers_of_two_change_nothing():
    xyz = lattice(np.random.default_rng(2), 300, 8)
    want = clusters(xyz, 2.0, 5)
    assert torch.equal(clusters(xyz + 1024, 2.0, 5), want)
    assert torch.equal(clusters(xyz * 2**-9, 2.0 * 2**-9, 5), want)


def test_random_lattices_agree_with_the_reference():
    rng = np.random.default_rng(3)
    for _ in range(200):
        xyz = lattice(rng, int(rng.integers(0, 150)), int(rng.integers(1, 12)))
        eps, enough = float(rng.choice([1, 1.5, 2, 3, 4.5])), int(rng.integers(1, 12))
        want = reference.clusters(xyz.numpy(), eps, enough)
        np.testing.assert_array_equal(clusters(xyz, eps, enough), want)


def test_random_clouds_of_real_numbers_agree_with_the_reference():
    rng = np.random.default_rng(4)
    for _ in range(100):
        xyz = rng.normal(size=(int(rng.integers(1, 200)), 3)).astype(np.float32)
        eps, enough = float(rng.uniform(0.05, 0.8)), int(rng.integers(1, 12))
        want = reference.clusters(xyz, eps, enough)
        np.testing.assert_array_equal(clusters(torch.from_numpy(xyz), eps, enough), want)


def test_a_surface_and_scattered_clouds_agree_with_scikit_learn():
    cluster = pytest.importorskip("sklearn.cluster", reason="needs scikit-learn, of the test extra")
    rng = np.random.default_rng(5)
    part = surface(rng, 100, 5000)[0]
    part = part[rng.random(5000) < 0.4]  # holes, so that there are border points and noise
    scattered = rng.normal(size=(2000, 3)).astype(np.float32)
    for xyz, eps, enough in ((part, 0.004, 6), (part, 0.006, 12), (scattered, 0.25, 6)):
        want = cluster.DBSCAN(eps=eps, min_samples=enough).fit(xyz.astype(np.float64)).labels_
        assert want.min() < 0 < want.max() + 1
        np.testing.assert_array_equal(clusters(torch.from_numpy(xyz), eps, enough), want)


@pytest.mark.parametrize("far", [1e6, 1e7, 1e9, 1e12, 2e17])
@pytest.mark.parametrize("eps", [0.5, 3e5])
def test_labels_far_from_the_origin_agree_with_the_reference(far, eps):
    rng = np.random.default_rng(7)
    xyz = rng.integers(-2, 3, (120, 3)).astype(np.float32)
    xyz[:60] *= np.float32(far)  # coarser there than eps, or not
    xyz[60:] += (rng.random((60, 1)) < 0.5) * np.float32(far)
    for enough in (1, 2, 5):
        want = reference.clusters(xyz, eps, enough)
        np.testing.assert_array_equal(clusters(torch.from_numpy(xyz), eps, enough), want)


@pytest.mark.parametrize("eps", [1e-18, 3e-10, 1e9, 1e18])
def test_smallest_and_largest_eps_agree_with_the_reference(eps):
    xyz = np.random.default_rng(8).uniform(-4, 4, (200, 3)) * eps
    want = reference.clusters(xyz.astype(np.float32), eps, 4)
    got = clusters(torch.from_numpy(xyz.astype(np.float32)), eps, 4)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"xyz": torch.zeros(1, 4, 3)}, ValueError, r"clusters: xyz must be \(N, 3\), got \(1, 4,"),
        ({"xyz": torch.zeros(4, 3).half()}, TypeError, "clusters: xyz must be torch.float32, got"),
        (
            {"xyz": torch.zeros(1, 3).expand(2**30, 3)},
            ValueError,
            r"must have fewer than 2\^30 po",
        ),
        ({"xyz": torch.full((4, 3), torch.inf)}, ValueError, "clusters: xyz must be finite, got"),
        ({"eps": 0.0}, ValueError, r"eps must be in \[1e-18, 1e18\] metres, got 0.0"),
        ({"eps": float("nan")}, ValueError, r"eps must be in \[1e-18, 1e18\] metres, got nan"),
        ({"eps": 1e-60}, ValueError, r"eps must be in \[1e-18, 1e18\] metres, got 1e-60"),
        ({"eps": 2e18}, ValueError, r"eps must be in \[1e-18, 1e18\] metres, got 2e\+18"),
        ({"min_points": 0}, ValueError, "clusters: min_points must be at least 1, got 0"),
        (
            {"xyz": torch.full((4, 3), -1e19), "eps": 0.5},
            ValueError,
            r"clusters: xyz must not exceed 1e18 times eps, got 1e\+19",
        ),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    with pytest.raises(error, match=message):
        clusters(**{"xyz": torch.zeros(4, 3), "eps": 0.5, "min_points": 3, **change})
