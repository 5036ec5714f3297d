"""From per-pixel discrepancies to the anomaly map and the score."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from PIL import Image, ImageFilter
from torch import Tensor

from cmad import ops

SIGMA = 4.0
"""Pixels of the grid: the Gaussian that anomaly maps are smoothed by (CFM, section 3.3)."""


@dataclass(frozen=True)
class Scaling:
    """How a map is smoothed and scored; the defaults are the papers'."""

    by_mean: bool = False
    """CFM: a cascade of box filters, and map and score divided by means of the map's own values,
    instead of a Gaussian and its maximum."""
    eight_bits: bool = False
    """Memory banks: the Gaussian on a map rounded to 256 levels instead of the map itself."""


def on_grid(values: Tensor, pixel: Tensor, size: int) -> Tensor:
    """Place values at their pixels, zeros elsewhere.

    Args:
        values: (P,) float32.
        pixel: (P,) int64, row * S + column.
        size: S.

    Returns:
        (S, S) float32.

    """
    grid = values.new_zeros(size * size)
    grid[pixel] = values
    return grid.view(size, size)


AGGREGATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "product": torch.mul,
    "sum": torch.add,
    "max": torch.maximum,
}
"""How two maps become one (CFM, section 3.3 and Table 6); by their product, both must disagree."""


def fuse(psi_2d: Tensor, psi_3d: Tensor, how: str = "product") -> Tensor:
    """Combine the modalities by one of `AGGREGATIONS`."""
    return AGGREGATIONS[how](psi_2d, psi_3d)


def enlarged(values: Tensor, size: int) -> Tensor:
    """Interpolate a map of cells bilinearly, as torch with align_corners=False.

    Args:
        values: (R, R) float32.
        size: S.

    Returns:
        (S, S) float32.

    """
    grown = functional.interpolate(
        values[None, None], size=(size, size), mode="bilinear", align_corners=False
    )
    return grown[0, 0]


def smoothed(map_: Tensor, scaling: Scaling) -> Tensor:
    """Smooth the map of a memory bank.

    Args:
        map_: (S, S) float32, not negative.
        scaling: whether to round it to 256 levels before, as published (M3DM, BTF, G2SF).

    Returns:
        (S, S) float32.

    """
    if not scaling.eight_bits:
        return ops.smooth(map_[None], SIGMA)[0]
    highest = float(map_.max())
    if highest == 0:
        return map_.clone()
    levels = (map_.cpu() / highest * 255).to(torch.uint8)
    blurred = Image.fromarray(levels.numpy()).filter(ImageFilter.GaussianBlur(SIGMA))
    return torch.from_numpy(np.array(blurred)).to(map_) / 255 * highest


def scored(fused: Tensor, scaling: Scaling) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Smooth, scale and score CFM's fused map.

    Args:
        fused: (S, S) float32.
        scaling: of the preset.

    Returns:
        The map (S, S), further maps by name, and the score, a scalar, which nobody waits for. With
        ``by_mean`` the further one is ``"pixel_auroc"``, see `official_map`.

    """
    if scaling.by_mean:
        map_, roc, score = official_map(fused)
        return map_, {"pixel_auroc": roc}, score
    map_, score = paper_map(fused)
    return map_, {}, score


def paper_map(fused: Tensor) -> tuple[Tensor, Tensor]:
    """Smooth a fused map by a Gaussian of sigma 4; the score is its maximum (CFM, section 3.3).

    Args:
        fused: (S, S) float32.

    Returns:
        The map (S, S) and the score, a scalar.

    """
    map_ = ops.smooth(fused[None], SIGMA)[0]
    return map_, map_.max()


def official_map(fused: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Smooth and scale a fused map as the published evaluation does.

    Args:
        fused: (S, S) float32.

    Returns:
        The map that AUPRO is computed from, s / mean of its non-zero values; the one that the pixel
        AUROC is computed from, s / sqrt(mean of all); and the score, a scalar, max s / sqrt(mean of
        the non-zero values). All zeros for a map without a non-zero value.

    """
    s = ops.box_cascade(fused[None])[0]
    count = (s != 0).sum()
    total = s.sum(dtype=torch.float64)
    # Where all is 0, what it is divided by makes no difference.
    of_all, mean = (
        torch.where(count > 0, total / n, 1.0).float() for n in (s.numel(), count.clamp(min=1))
    )
    return s / mean, s / of_all.sqrt(), s.max() / mean.sqrt()
