"""Depth in blocks: what a cell sees, holes, the part from the corners, what is refused."""

import pytest
import torch

from cmad.extractors import DepthBlocks, from_config
from cmad.extractors.depth_blocks import background, corners, filled, relative, soft_mask
from cmad.extractors.licences import licence_of


def scene(size=64, tilt=0.0):
    """A plate of 2 x 2 quarters, 1 cm higher than a tilted floor, in the middle half."""
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    z = 0.5 + tilt * row / size
    inside = torch.zeros(size, size, dtype=torch.bool)
    inside[size // 4 : -size // 4, size // 4 : -size // 4] = True
    z = torch.where(inside, z - 0.01, z)
    return torch.stack([column * 1e-3, row * 1e-3, z], -1).float(), inside


def test_a_cell_has_the_depth_of_its_own_pixels_from_the_parts_mean():
    xyz, inside = scene()
    xyz[..., 2] += 1e-4 * torch.arange(64)  # each column a tenth of a millimetre deeper
    xyz[~inside] = torch.nan
    points = DepthBlocks(8).points(xyz)  # 64 pixels: nothing is resized
    assert points.features.shape == (64, 65)
    cell = points.features.view(8, 8, 65)[3, 4]
    want = 0.01 * (torch.arange(32, 40) - 31.5)  # centimetres; columns 16 to 47 have the part
    for row in range(8):
        torch.testing.assert_close(cell[8 * row : 8 * row + 8], want, atol=1e-4, rtol=0)
    assert cell[64] == 1
    assert (points.features.view(8, 8, 65)[0] == 0).all()


def test_a_pixel_has_the_feature_of_the_cell_that_it_lies_in():
    xyz, inside = scene()
    xyz[~inside] = torch.nan
    points = DepthBlocks(4).points(xyz)
    row, column = inside.nonzero().T
    assert torch.equal(points.neighbour[:, 0], row // 16 * 4 + column // 16)
    assert (points.weight == 1).all()


def test_a_hole_is_filled_from_around_and_by_what_the_pass_before_filled():
    z = torch.full((9, 9), 2.0)
    z[2:7, 2:7] = 0  # five wide: filled from all sides in three passes
    assert (filled(z) == 2).all()
    z[1:8, 1:8] = 0
    left = (filled(z) == 0).nonzero()
    assert left.tolist() == [[4, 4]]
    z = torch.full((4, 4), 2.0)
    z[0, 1] = z[2, 0] = z[3, 3] = 0
    assert (filled(z) == 0).nonzero().tolist() == [[0, 1], [2, 0]]


def test_the_mean_of_a_hole_is_of_those_neighbours_that_have_a_depth():
    z = torch.zeros(3, 3)
    z[0, 0], z[0, 2] = 1.0, 4.0
    assert filled(z)[1, 1] == 2.5


def test_the_background_is_linear_between_the_corners():
    z = torch.zeros(4, 6)
    z[:2, :2], z[:2, -2:], z[-2:, :2], z[-2:, -2:] = 1.0, 2.0, 3.0, 6.0
    z[0, 0] = 0  # does not count
    at = corners(z)
    assert at.tolist() == [[1.0, 2.0], [3.0, 6.0]]
    behind = background(at, 3, 3)
    assert behind.tolist() == [[1, 1.5, 2], [2, 3, 4], [3, 4.5, 6]]


def test_beside_the_part_the_relative_depth_is_exactly_zero():
    z = torch.tensor([[0.5, 0.1], [0.3, 0.0]])
    part = torch.tensor([[True, False], [True, False]])
    torch.testing.assert_close(relative(z, part), torch.tensor([[10.0, 0], [-10, 0]]))


def test_a_mask_is_grown_by_half_a_cell_and_has_five_values():
    part = torch.zeros(24, 24, dtype=torch.bool)
    part[8:16, 8:16] = True
    # Grown to 4..18: of the cells around the four central pixels, at 3, 4 and 19, 20 of an axis.
    mask = soft_mask(part, 3)
    assert mask.tolist() == [[0.25, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("tilt", [0.0, 0.02])
def test_from_the_corners_the_part_is_found_on_a_tilted_floor_and_in_padding(tilt):
    xyz, inside = scene(tilt=tilt)
    alone = xyz.clone()
    alone[~inside] = torch.nan
    want = DepthBlocks(8).points(alone).features
    got = DepthBlocks(8, from_corners=True).points(xyz)
    torch.testing.assert_close(got.features, want, atol=2e-4, rtol=0)
    padded = torch.full((128, 128, 3), torch.nan)
    padded[32:96, 32:96] = xyz
    within = DepthBlocks(16, from_corners=True).points(padded).features.view(16, 16, 65)
    torch.testing.assert_close(within[4:12, 4:12], want.view(8, 8, 65), atol=2e-4, rtol=0)
    assert (within[:3] == 0).all()


def test_a_corner_without_points_takes_the_depth_nearest_to_it():
    xyz, inside = scene()
    xyz[:6, :6] = torch.nan  # published: no background anywhere, so no part
    mask = DepthBlocks(8, from_corners=True).points(xyz).features[:, 64]
    assert torch.equal(mask.view(8, 8), soft_mask(inside, 8))


def test_nothing_that_stands_out_and_no_point_are_refused():
    xyz, _ = scene()
    xyz[..., 2] = 0.5
    with pytest.raises(ValueError, match="no part in view: every point lies within 7 mm"):
        DepthBlocks(from_corners=True).points(xyz)
    with pytest.raises(ValueError, match="must be a square with at least one point"):
        DepthBlocks().points(torch.full((8, 8, 3), torch.nan))
    with pytest.raises(ValueError, match="must be a square with at least one point"):
        DepthBlocks().points(xyz[:32].contiguous())
    with pytest.raises(ValueError, match="cells must be 1 or more, got 0"):
        DepthBlocks(0)
    with pytest.raises(ValueError, match="statistics must be none, got"):
        DepthBlocks().load_statistics({"mean": torch.zeros(1)})


def test_it_comes_back_from_its_configuration():
    made = DepthBlocks(7, from_corners=True)
    again = from_config(made.config())
    assert again.config() == made.config()
    assert again.fingerprint() == made.fingerprint() != DepthBlocks(7).fingerprint()
    assert again.describe().startswith("depth in blocks of 8x8 pixels, 7x7, the part from")
    assert licence_of(made.config()) == "none needed"
