"""Planes around every pixel: one worked by hand, which way things bend, and what is refused."""

import pytest
import torch

from cmad.ops import local_geometry

NAN = float("nan")


def grid(size=9, z=lambda x, y: 0.5 + 0 * x):
    v, u = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    x, y = (u - size // 2) * 1e-3, (v - size // 2) * 1e-3
    return torch.stack([x, y, z(x, y)], -1)[None]


def test_by_hand():
    xyz = grid(3)
    xyz[0, 1, 1, 2] -= 9e-3  # towards the camera
    got = local_geometry(xyz, (1,))[0, 1, 1]
    # The plane is level, 1 mm before the others, of which all nine have the mean; var x = 2/3 mm².
    # Deviation: sqrt((8 * 1 + 64) / 9) mm.
    want = torch.tensor([0, 0, -1, 0, 8**0.5 / (4 / 3) ** 0.5])
    torch.testing.assert_close(got, want, atol=1e-4, rtol=0)  # 0.5 m in float32: 3e-8 m
    assert torch.equal(local_geometry(xyz, (1, 1))[0, 1, 1], got.repeat(2))


def test_moved_and_turned_surfaces_have_the_same_bend_and_roughness():
    xyz = grid(z=lambda x, y: 0.5 + 20 * x * x + 5 * x * y)
    want = local_geometry(xyz, (2, 3))
    turned = torch.stack([-xyz[..., 1], xyz[..., 0], xyz[..., 2]], -1) + torch.tensor([0.5, -1, 2])
    got = local_geometry(turned, (2, 3))
    for k in (3, 4, 8, 9):
        torch.testing.assert_close(got[..., k], want[..., k], atol=2e-4, rtol=0)  # 2.5 m: 1e-7 m
    torch.testing.assert_close(got[..., 1], want[..., 0], atol=2e-4, rtol=0)


def test_maps_of_a_batch_are_those_one_by_one_and_a_lost_coordinate_is_no_point():
    xyz = torch.cat([grid(), grid(z=lambda x, y: 0.4 + x * y)])
    xyz[1, 2, 3, 1] = NAN
    got = local_geometry(xyz, (2,))
    assert torch.equal((got == 0).all(-1).nonzero(), torch.tensor([[1, 2, 3]]))
    one_by_one = torch.cat([local_geometry(one[None], (2,)) for one in xyz])
    assert torch.equal(got, one_by_one)


@pytest.mark.parametrize(
    ("xyz", "radii", "error", "message"),
    [
        (torch.zeros(4, 4, 3), (2,), ValueError, r"xyz must be \(B, H, W, 3\), got \(4, 4, 3\)"),
        (torch.zeros(1, 4, 4, 3).double(), (2,), TypeError, "xyz must be torch.float32"),
        (torch.zeros(1, 4, 4, 3), (2, 0), ValueError, r"radii must be in \[1, 256\], got \[2, 0\]"),
        (torch.zeros(1, 4, 4, 3), (257,), ValueError, r"radii must be in \[1, 256\], got \[257\]"),
        (torch.full((1, 4, 4, 3), torch.inf), (2,), ValueError, "finite or NaN, got infinity"),
    ],
)
def test_wrong_arguments_are_refused(xyz, radii, error, message):
    with pytest.raises(error, match=f"local_geometry: .*{message}"):
        local_geometry(xyz, radii)
