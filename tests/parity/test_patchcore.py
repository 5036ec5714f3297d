"""PatchCore's scores and maps against M3DM's classes of one modality (semantics F22, H6)."""

import numpy as np
import pytest
import torch

from cmad import maps
from cmad.bank import Bank
from cmad.detectors._memory import Memory
from cmad.presets import PRESETS


@pytest.mark.parametrize(("modality", "cells"), [("rgb", 28), ("xyz", 56)])
def test_patch_distances_maps_and_image_scores_are_the_published_ones(
    each_fixture, modality, cells
):
    for _, arrays in each_fixture("m3dm*.npz"):
        bank = torch.from_numpy(arrays[f"bank_{modality}"].astype(np.float32))
        patch = torch.from_numpy(arrays[modality].astype(np.float32))
        # The deviation that the class divides by is not stored, but the distances have it.
        raw = Bank(bank).search(patch, 1)[0][:, 0].sqrt().numpy()
        deviation = round(float(np.median(raw / arrays[f"{modality}_single_min"])), 3)
        assert (deviation == 1) == (modality == "xyz")  # which is not scaled
        memory = Memory(Bank(bank), deviation, 1.0)
        distance, index = memory.nearest(patch)
        # The published distances come of |a|^2 + |b|^2 - 2 a b in float32.
        np.testing.assert_allclose(distance, arrays[f"{modality}_single_min"], rtol=2e-5)
        if f"{modality}_single_argmin" in arrays:
            np.testing.assert_array_equal(index, arrays[f"{modality}_single_argmin"])
        score = memory.image_score(patch, distance, index, guard=1e-5)
        np.testing.assert_allclose(score, arrays[f"{modality}_single_s"], rtol=1e-5)
        on_cells = maps.on_grid(distance, torch.arange(cells * cells), cells)
        map_ = maps.smoothed(maps.enlarged(on_cells, 224), PRESETS["official"].scaling)
        want = arrays[f"{modality}_single_map"]
        # 256 levels: where rounding of the distance crosses one, the blur carries part of it.
        np.testing.assert_allclose(map_, want, atol=1.01 * want.max() / 255)
        assert (np.abs(map_.numpy() - want) > 1e-4 * want.max()).mean() < 0.02
