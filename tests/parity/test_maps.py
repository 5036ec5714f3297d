"""Smoothing of features and maps, and scores, against the published ones (semantics C3 to C11)."""

import numpy as np
import torch

from cmad import ops
from cmad.maps import official_map
from cmad.pipeline import smoothing_taps


def test_official_footprint_is_average_then_adaptive_pooling(each_fixture):
    for _, arrays in each_fixture("pool*.npz"):
        x = torch.from_numpy(arrays["x"][0])
        size = x.shape[-1]
        first, tap = smoothing_taps(size, "official")
        start, index, weight = ops.pixel_weights(
            torch.arange(size * size)[:, None],
            torch.ones(size * size, 1),
            torch.arange(size * size).view(size, size),
            first,
            tap,
            torch.arange(size * size),
            centres=size * size,
        )
        rows = ops.interpolate(x.flatten(1).T.contiguous(), start, index, weight)
        want = torch.from_numpy(arrays[f"y{size}"][0]).flatten(1).T
        torch.testing.assert_close(rows, want, rtol=1e-5, atol=1e-6)


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
