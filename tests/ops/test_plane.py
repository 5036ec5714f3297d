import numpy as np
import pytest
import torch

from cmad.ops import plane
from cmad.testing import reference
from cmad.testing.cases import to_torch
from cmad.testing.devices import DEVICES, has, running_on


def sheet(rng, normal, d, n=300, noise=5e-4, outliers=60):
    """Points near the plane normal·p + d = 0, in metres, with uniform outliers first."""
    normal = np.asarray(normal) / np.linalg.norm(normal)
    xyz = rng.uniform(-0.2, 0.2, (n, 3))
    xyz -= (xyz @ normal + d + noise * rng.standard_normal(n))[:, None] * normal
    xyz[:outliers] = rng.uniform(-0.5, 0.5, (outliers, 3))
    return torch.from_numpy(xyz.astype(np.float32))


def test_five_points_at_height_two_outvote_one_above():
    xyz = torch.tensor([[0.0, 0, 2], [1, 0, 2], [0, 1, 2], [1, 1, 2], [3, 2, 2], [0, 0, 5]])
    result, support = plane(xyz, 0.1)
    np.testing.assert_allclose(result, [0, 0, -1, 2], atol=1e-12)
    assert (result.dtype, support) == (torch.float64, 5)


def test_threshold_is_exclusive():
    # The plane through most points is z = 2 exactly; one point is exactly 0.25 above.
    xyz = torch.tensor([[0.0, 0, 2], [1, 0, 2], [0, 1, 2], [1, 1, 2], [0.5, 0.5, 2.25]])
    assert plane(xyz, 0.25)[1] == 4
    assert plane(xyz, 0.2500001)[1] == 5


@pytest.mark.parametrize("normal", [(0, 0, -1), (1, 2, 3), (-1, 0.1, 0), (0, 1, 0)])
@pytest.mark.parametrize("samples", [3, 50])
def test_a_noisy_sheet_among_outliers_is_found(normal, samples):
    outliers = 60 if samples == 3 else 3  # of 50 samples some are outliers else
    xyz = sheet(np.random.default_rng(0), normal, 0.45, outliers=outliers)
    result, support = plane(xyz, 0.004, samples=samples)
    want = np.append(np.asarray(normal) / np.linalg.norm(normal), 0.45)
    np.testing.assert_allclose(result, want, atol=1e-3)  # 0.5 mm of noise over 0.4 m, 240 points
    assert support >= 240
    assert float(torch.linalg.norm(result[:3])) == pytest.approx(1, abs=1e-12)


def test_refit_is_the_least_squares_plane_of_the_supporters():
    xyz = sheet(np.random.default_rng(1), (0.1, 0.2, -1), 0.4, outliers=0)
    xyz[:60, 2] += 0.2  # far beyond the threshold, and the rest well within it
    result, support = plane(xyz, 0.02)
    near = xyz[60:].double()
    normal = torch.linalg.svd(near - near.mean(0)).Vh[2]
    assert support == 240
    assert abs(float(normal @ result[:3])) == pytest.approx(1, abs=1e-12)
    assert float(near.mean(0) @ result[:3] + result[3]) == pytest.approx(0, abs=1e-12)


def test_scaling_by_a_power_of_two_scales_the_distance_only():
    xyz = sheet(np.random.default_rng(2), (0.3, 0.2, -1), 0.4)
    result, support = plane(xyz, 0.004)
    scaled, same = plane(xyz * 1024, 0.004 * 1024)
    np.testing.assert_allclose(scaled / torch.tensor([1, 1, 1, 1024]), result, atol=1e-12)
    assert same == support


def test_order_of_the_points_hardly_matters():
    xyz = sheet(np.random.default_rng(3), (0.3, 0.2, -1), 0.4)
    order = torch.from_numpy(np.random.default_rng(4).permutation(len(xyz)))
    np.testing.assert_allclose(plane(xyz[order], 0.004)[0], plane(xyz, 0.004)[0], atol=1e-3)


def test_a_seed_repeats_and_near_seeds_draw_anew():
    xyz = sheet(np.random.default_rng(5), (0.3, 0.2, -1), 0.4, noise=5e-3)
    support = [plane(xyz, 0.004, tries=1, seed=seed)[1] for seed in range(23)]
    assert support == [plane(xyz, 0.004, tries=1, seed=seed)[1] for seed in range(23)]
    assert len(set(support)) > 10
    # If seed s + 3 repeated the second draw of seed s, two tries would be the better of both.
    both = [plane(xyz, 0.004, tries=2, seed=seed)[1] for seed in range(20)]
    assert both != [max(support[seed], support[seed + 3]) for seed in range(20)]


@pytest.mark.parametrize("n", [4095, 4096, 4097, 20_000])
def test_supporters_of_large_clouds_are_all_counted(n):
    xyz = sheet(np.random.default_rng(9), (0.3, 0.2, -1), 0.4, n=n, noise=0, outliers=0)
    assert plane(xyz, 0.004)[1] == n


def test_more_tries_never_lose_support():
    xyz = sheet(np.random.default_rng(6), (0.3, 0.2, -1), 0.4, noise=5e-3)
    support = [plane(xyz, 0.002, tries=tries)[1] for tries in (1, 3, 10, 50, 400)]
    assert support == sorted(support)
    assert support[0] < support[-1]


@pytest.mark.parametrize("device", [d for d in DEVICES if has(d, "plane")])
def test_points_on_a_line_have_no_plane_on_any_device(device):
    xyz = to_torch({"xyz": np.arange(30, dtype=np.float32).reshape(10, 3)}, device)["xyz"]
    with running_on(device), pytest.raises(ValueError, match="no plane in 9 tries"):
        plane(xyz, 0.1, tries=9)


def test_the_origin_lies_on_the_positive_side():
    for d in (-0.4, 0.4):
        xyz = sheet(np.random.default_rng(7), (0.3, 0.2, -1), d)
        assert float(plane(xyz, 0.004)[0][3]) == pytest.approx(0.4, abs=1e-3)


def test_random_clouds_agree_with_the_reference():
    rng = np.random.default_rng(8)
    for seed in range(60):
        n, samples = int(rng.integers(4, 60)), int(rng.integers(3, 7))
        xyz = rng.integers(1, 12, (n, 3)).astype(np.float32)  # never the plane through the origin
        args = {"threshold": 0.3, "samples": samples, "tries": 40, "seed": seed}
        want, want_support = reference.plane(xyz, **args)
        if abs(want[3]) < 1e-6:
            continue  # through the origin: the sign is not defined
        got, support = plane(torch.from_numpy(xyz), **args)
        np.testing.assert_allclose(got, want, atol=1e-9)
        assert support == want_support


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"xyz": torch.zeros(1, 4, 3)}, ValueError, r"plane: xyz must be \(N, 3\), got \(1, 4, 3"),
        ({"xyz": torch.zeros(4, 3).double()}, TypeError, "plane: xyz must be torch.float32, got"),
        ({"xyz": torch.zeros(2, 3)}, ValueError, "plane: xyz must have at least 3 points, got 2"),
        (
            {"xyz": torch.zeros(1, 3).expand(2**31, 3)},
            ValueError,
            r"must have fewer than 2\^31 po",
        ),
        ({"xyz": torch.full((4, 3), torch.nan)}, ValueError, "plane: xyz must be finite, got NaN"),
        ({"xyz": torch.ones(9, 3)}, ValueError, "plane: no plane in 1000 tries, the 9 points lie"),
        (
            {"xyz": torch.arange(30.0).reshape(10, 3), "tries": 7},
            ValueError,
            "plane: no plane in 7 tries, the 10 points lie on a line",
        ),
        ({"threshold": 0.0}, ValueError, "plane: threshold must be positive metres, got 0.0"),
        ({"threshold": float("nan")}, ValueError, "threshold must be positive metres, got nan"),
        ({"samples": 2}, ValueError, "needs samples >= 3, tries >= 1 and seed >= 0, got 2, 1000"),
        ({"tries": 0}, ValueError, "needs samples >= 3, tries >= 1 and seed >= 0, got 3, 0, 0"),
        ({"seed": -1}, ValueError, "needs samples >= 3, tries >= 1 and seed >= 0, got 3, 1000, -1"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    with pytest.raises(error, match=message):
        plane(**{"xyz": torch.eye(3), "threshold": 0.1, **change})
