"""Smoothing of features and maps, and scores, against the published ones (semantics C3 to C11)."""

import numpy as np
import pytest
import torch

from cmad import ops
from cmad.maps import Scaling, official_map, smoothed
from cmad.presets import PRESETS
from cmad.rasters import Raster, rows
from cmad.types import Features, Points, Window


@pytest.mark.parametrize("cells", [224, 56, 28])
def test_3d_rows_on_a_raster_are_the_published_pooling(each_fixture, cells):
    for _, arrays in each_fixture("pool*.npz"):
        x = torch.from_numpy(arrays["x"][0])
        size = x.shape[-1]
        own = torch.arange(size * size)[:, None]
        points = Points(x.flatten(1).T.contiguous(), own, torch.ones(size * size, 1))
        valid = torch.ones(size, size, dtype=torch.bool)
        features = Features({}, {"xyz": points}, valid, size, Window(size, 0, 0, size, size))
        raster = Raster(cells, PRESETS["official"].smoothing)
        got = rows(features, raster, torch.arange(cells * cells))["3d"]
        want = torch.from_numpy(arrays[f"y{cells}"][0]).flatten(1).T
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("raster", "key"),
    [
        (Raster(224), "z28_bilinear224"),
        (Raster(56, nearest=True), "z28_nearest56"),
        (Raster(56, nearest=True), "z28_adaptive56"),
    ],
)
def test_2d_rows_on_a_raster_are_the_published_ones(each_fixture, raster, key):
    for _, arrays in each_fixture("pool*.npz"):
        tokens = torch.from_numpy(arrays["z28"][0]).permute(1, 2, 0).contiguous()
        features = Features({"rgb": tokens}, {}, None, 224, Window(224, 0, 0, 224, 224))
        want = torch.from_numpy(arrays[key][0]).flatten(1).T
        torch.testing.assert_close(rows(features, raster)["2d"], want, rtol=1e-5, atol=1e-5)


def test_maps_of_banks_are_blurred_as_published(each_fixture):
    for _, arrays in each_fixture("smoothing*.npz"):
        for given, blurred in (
            ("map_in", "pil_blur"),
            ("pil_blur_impulse_in", "pil_blur_impulse"),
            ("s56_up224", "s56_up224_blur"),
        ):
            got = smoothed(torch.from_numpy(arrays[given]), Scaling(eight_bits=True))
            want = torch.from_numpy(arrays[blurred])
            torch.testing.assert_close(got, want, rtol=0, atol=1e-6, msg=given)


def test_box_cascade_and_scores_are_the_published_ones(each_fixture):
    for _, arrays in each_fixture("smoothing*.npz"):
        fused = torch.from_numpy(arrays["map_in"])
        torch.testing.assert_close(
            ops.box_cascade(fused[None])[0],
            torch.from_numpy(arrays["map_box"]),
            rtol=1e-5,
            atol=1e-6,
        )
        map_, pixel_map, score = official_map(fused)
        torch.testing.assert_close(map_, torch.from_numpy(arrays["pred_map"]), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(score, arrays["image_score"], rtol=1e-5)
        scale = float(pixel_map.max() / torch.from_numpy(arrays["map_box"]).max())
        np.testing.assert_allclose(scale, arrays["pixel_auroc_map_scale"], rtol=1e-5)
