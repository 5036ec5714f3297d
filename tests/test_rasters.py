"""Rows of features on any raster: what cells read, by hand and against torch's own pooling."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as functional

from cmad.ops.pixel_weights import with_room
from cmad.presets import PRESETS
from cmad.rasters import (
    Raster,
    Smoothing,
    counted,
    foreground,
    interpolated,
    only,
    rows,
    smoothing_taps,
    spread,
    token_taps,
)
from cmad.types import Features, Points, Window

CPU = torch.device("cpu")
PAPER, OFFICIAL = (PRESETS[name].smoothing for name in ("paper", "official"))


def features(size=12, channels=3, share=0.3, seed=0, extractors=("xyz",), grid=(4, 3)):
    """Features whose every valid pixel is a point with a feature of its own, and some tokens."""
    g = torch.Generator().manual_seed(seed)
    valid = torch.rand(size, size, generator=g) < share
    n = int(valid.sum())
    own = torch.arange(n)[:, None]
    points = {
        name: Points(torch.rand(n, channels, generator=g), own, torch.ones(n, 1))
        for name in extractors
    }
    tokens = {"rgb": torch.rand(*grid, 5, generator=g)}
    return Features(tokens, points, valid, size, Window(size, 0, 0, size, size), "part")


def placed(features, name="xyz"):
    """The 3D feature map (D, S, S), zeros where there is no point."""
    points = features.points[name]
    full = torch.zeros(points.features.shape[1], *features.valid.shape)
    full[:, features.valid] = points.features.T
    return full


def every_cell(raster):
    return torch.arange(raster.size**2)


@pytest.mark.parametrize("size", [12, 13])
@pytest.mark.parametrize("cells", [1, 3, 4, 5, 12, 20])
@pytest.mark.parametrize("smoothing", [PAPER, OFFICIAL], ids=["paper", "official"])
def test_3d_rows_are_the_pooled_map_at_any_raster(size, cells, smoothing):
    made = features(size)
    raster = Raster(cells, smoothing)
    pooled = functional.avg_pool2d(placed(made)[None], 3, 1, smoothing.padding)
    want = functional.adaptive_avg_pool2d(pooled, cells)[0].flatten(1).T
    got = rows(made, raster, every_cell(raster))["3d"]
    torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cells", [4, 5, 8, 12])
def test_2d_rows_are_bilinear_where_cells_are_smaller_than_tokens(cells):
    made = features()
    raster = Raster(cells)
    tokens = made.tokens["rgb"].permute(2, 0, 1)[None]
    want = functional.interpolate(tokens, size=(cells, cells), mode="bilinear", align_corners=False)
    got = rows(made, raster, every_cell(raster))["2d"]
    if cells == 4:  # as many rows as tokens: those are means, which is the token itself
        assert torch.equal(token_taps(4, raster, CPU).tap, torch.ones(4, 1))
    torch.testing.assert_close(got, want[0].flatten(1).T, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("grid", "cells"), [((4, 4), 8), ((8, 6), 3), ((5, 5), 5)])
def test_2d_rows_are_the_nearest_token_or_the_mean_of_several(grid, cells):
    made = features(grid=grid)
    raster = Raster(cells, nearest=True)
    want = functional.adaptive_avg_pool2d(made.tokens["rgb"].permute(2, 0, 1)[None], cells)
    got = rows(made, raster, every_cell(raster))["2d"]
    torch.testing.assert_close(got, want[0].flatten(1).T, atol=1e-6, rtol=1e-5)


def test_one_token_serves_every_cell():
    made = features(grid=(1, 1))
    raster = Raster(6)
    got = rows(made, raster, every_cell(raster))["2d"]
    assert torch.equal(got, made.tokens["rgb"].view(1, 5).expand(36, 5))


def test_rows_of_some_cells_are_those_of_all():
    made, raster = features(), Raster(12)
    every = rows(made, raster)
    chosen = torch.tensor([5, 0, 17, 5])
    for modality, some in rows(made, raster, foreground(made, raster)[chosen]).items():
        assert torch.equal(some, every[modality][chosen])
    none = rows(made, raster, torch.zeros(0, dtype=torch.int64))
    assert {m: tuple(r.shape) for m, r in none.items()} == {"2d": (0, 5), "3d": (0, 3)}


@pytest.mark.parametrize("cells", [3, 5, 12])
def test_the_foreground_is_the_cells_with_a_point_or_all_that_smoothing_reaches(cells):
    made = features(share=0.05)
    point = made.valid[None].float()
    inside = functional.adaptive_max_pool2d(point, cells)[0] > 0
    pooled = functional.avg_pool2d(point[None], 3, 1)
    reached = functional.adaptive_avg_pool2d(pooled, cells)[0, 0] > 0
    for smoothing, want in ((PAPER, inside), (OFFICIAL, reached)):
        got = foreground(made, Raster(cells, smoothing))
        assert torch.equal(got, want.flatten().nonzero()[:, 0])
    if cells == 12:
        assert len(got) > int(inside.sum())  # the rim


def test_the_foreground_of_a_part_without_points_is_every_cell():
    both = replace(features(), depth=torch.rand(12, 12))
    made = only(both, ("2d",))
    assert made.modalities == ("2d",)
    assert (made.valid, made.depth) == (None, None)
    assert only(both, ("3d",)).depth is both.depth
    assert torch.equal(foreground(made, Raster(4)), torch.arange(16))
    assert set(rows(made, Raster(4))) == {"2d"}
    assert set(rows(only(features(), ("3d",)), Raster(4))) == {"3d"}


def test_channels_of_several_extractors_of_a_modality_lie_side_by_side():
    made = features(extractors=("xyz", "views"))
    raster = Raster(6)
    got = rows(made, raster)["3d"]
    assert got.shape[1] == 6
    for i, name in enumerate(("xyz", "views")):
        alone = Features({}, {name: made.points[name]}, made.valid, 12, made.window)
        assert torch.equal(got[:, 3 * i : 3 * i + 3], rows(alone, raster)["3d"])


def test_entries_behind_the_last_change_no_sparse_combination(monkeypatch):
    """As a GPU has them, where their number is not waited for."""
    several = features(extractors=("xyz", "more"))
    raster = Raster(12, PAPER)
    cell = foreground(several, raster)
    want = {m: interpolated(s) for m, s in spread(several, raster, cell).items()}
    monkeypatch.setattr("cmad.ops.pixel_weights", with_room)
    made = spread(several, raster, cell)
    assert len(made["3d"].weights.index) > int(made["3d"].weights.start[-1])
    for modality, rows_of in want.items():
        torch.testing.assert_close(interpolated(made[modality]), rows_of)


def test_rows_whose_channels_add_up_to_zero_count_or_not():
    row = torch.tensor([[1.0, -1.0], [0.0, 0.0], [1.0, 2.0]])
    assert counted(row, Smoothing()).tolist() == [True, True, True]
    assert counted(row, Smoothing(zero_sum_is_missing=True)).tolist() == [False, False, True]


def test_paper_footprint_is_three_equal_taps_around_the_pixel():
    taps = smoothing_taps(5, Raster(5, PAPER), CPU)
    assert taps.first.tolist() == [-1, 0, 1, 2, 3]
    assert torch.equal(taps.tap, torch.full((5, 3), 1 / 3))


def test_official_footprint_at_224_has_the_published_rows():
    """Row 0 takes pixels 0 to 2; rows 1 to 110 i-1 to i+2 as (1, 2, 2, 1) / 6; then i-2 to i+1."""
    taps = smoothing_taps(224, Raster(224, OFFICIAL), CPU)
    first, tap = taps.first, taps.tap
    assert tap.sum(1) == pytest.approx(torch.ones(224), abs=1e-6)
    assert (first[0], tap[0].tolist()) == (0, pytest.approx([1 / 3, 1 / 3, 1 / 3, 0]))
    for row, begin in ((1, 0), (110, 109), (113, 111), (222, 220)):
        assert int(first[row]) == begin
        assert tap[row].tolist() == pytest.approx([1 / 6, 2 / 6, 2 / 6, 1 / 6])
    assert (int(first[111]), int(first[112]), int(first[223])) == (110, 111, 221)
