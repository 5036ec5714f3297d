"""Surfaces: outlines, points in gaps, smoothing and normals, on shapes that tell what is right."""

import pytest
import torch

from cmad import surface


def tilted(size=40, slope=(0.3, -0.2), pitch=1e-3, z=0.5):
    """A plane seen from in front: z grows by the slopes along columns and rows."""
    v, u = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    x, y = (u - size / 2) * pitch, (v - size / 2) * pitch
    return torch.stack([x, y, z + slope[0] * x + slope[1] * y], -1)


def square(size=40, low=8, high=32):
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[low:high, low:high] = True
    return mask


def test_an_outline_closes_holes_and_narrow_gaps_and_leaves_the_rest():
    whole, part = square(), square()
    part[12:28, 12:28] = False  # enclosed
    part[8:20, 20] = False  # a cut from the rim
    assert torch.equal(surface.outline(part), whole)
    wide = square(size=224, low=40, high=180)
    wide[40:120, 100:130] = False  # a bay wider than a gap, open to one side
    closed = surface.outline(wide)
    assert not closed[40:110, 106:124].any()
    assert torch.equal(closed & wide, wide)


@pytest.mark.parametrize("mask", [square(low=0, high=40), square(low=39, high=40)])
def test_an_outline_at_the_border_stays_within_the_image(mask):
    assert torch.equal(surface.outline(mask), mask)


def test_points_are_kept_and_those_of_a_gap_lie_between_its_sides():
    xyz, wanted = tilted(), square()
    known = wanted.clone()
    known[15:18, 10:30] = False
    spoilt = torch.where(known[..., None], xyz, torch.nan)
    got = surface.completed(spoilt, known, wanted)
    assert torch.equal(got[known], xyz[known])
    assert not got[~wanted].any()
    torch.testing.assert_close(got[15:18, 14:26], xyz[15:18, 14:26], atol=1e-5, rtol=0)
    assert torch.equal(surface.completed(xyz, wanted, wanted)[wanted], xyz[wanted])


def test_a_wide_gap_is_filled_from_afar():
    xyz, wanted = tilted(slope=(0, 0)), square()
    known = torch.zeros_like(wanted)
    known[9, 9] = True
    got = surface.completed(xyz, known, wanted)[wanted]
    torch.testing.assert_close(got, xyz[9, 9].expand_as(got))


@pytest.mark.parametrize("sigma", [0, 1.5])
def test_a_planes_normal_is_that_of_the_plane_inside_and_at_its_edge(sigma):
    inside = square()
    normal = surface.normals(surface.smoothed(tilted(), inside, sigma), inside)
    want = torch.tensor([0.3, -0.2, -1])  # towards the camera, which is at the origin
    expected = (want / want.norm()).expand(int(inside.sum()), 3)
    # Metres of 1e-3 apart, 0.5 away: differences have 4 digits in float32.
    torch.testing.assert_close(normal[inside], expected, atol=1e-3, rtol=0)
    assert not normal[~inside].any()


def test_smoothing_is_a_gaussian_and_looks_at_the_surface_alone():
    xyz, inside = torch.rand(40, 40, 3, generator=torch.Generator().manual_seed(0)), square()
    spoilt = torch.where(inside[..., None], xyz, 1e9)
    assert torch.equal(surface.smoothed(spoilt, inside, 2), surface.smoothed(xyz, inside, 2))
    offset = torch.arange(-6, 7)
    kernel = torch.exp(-(offset**2) / 8.0)
    kernel = torch.outer(kernel, kernel) / kernel.sum() ** 2
    want = (xyz[14:27, 14:27, 1] * kernel).sum()
    torch.testing.assert_close(surface.smoothed(xyz, inside, 2)[20, 20, 1], want)


def test_a_pixel_without_neighbours_has_no_normal():
    inside = torch.zeros(5, 5, dtype=torch.bool)
    inside[0, 0] = inside[4, 4] = True  # neighbours of each other, were the image a torus
    assert not surface.normals(tilted(5), inside).any()
