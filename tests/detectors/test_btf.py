"""BTF: both modalities in one row, the parts of a distance, the whole image, its extractors."""

import numpy as np
import pytest
import torch

import cmad
from cmad.rasters import Raster, only, rows

SMALL = {"image_size": 48, "cells": 16, "fraction": 0.3}


@pytest.fixture(scope="module")
def fitted(make, parts):
    return cmad.BTF(rgb=make["vit"](), xyz=make["point_mae"](), **SMALL).fit(parts, progress=False)


def features_of(detector, part):
    [features] = detector.pipeline.features([detector.pipeline.frame(part)])
    return features


def test_a_row_is_colour_then_shape_as_they_are_over_the_whole_image(fitted, parts):
    features = features_of(fitted, parts[0])
    patch, cell = fitted.patches(features)
    dims = fitted.pipeline.dims()
    assert patch.shape == (16 * 16, dims["2d"] + dims["3d"])
    assert torch.equal(cell, torch.arange(256))
    for modality, own in (("2d", patch[:, : dims["2d"]]), ("3d", patch[:, dims["2d"] :])):
        alone = rows(only(features, (modality,)), Raster(16), cell)[modality]
        assert torch.equal(own, alone)


def test_the_squares_of_both_maps_add_up_to_that_of_the_nearest_row(fitted, make):
    part = make["part"](31, "dent")
    features = features_of(fitted, part)
    patch, _ = fitted.patches(features)
    bank = fitted.memory.bank.rows
    distance = torch.cdist(patch.double(), bank.double())
    grid = fitted.maps(features)
    # Away from where the map is interpolated: of 3 x 3 pixels the one in a cell's middle.
    middle = {m: torch.from_numpy(v)[1::3, 1::3] for m, v in grid.maps.items()}
    both = (middle["2d"].square() + middle["3d"].square()).sqrt().flatten().double()
    torch.testing.assert_close(both, distance.min(1).values, rtol=1e-4, atol=1e-4)


def test_the_score_is_re_weighted_by_the_rows_around_the_nearest_without_a_guard(fitted, make):
    features = features_of(fitted, make["part"](31, "dent"))
    patch, bank = fitted.patches(features)[0].double(), fitted.memory.bank.rows.double()
    distance = torch.cdist(patch, bank)
    worst = distance.min(1).values.argmax()
    nearest = distance[worst].argmin()
    around = torch.cdist(bank[nearest : nearest + 1], bank)[0].argsort()[1:3]
    s, root = distance[worst, nearest], patch.shape[1] ** 0.5
    weight = 1 - (s / root).exp() / (distance[worst, around] / root).exp().sum()
    assert fitted.maps(features).score == pytest.approx(float(s * weight), rel=1e-5)


def test_a_defect_that_left_no_point_is_seen_by_its_colour(fitted, make):
    good = make["part"](24)
    rgb, xyz = good.rgb.copy(), good.xyz.copy()
    rgb[2:8, 2:8] = 255
    xyz[2:8, 2:8] = np.nan
    got = fitted.predict(rgb, xyz)
    assert np.unravel_index(got.maps["2d"].argmax(), (48, 48)) < (12, 12)


def test_its_extractors_are_the_papers_where_none_are_named():
    detector = cmad.BTF(weights="random")
    assert detector.pipeline.dims() == {"2d": 1536, "3d": 33}
    config = detector.pipeline.extractors["xyz"].config()
    assert config["standardised"] is False
    assert (config["normal_radius"], config["radius"]) == (0.10, 0.25)
    parameters = cmad.BTF.__signature__.parameters
    assert parameters["rgb"].default == detector.get_params()["rgb"] == "wide_resnet50_2"
    assert parameters["xyz"].default == detector.get_params()["xyz"] == "fpfh"
    assert cmad.CFM.__signature__.parameters["xyz"].default == "point_mae"


def test_wrong_options_and_too_few_patches_are_named(make, parts):
    with pytest.raises(ValueError, match=r"BTF: fraction must be in \(0, 1\], got 0"):
        cmad.BTF(fraction=0, weights="random")
    with pytest.raises(ValueError, match="BTF: cells must be a whole number from 1, got 0"):
        cmad.BTF(cells=0, weights="random")
    detector = cmad.BTF(
        rgb=make["vit"](), xyz=make["point_mae"](), image_size=48, cells=2, fraction=0.1
    )
    with pytest.raises(ValueError, match="1 patches are kept, at least 3 are needed"):
        detector.fit(parts[:3], progress=False)
