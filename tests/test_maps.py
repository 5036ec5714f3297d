"""Maps and footprints, by hand."""

import pytest
import torch

from cmad.maps import fuse, official_map, on_grid, paper_map
from cmad.pipeline import smoothing_taps


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


def test_paper_footprint_is_three_equal_taps_around_the_pixel():
    first, tap = smoothing_taps(5, "paper")
    assert first.tolist() == [-1, 0, 1, 2, 3]
    assert torch.equal(tap, torch.full((5, 3), 1 / 3))


def test_official_footprint_at_224_has_the_published_rows():
    """Row 0 takes pixels 0 to 2; rows 1 to 110 i-1 to i+2 as (1, 2, 2, 1) / 6; then i-2 to i+1."""
    first, tap = smoothing_taps(224, "official")
    assert tap.sum(1) == pytest.approx(torch.ones(224), abs=1e-6)
    assert (first[0], tap[0].tolist()) == (0, pytest.approx([1 / 3, 1 / 3, 1 / 3, 0]))
    for row, begin in ((1, 0), (110, 109), (113, 111), (222, 220)):
        assert int(first[row]) == begin
        assert tap[row].tolist() == pytest.approx([1 / 6, 2 / 6, 2 / 6, 1 / 6])
    assert (int(first[111]), int(first[112]), int(first[223])) == (110, 111, 221)
