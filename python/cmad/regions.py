"""Connected defects: where the map is above its threshold, and their size on the surface."""

from collections.abc import Mapping
from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmad import ops
from cmad.types import Array, Region

Float = npt.NDArray[np.float64]
Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

REACH = 2
"""Pixels to each side that a pixel's surface element is a mean over: neighbours' noise cancels."""
JUMP = 5.0
"""Edges of this many times the median edge are no surface but a jump in depth."""
SURROUND = 8
"""Pixels around a region whose edges belong to that median."""
MM2 = 1e6
"""Square millimetres in a square metre."""


def find(
    map_: Map,
    pixel_threshold: float,
    xyz: Array,
    maps: Mapping[str, Map] | None = None,
    map_thresholds: Mapping[str, float] | None = None,
) -> tuple[Region, ...]:
    """Find the connected regions above a threshold, and measure them.

    Pixels that touch, diagonals included, are one region. Its area on the surface is its number of
    pixels times the mean surface of those that have any, so that missing points do not make it
    smaller. The surface is that of the triangles between neighbouring points, two for each 2 x 2
    pixels; left out are those with a missing point, and those across a jump in depth, where
    neighbours are more than 5 times as far apart as the median of neighbours around the region. A
    pixel with a point stands for two triangles of the mean vector area (area times unit normal)
    within 2 pixels around it: noise in depth, which makes each triangle larger, cancels in the
    vectors. The price is that a flank one pixel wide counts about half.

    Args:
        map_: (H, W) float32.
        pixel_threshold: pixels above it are marked.
        xyz: (H, W, 3) float, metres; no point where a coordinate is not finite or all are 0.
        maps: (H, W) float32, by modality.
        map_thresholds: above which a modality disagrees, for each of ``maps``.

    Returns:
        The regions, the largest peak first; empty where no pixel is marked.

    Raises:
        ValueError: shapes differ.

    """
    maps, map_thresholds = maps or {}, map_thresholds or {}
    if map_.ndim != 2 or tuple(xyz.shape) != (*map_.shape, 3):
        raise ValueError(
            f"find: map_ must be (H, W) and xyz (H, W, 3), got {map_.shape} and {tuple(xyz.shape)}"
        )
    for name, other in maps.items():
        if other.shape != map_.shape:
            raise ValueError(f"find: map {name!r} must be {map_.shape}, got {other.shape}")
    mask = map_ > pixel_threshold
    if not mask.any():
        return ()
    points = xyz.detach().cpu().numpy() if isinstance(xyz, Tensor) else xyz
    row, column = np.divmod(np.flatnonzero(mask), mask.shape[1])
    label = ops.components(torch.from_numpy(mask)).numpy()
    order = np.argsort(label, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
    found = [_measured(row[g], column[g], map_, points, maps, map_thresholds) for g in groups]
    return tuple(sorted(found, key=lambda region: -region.peak))


def _measured(
    row: npt.NDArray[np.intp],
    column: npt.NDArray[np.intp],
    map_: Map,
    xyz: npt.NDArray[np.generic],
    maps: Mapping[str, Map],
    thresholds: Mapping[str, float],
) -> Region:
    """Describe the region of the pixels at these rows and columns."""
    top, left, bottom, right = row.min(), column.min(), row.max() + 1, column.max() + 1
    values = map_[row, column]
    at = int(values.argmax())
    first = max(top - SURROUND, 0), max(left - SURROUND, 0)
    around = xyz[first[0] : bottom + SURROUND, first[1] : right + SURROUND]
    crop: Float = np.ascontiguousarray(np.moveaxis(around, -1, 0), np.float64)
    valid = np.isfinite(crop).all(0) & (crop != 0).any(0)
    inside = row - first[0], column - first[1]
    element = _elements(crop, valid)[inside]
    element = element[np.isfinite(element)]
    points = crop[:, inside[0], inside[1]][:, valid[inside]]
    discrepancy = {name: float(m[row, column].max()) for name, m in maps.items()}
    return Region(
        box=(int(top), int(left), int(bottom), int(right)),
        pixels=len(row),
        area=float(element.mean()) * MM2 * len(row) if len(element) else None,
        centroid=_triple(points.mean(1)) if points.size else None,
        peak=float(values[at]),
        peak_pixel=(int(row[at]), int(column[at])),
        modality=_modality(discrepancy, thresholds),
        discrepancy=discrepancy,
    )


def _modality(discrepancy: Mapping[str, float], thresholds: Mapping[str, float]) -> str | None:
    known = {k: v for k, v in discrepancy.items() if k in thresholds}
    above = [k for k, v in known.items() if v > thresholds[k]]
    if len(above) > 1:
        return "both"
    if above or not known:
        return above[0] if above else None
    return max(known, key=lambda k: known[k] / thresholds[k] if thresholds[k] > 0 else 0.0)


def _elements(xyz: Float, valid: Mask) -> Float:
    """Compute the surface that each pixel stands for.

    Args:
        xyz: (3, h, w) metres.
        valid: (h, w), where there is a point.

    Returns:
        (h, w) m², NaN where there is no point or no triangle around it.

    """
    points = np.where(valid, xyz, np.nan)
    # A block of 2 x 2 pixels is the triangles a b c and d c b.
    across, down = np.diff(points, axis=2), np.diff(points, axis=1)
    row_edge, column_edge = _length(across), _length(down)
    limit = JUMP * _median(row_edge, column_edge)
    # NaN, at a missing point, compares false.
    beside, below = row_edge <= limit, column_edge <= limit
    upper, lower = beside[:-1] & below[:, :-1], beside[1:] & below[:, 1:]
    vector = np.where(upper, np.cross(across[:, :-1], down[:, :, :-1], axis=0), 0)
    vector += np.where(lower, np.cross(across[:, 1:], down[:, :, 1:], axis=0), 0)
    summed = _around(np.concatenate([vector / 2, [upper.astype(np.float64) + lower]]))
    count = np.where(valid & (summed[3] > 0), summed[3], np.nan)
    return 2 * _length(summed[:3]) / count


def _length(vectors: Float) -> Float:
    length: Float = np.sqrt(np.einsum("kij,kij->ij", vectors, vectors))
    return length


def _around(blocks: Float) -> Float:
    """Sum blocks (C, h - 1, w - 1) over those within REACH pixels of each pixel, (C, h, w)."""
    padded = np.pad(blocks, ((0, 0), (REACH, REACH), (REACH, REACH)))
    height, width = blocks.shape[1] + 1, blocks.shape[2] + 1
    rows = reduce(add, [padded[:, i : i + height] for i in range(2 * REACH)])
    return reduce(add, [rows[:, :, i : i + width] for i in range(2 * REACH)])


def _median(*lengths: Float) -> float:
    known = np.concatenate([length[np.isfinite(length)] for length in lengths])
    return float(np.median(known)) if len(known) else 0.0


def _triple(values: Float) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
