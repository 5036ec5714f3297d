"""Point feature histograms: what they count, by hand, and what is refused."""

import math

import numpy as np
import pytest
import torch

from cmad.ops import fpfh, group
from cmad.testing.histogram_cases import wavy


def of(xyz, k, **sizes):
    xyz = torch.as_tensor(xyz, dtype=torch.float32)
    ptr = torch.tensor([0, len(xyz)])
    return fpfh(xyz, ptr, group(xyz, ptr, xyz, ptr, k), **sizes)


def test_two_points_by_hand():
    # Fewer than three neighbours: both normals are (0, 0, 1). The line is at 60 degrees to them, so
    # that the third angle's cosine is 0.5 from the first point, and -(-0.5) from the other, whose
    # roles are not exchanged. The first two angles are 0: the middle bins.
    height, along = 0.05 * 0.5, 0.05 * math.sqrt(0.75)
    got = of([[0, 0, 0.5], [along, 0, 0.5 + height]], 2)
    simple = torch.zeros(2, 33, dtype=torch.float64)
    simple[:, 5] = simple[:, 16] = 100
    simple[0, 22 + math.floor(11 * 0.75)] = simple[1, 22 + math.floor(11 * 0.25)] = 100
    torch.testing.assert_close(got, simple + simple.flip(0), rtol=0, atol=1e-12)


def test_each_angle_counts_to_two_hundred():
    got = of(wavy(np.random.default_rng(0), 200), 30)
    torch.testing.assert_close(
        got.view(-1, 3, 11).sum(2), torch.full((200, 3), 200.0, dtype=torch.float64)
    )
    assert (got >= 0).all()


def test_neighbours_out_of_reach_do_not_count():
    xyz = wavy(np.random.default_rng(1), 80)
    far = np.concatenate([xyz, xyz + np.float32([9, 0, 0])])
    alone = of(xyz, 80, radius=0.1)
    torch.testing.assert_close(of(far, 120, radius=0.1)[:80], alone, rtol=0, atol=1e-9)
    assert (of(xyz[:1], 1) == 0).all()


def test_a_moved_cloud_has_the_same_histograms():
    xyz = wavy(np.random.default_rng(2), 150)
    moved = xyz + np.float64([[0.25, -0.5, 1]])
    off = (of(moved, 30) - of(xyz, 30)).abs().sum(1)
    assert off.median() < 1  # of 600: float32 rounds the moved points, and some change bins


def test_clouds_of_a_batch_are_those_one_by_one():
    clouds = [wavy(np.random.default_rng(s), n) for s, n in ((3, 40), (4, 25), (5, 60))]
    xyz = torch.from_numpy(np.concatenate(clouds))
    ptr = torch.tensor([0, 40, 65, 125])
    got = fpfh(xyz, ptr, group(xyz, ptr, xyz, ptr, 20))
    torch.testing.assert_close(got, torch.cat([of(c, 20) for c in clouds]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"radius": 0.0}, "radius must be positive, got 0"),
        ({"normal_radius": -1.0}, "normal_radius must be positive"),
        ({"normal_neighbours": 0}, "normal_neighbours must be positive, got 0"),
        ({"index": torch.zeros(4, 0, dtype=torch.int64)}, "index's K must be positive, got 0"),
        ({"index": torch.full((4, 2), 4)}, "index must name points of each point's own cloud"),
        ({"index": torch.full((4, 2), -1)}, "index must name points"),
        ({"ptr": torch.tensor([0, 3])}, "ptr"),
        ({"xyz": torch.full((4, 3), math.nan)}, "finite"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    given = {
        "xyz": torch.rand(4, 3),
        "ptr": torch.tensor([0, 4]),
        "index": torch.zeros(4, 2, dtype=torch.int64),
    }
    with pytest.raises(ValueError, match=said):
        fpfh(**{**given, **change})
