"""Connected defects: where the map is above its threshold, and their size on the surface."""

from collections.abc import Mapping

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
    pixels; left out are those with a missing point, and those across a jump in depth, with an edge
    of more than 5 times the median distance of neighbours around the region. A pixel with a point
    stands for two triangles of the mean vector area (area times unit normal) within 2 pixels around
    it: noise in depth, which makes each triangle larger, cancels in the vectors.

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
    row, column = np.nonzero(mask)
    label = _components(mask)
    order = np.argsort(label, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
    found = [_measured(row[g], column[g], map_, points, maps, map_thresholds) for g in groups]
    return tuple(sorted(found, key=lambda region: -region.peak))


def _components(mask: Mask) -> npt.NDArray[np.int64]:
    """Label each marked pixel, in row-major order, by its 8-connected component."""
    pixel = np.pad(np.argwhere(mask), ((0, 0), (0, 1))).astype(np.float32)
    label: npt.NDArray[np.int64] = ops.clusters(torch.from_numpy(pixel), 1.5, 1).numpy()
    return label


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
    crop = np.asarray(xyz[first[0] : bottom + SURROUND, first[1] : right + SURROUND], np.float64)
    valid = np.isfinite(crop).all(-1) & (crop != 0).any(-1)
    inside = row - first[0], column - first[1]
    element = _elements(crop, valid)[inside]
    element = element[np.isfinite(element)]
    points = crop[inside][valid[inside]]
    discrepancy = {name: float(m[row, column].max()) for name, m in maps.items()}
    return Region(
        box=(int(top), int(left), int(bottom), int(right)),
        pixels=len(row),
        area=float(element.mean()) * MM2 * len(row) if len(element) else None,
        centroid=_triple(points.mean(0)) if len(points) else None,
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
        xyz: (h, w, 3) metres.
        valid: (h, w), where there is a point.

    Returns:
        (h, w) m², NaN where there is no point or no triangle around it.

    """
    height, width = valid.shape
    if min(height, width) < 2:
        return np.full((height, width), np.nan)
    points = np.where(valid[..., None], xyz, np.nan)
    # A block of 2 x 2 pixels is the triangles a b c and d c b.
    across, down = np.diff(points, axis=1), np.diff(points, axis=0)
    slant = points[1:, :-1] - points[:-1, 1:]
    row_edge, column_edge, diagonal = (
        np.sqrt(np.einsum("ijk,ijk->ij", e, e)) for e in (across, down, slant)
    )
    limit = JUMP * _median(row_edge, column_edge)
    # NaN, at a missing point, compares false.
    row_edge, column_edge, diagonal = (e <= limit for e in (row_edge, column_edge, diagonal))
    upper = row_edge[:-1] & column_edge[:, :-1] & diagonal
    lower = row_edge[1:] & column_edge[:, 1:] & diagonal
    vector = np.where(upper[..., None], np.cross(across[:-1], down[:, :-1]), 0)
    vector += np.where(lower[..., None], np.cross(across[1:], down[:, 1:]), 0)
    summed = _around(np.concatenate([vector / 2, (upper + lower.astype(float))[..., None]], -1))
    count = np.where(valid & (summed[..., 3] > 0), summed[..., 3], np.nan)
    element: Float = 2 * np.linalg.norm(summed[..., :3], axis=-1) / count
    return element


def _around(blocks: Float) -> Float:
    """Sum blocks (h - 1, w - 1, C) over those within REACH pixels of each pixel (h, w)."""
    for axis in (0, 1):
        pad = [(REACH, REACH) if i == axis else (0, 0) for i in range(3)]
        padded = np.moveaxis(np.pad(blocks, pad), axis, 0)
        length = len(padded) - 2 * REACH + 1
        total = sum(padded[i : i + length] for i in range(2 * REACH))
        blocks = np.moveaxis(np.asarray(total), 0, axis)
    return blocks


def _median(*lengths: Float) -> float:
    known = np.concatenate([length[np.isfinite(length)] for length in lengths])
    return float(np.median(known)) if len(known) else 0.0


def _triple(values: Float) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
