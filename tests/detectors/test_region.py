"""A region of interest where the image is looked at: nothing outside of it is learnt or judged."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import cmad
from cmad.preprocess import Preprocessing, prepare

INSIDE = [(8, 8), (39, 8), (39, 39), (8, 39)]
"""Columns and rows 8 to 38 of 48: the last corners are not in it."""


def clipped(sample):
    """The part with something bright in a corner, outside of the region."""
    rgb = sample.rgb.copy()
    rgb[:6, :6] = (255, 0, 0)
    return replace(sample, rgb=rgb)


@pytest.fixture(scope="module")
def fitted(make, parts):
    """By whether there is a region; PatchCore of both modalities."""
    return {
        told: cmad.PatchCore(
            rgb=make["vit"](),
            xyz=make["point_mae"](),
            image_size=48,
            background=INSIDE if told else "plane",
        ).fit(parts[:4], progress=False)
        for told in (True, False)
    }


@pytest.mark.parametrize("points", [True, False])
def test_what_is_outside_of_the_region_is_not_judged(fitted, parts, points):
    sample = clipped(parts[5])
    xyz = sample.xyz if points else None
    with_region, without = (
        fitted[told].predict(sample.rgb, xyz, resolution="grid") for told in (True, False)
    )
    assert without.maps["2d"][:6, :6].min() > 0
    assert with_region.maps["2d"][:6, :6].max() == 0
    assert with_region.maps["2d"][10:38, 10:38].min() > 0
    assert with_region.score < without.score


def test_frames_have_the_region_on_their_grid_and_beside_the_image_none():
    how = Preprocessing(
        image_size=24, rgb_size=24, background=cmad.background.Background.of(INSIDE)
    )
    rgb = np.zeros((48, 32, 3), np.uint8)
    region = prepare(cmad.Sample(rgb, None, name="a"), how).region
    want = torch.zeros(24, 24, dtype=torch.bool)
    want[4:19, 8:20] = True  # pixels 9, 11, ..., 37; 8 columns of padding on either side
    assert torch.equal(region, want)
    whole = replace(how, background=cmad.background.Background.of(np.ones((48, 32), bool)))
    region = prepare(cmad.Sample(rgb, None, name="a"), whole).region
    assert region[:, 4:20].all()
    assert region.sum() == 24 * 16, "what is beside the image is not in it"
    assert (
        prepare(
            cmad.Sample(rgb, None, name="a"), replace(how, background=cmad.background.Background())
        ).region
        is None
    )


def test_a_region_that_does_not_fit_an_image_alone_is_an_error_that_names_it(fitted, parts, make):
    small = parts[0].rgb[:6, :6]
    with pytest.raises(ValueError, match=r"part0: the polygon .* holds no pixel of 6x6"):
        fitted[True].grids([replace(parts[0], rgb=small, xyz=None)])
    mask = np.ones((48, 48), bool)
    detector = cmad.PatchCore(rgb=make["vit"](), image_size=48, modalities="2d", background=mask)
    with pytest.raises(ValueError, match="48x48 and 6x6"):
        detector.fit([replace(parts[0], rgb=small, xyz=None)], progress=False)
    how = Preprocessing(image_size=4, rgb_size=48, background=cmad.background.Background.of(mask))
    point = np.zeros((48, 48), bool)
    point[0, 0] = True
    how = replace(how, background=cmad.background.Background.of(point))
    with pytest.raises(ValueError, match="no pixel of the region of interest is left at 4 pixels"):
        prepare(replace(parts[0], xyz=None), how)


def test_a_cache_keeps_the_region(parts, make, tmp_path):
    options = {"rgb": make["vit"](), "image_size": 48, "modalities": "2d", "background": INSIDE}
    detector = cmad.PatchCore(**options, cache=tmp_path)
    first, second = (detector.pipeline.frame(parts[0]).region for _ in range(2))
    assert first is not second
    assert torch.equal(first, second)
    assert 0 < int(first.sum()) < 48 * 48


def test_the_official_banks_of_points_are_of_the_region_alone(parts, make):
    official = cmad.PatchCore(
        rgb=make["vit"](),
        xyz=make["point_mae"](),
        image_size=48,
        preset="official",
        cells_3d=6,
        background=INSIDE,
    )
    [features] = official.pipeline.features([official.pipeline.frame(parts[0])])
    # Its square has 100 pixels, the part's 48 in the middle: the region is from 34 to 65.
    rows, columns = np.divmod(official.patches(features, "3d")[1].numpy(), 6)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 3, 2, 3)
