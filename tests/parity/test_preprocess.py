"""Preprocessing against the arrays of the published scripts (semantics A)."""

import re

import numpy as np
import pytest
import torch

from cmad.background import Background
from cmad.foreground import find_part
from cmad.preprocess import Preprocessing, checked, mask_to_grid, prepare, square
from cmad.presets import PRESETS
from cmad.types import Sample

DEFECTS = (None, "hole", "bump", "stain", "both")


def sizes(arrays, suffix):
    return [key[: -len(suffix)] for key in arrays if key.endswith(suffix)]


@pytest.mark.parametrize("preset", ["official", "paper"])
def test_the_part_is_the_published_one_beside_pixels_near_the_threshold(
    preset, each_fixture, synth
):
    """Pixels within 0.2 mm of the threshold may differ: the plane depends on the random draws."""
    for path, arrays in each_fixture("preprocess*.npz"):
        for size in sizes(arrays, "_after_cluster"):
            h, w = map(int, size.split("x"))
            sample = synth.generate(int(arrays["seed"]), h, w, str(arrays[f"{size}_defect"]))
            assert synth.sha(sample["xyz"]) == str(arrays[f"{size}_xyz_sha256"]), path
            _, xyz = checked(Sample(sample["rgb"], sample["xyz"]))
            rule = PRESETS[preset].preparation.rule
            part = find_part(xyz, (xyz != 0).all(-1), Background(), rule)
            keep = part.keep.numpy()

            side, wide = arrays[f"{size}_padded_hw"]
            top, left = arrays[f"{size}_pad_topleft"]
            after = np.unpackbits(arrays[f"{size}_after_cluster"])[: side * wide]
            after = after.reshape(side, wide)[top : top + h, left : left + w].astype(bool)
            near = np.unpackbits(arrays[f"{size}_near_threshold"])[: h * w].reshape(h, w)
            assert after.sum() > 1000
            assert not ((keep != after) & (near == 0)).any()

            window = square(h, w, PRESETS["official"].preparation)
            assert (window.side, window.top, window.left) == (max(side, wide), top, left)


def test_rgb_and_masks_are_resized_as_published(each_fixture, synth):
    for path, arrays in each_fixture("resize*.npz"):
        cases = [re.fullmatch(r"((\d+)x(\d+))_rgb(\d+)", key) for key in arrays]
        for case in filter(None, cases):
            size, (h, w, grid) = case[1], (int(case[i]) for i in (2, 3, 4))
            seed = int(arrays["seed"])  # of the file; its samples have one near it
            made = (synth.generate(s, h, w, d) for s in range(seed - 2, seed + 10) for d in DEFECTS)
            sha = str(arrays[f"{size}_rgb_sha256"])
            sample = next(s for s in made if synth.sha(s["rgb"]) == sha)
            for preset in ("paper", "official"):
                frame = prepare(
                    Sample(sample["rgb"], sample["xyz"]),
                    Preprocessing(grid, grid, PRESETS[preset].preparation),
                    keep=torch.ones(h, w, dtype=torch.bool),
                )
                got = frame.rgb.permute(1, 2, 0).numpy()
                np.testing.assert_array_equal(got, arrays[case[0]], err_msg=str(path))
            mask = mask_to_grid(arrays[f"{size}_gt"] > 0, Preprocessing(grid))
            np.testing.assert_array_equal(mask, arrays[f"{size}_gt{grid}"] > 0)


def test_official_xyz_takes_the_published_rows(each_fixture):
    for _, arrays in each_fixture("resize*.npz"):
        for key in (k for k in arrays if k.startswith("torch_nearest_")):
            n, size = map(int, key.split("_")[2:])
            if n % 100:
                continue  # the published padding rounds such a side up before it samples
            column = np.arange(1, n + 1, dtype=np.float32) / n
            xyz = np.broadcast_to(column[:, None, None], (n, n, 3)).copy()
            frame = prepare(
                Sample(np.zeros((n, n, 3), np.uint8), xyz),
                Preprocessing(size, 32, PRESETS["official"].preparation),
                keep=torch.ones(n, n, dtype=torch.bool),
            )
            np.testing.assert_array_equal((frame.xyz[:, 0, 0] * n - 1).round().numpy(), arrays[key])
