"""Maps and scores, by hand."""

import pytest
import torch

from cmad import ops
from cmad.maps import Scaling, enlarged, fuse, official_map, on_grid, paper_map, smoothed


def test_values_land_on_their_pixels():
    grid = on_grid(torch.tensor([1.0, 2.0]), torch.tensor([1, 5]), 3)
    assert grid.tolist() == [[0, 1, 0], [0, 0, 2], [0, 0, 0]]


def test_fusion_is_the_product():
    assert fuse(torch.tensor([2.0, 0.0]), torch.tensor([3.0, 5.0])).tolist() == [6, 0]


def test_the_paper_score_is_the_maximum_of_the_smoothed_map():
    fused = torch.zeros(40, 40)
    fused[20, 20] = 1
    map_, score = paper_map(fused)
    # A Gaussian of sigma 4 peaks at about 1 / (2 pi 16).
    assert score == float(map_[20, 20]) == pytest.approx(1 / (2 * torch.pi * 16), rel=1e-3)
    assert float(map_.sum()) == pytest.approx(1, rel=1e-4)


def test_official_scaling_by_hand():
    map_, pixel_map, score = official_map(torch.ones(40, 40))
    assert float(map_.mean()) == pytest.approx(1)
    assert score == pytest.approx(float(pixel_map.max()))
    zero, _, none = official_map(torch.zeros(40, 40))
    assert not zero.any()
    assert none == 0


def test_official_scales_are_of_the_values_that_are_not_zero_but_for_the_pixel_auroc():
    fused = torch.zeros(80, 80)
    fused[40, 40] = 1
    s = ops.box_cascade(fused[None])[0]
    assert (s == 0).any()
    map_, pixel_map, score = official_map(fused)
    torch.testing.assert_close(map_, s / s[s != 0].mean())
    torch.testing.assert_close(pixel_map, s / s.mean().sqrt())
    assert score == pytest.approx(float(s.max() / s[s != 0].mean().sqrt()))


def test_a_map_of_256_levels_is_rounded_down_and_blurred():
    map_ = torch.zeros(30, 30)
    map_[15, 15] = 2.0
    map_[3, 3] = 2.0 / 255 * 0.9  # below the first level
    got = smoothed(map_, Scaling(eight_bits=True))
    assert got[15, 15] < 2.0
    assert not got[:4, :4].any()
    levels = got / 2.0 * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert not smoothed(torch.zeros(5, 5), Scaling(eight_bits=True)).any()


def test_cells_are_enlarged_bilinearly_around_their_centres():
    got = enlarged(torch.tensor([[0.0, 4.0]]).repeat(2, 1), 4)
    assert got.tolist() == [[0, 1, 3, 4]] * 4
