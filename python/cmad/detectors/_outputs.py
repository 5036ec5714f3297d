"""What every detector does with its maps: from its own grid to the input's pixels, and regions."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from cmad import ops, regions
from cmad.calibrate import Calibration
from cmad.preprocess import to_input
from cmad.types import Array, Prediction, Region, Window

MODALITIES = ("2d", "3d")
SIGMA = 4.0
"""Pixels of the grid: a modality's map is smoothed as CFM's fused map is, since the largest value
of the raw map is that of a single noisy pixel."""


def on_input(
    grid: Prediction, window: Window, xyz: Array, calibration: Calibration | None
) -> Prediction:
    """Bring a prediction from the detector's grid to the input's pixels, and find its regions.

    Args:
        grid: with (S, S) maps.
        window: where the input lies in the square.
        xyz: (H, W, 3) float of the input, metres.
        calibration: None finds no regions.

    Returns:
        The prediction with (H, W) maps, and the pixel threshold and regions if there is one.

    """
    full = _resampled(grid, window)
    if calibration is None or (threshold := calibration.pixel_threshold) is None:
        return full
    found: tuple[Region, ...] = ()
    if (full.map > threshold).any():
        named = _modality_maps(grid, window)
        found = regions.find(full.map, threshold, xyz, named, calibration.map_thresholds)
    return replace(full, pixel_threshold=threshold, regions=found)


def peaks(grid: Prediction, window: Window) -> tuple[float, dict[str, float]]:
    """Return the largest values on the input's pixels: of the map, and of each modality's."""
    named = _modality_maps(grid, window)
    return float(_resampled(grid, window).map.max()), {k: float(m.max()) for k, m in named.items()}


def _resampled(grid: Prediction, window: Window) -> Prediction:
    stacked = torch.from_numpy(np.stack([grid.map, *grid.maps.values()]))
    map_, *others = to_input(stacked, window).numpy()
    return replace(grid, map=map_, maps=dict(zip(grid.maps, others, strict=True)))


def _modality_maps(grid: Prediction, window: Window) -> dict[str, npt.NDArray[np.float32]]:
    """Smooth the maps of the modalities; (H, W) on the input's pixels, by modality."""
    names = [name for name in MODALITIES if name in grid.maps]
    if not names:
        return {}
    stacked = torch.from_numpy(np.stack([grid.maps[name] for name in names]))
    smoothed = to_input(ops.smooth(stacked, SIGMA), window).numpy()
    return dict(zip(names, smoothed, strict=True))
