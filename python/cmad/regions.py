"""Connected defects: where the map is above its threshold, and their size on the surface."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from cmad import ops
from cmad.types import Array, Region

Float = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Map = npt.NDArray[np.float32]

REACH = 2
"""Pixels to each side that a pixel's surface element is a mean over: neighbours' noise cancels."""
JUMP = 5.0
"""Edges of this many times the median edge are no surface but a jump in depth."""
SURROUND = 8
"""Pixels around a region whose edges belong to that median."""
OVERHEAD = 2000
"""Pixels whose surface takes about as long as what a call of `_surface` costs whatever its size."""
PIECE = 1 << 20
"""Numbers worked on together, at most, where they could be very many."""
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
    label = ops.components(torch.from_numpy(mask)).numpy()
    order = np.argsort(label, kind="stable")
    row, column = np.divmod(np.flatnonzero(mask)[order], mask.shape[1])
    # From here on each region's pixels stand together, in reading order.
    start = np.flatnonzero(np.diff(label[order], prepend=-1))
    size = np.diff(start, append=len(label))
    least = np.stack([np.minimum.reduceat(a, start) for a in (row, column)], 1)
    most = np.stack([np.maximum.reduceat(a, start) for a in (row, column)], 1) + 1
    element, point = _measured(points, row, column, size, np.concatenate([least, most], 1))
    area, known = _means(element, start)
    centroid, seen = _means(point, start)
    values = map_[row, column]
    peak = np.maximum.reduceat(values, start)
    place = np.arange(len(values))
    at = np.minimum.reduceat(np.where(values == np.repeat(peak, size), place, len(place)), start)
    largest = {k: np.maximum.reduceat(m[row, column], start).tolist() for k, m in maps.items()}
    found = []
    for i, (n, box) in enumerate(
        zip(size.tolist(), np.hstack([least, most]).tolist(), strict=True)
    ):
        discrepancy = {name: float(values[i]) for name, values in largest.items()}
        found.append(
            Region(
                box=(box[0], box[1], box[2], box[3]),
                pixels=n,
                area=float(area[i, 0]) * MM2 * n if known[i] else None,
                centroid=_triple(centroid[i]) if seen[i] else None,
                peak=float(peak[i]),
                peak_pixel=(int(row[at[i]]), int(column[at[i]])),
                modality=_modality(discrepancy, map_thresholds),
                discrepancy=discrepancy,
            )
        )
    return tuple(sorted(found, key=lambda region: -region.peak))


def _means(values: Float, start: Ints) -> tuple[Float, Ints]:
    """Means (R, C) of the rows (N, C) of each region that are finite, and how many are (R,)."""
    finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(values).all(1))
    total = np.add.reduceat(np.where(finite[:, None], values, 0), start)
    count = np.add.reduceat(finite.astype(np.intp), start)
    return total / np.maximum(count, 1)[:, None], count


def _modality(discrepancy: Mapping[str, float], thresholds: Mapping[str, float]) -> str | None:
    known = {k: v for k, v in discrepancy.items() if k in thresholds}
    above = [k for k, v in known.items() if v > thresholds[k]]
    if len(above) > 1:
        return "both"
    if above or not known:
        return above[0] if above else None
    return max(known, key=lambda k: known[k] / thresholds[k] if thresholds[k] > 0 else 0.0)


def _measured(
    xyz: npt.NDArray[np.generic], row: Ints, column: Ints, size: Ints, box: Ints
) -> tuple[Float, Float]:
    """Compute the surface that each pixel stands for, and its point.

    Args:
        xyz: (H, W, 3) metres.
        row: (N,) of the pixels, those of a region together.
        column: (N,)
        size: (R,) pixels of each region.
        box: (R, 4) of each region: top, left, bottom, right.

    Returns:
        (N, 1) m², NaN where there is no point or no triangle around it; and the points (N, 3), NaN
        where there is none.

    """
    window = np.concatenate(
        [np.maximum(box[:, :2] - SURROUND, 0), np.minimum(box[:, 2:] + SURROUND, xyz.shape[:2])], 1
    )
    element, point = np.empty((len(row), 1)), np.empty((len(row), 3))
    each = (window[:, 2:] - window[:, :2]).prod(1)
    whole = (window[:, 2:].max(0) - window[:, :2].min(0)).prod()
    # One window around all of them, unless they are few and far apart.
    step = 1 if (each + OVERHEAD).sum() < whole else len(size)
    end = np.cumsum(size)
    for i in range(0, len(size), step):
        some = slice(i, i + step)
        pixels = slice(end[i] - size[i], end[some][-1])
        element[pixels], point[pixels] = _surface(
            xyz, row[pixels], column[pixels], size[some], window[some]
        )
    return element, point


def _surface(
    xyz: npt.NDArray[np.generic], row: Ints, column: Ints, size: Ints, window: Ints
) -> tuple[Float, Float]:
    """Do `_measured` within the smallest window that holds those (R, 4) of the regions."""
    (top, left), (bottom, right) = window[:, :2].min(0), window[:, 2:].max(0)
    crop: Float = np.ascontiguousarray(np.moveaxis(xyz[top:bottom, left:right], -1, 0), np.float64)
    valid = np.isfinite(crop).all(0) & (crop != 0).any(0)
    points = np.where(valid, crop, np.nan)
    # A block of 2 x 2 pixels is the triangles a b c and d c b.
    across, down = np.diff(points, axis=2), np.diff(points, axis=1)
    row_edge, column_edge = _length(across), _length(down)
    limit = np.repeat(JUMP * _medians(row_edge, column_edge, window - [top, left, top, left]), size)
    # Of each block: the longer edge of either triangle, and twice their vector areas. Around the
    # blocks there are some without, so that all pixels have as many.
    blocks = np.full((8, bottom - top - 1 + 2 * REACH, right - left - 1 + 2 * REACH), np.nan)
    inner = blocks[:, REACH:-REACH, REACH:-REACH]
    inner[0] = np.maximum(row_edge[:-1], column_edge[:, :-1])
    inner[1] = np.maximum(row_edge[1:], column_edge[:, 1:])
    inner[2:5] = np.cross(across[:, :-1], down[:, :, :-1], axis=0)
    inner[5:8] = np.cross(across[:, 1:], down[:, :, 1:], axis=0)
    row, column = row - top, column - left
    element = np.empty((len(row), 1))
    for i in range(0, len(row), PIECE // 64):
        some = slice(i, i + PIECE // 64)
        element[some] = _elements(blocks, row[some], column[some], limit[some])
    point = points[:, row, column].T
    return np.where(np.isfinite(point[:, :1]), element, np.nan), point


def _elements(blocks: Float, row: Ints, column: Ints, limit: Float) -> Float:
    """Surface (N, 1) at pixels (N,) from the triangles around them with edges up to their limit."""
    width = blocks.shape[2]
    table, first = blocks.reshape(8, -1), row * width + column
    x, y, z, count = np.zeros((4, len(row)))
    for j in range(2 * REACH):
        for i in range(2 * REACH):
            upper, lower, *vectors = table[:, first + (i * width + j)]
            for longest, vector in ((upper, vectors[:3]), (lower, vectors[3:])):
                kept = longest <= limit  # false where a point is missing
                for total, part in zip((x, y, z), vector, strict=True):
                    total += np.where(kept, part, 0)
                count += kept
    # Two triangles for each pixel, of half their edges' cross products.
    length = np.sqrt(x * x + y * y + z * z)
    return np.where(count > 0, length / np.maximum(count, 1), np.nan)[:, None]


def _length(vectors: Float) -> Float:
    length: Float = np.sqrt(np.einsum("kij,kij->ij", vectors, vectors))
    return length


def _medians(row_edge: Float, column_edge: Float, window: Ints) -> Float:
    """Median of the edges that are known in each window (R, 4), 0 where none is; (R,)."""
    sizes, which = np.unique(window[:, 2:] - window[:, :2], axis=0, return_inverse=True)
    order = np.argsort(which, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(which[order])) + 1)
    median = np.zeros(len(window))
    for (height, width), group in zip(sizes.tolist(), groups, strict=True):
        rows = sliding_window_view(row_edge, (height, width - 1))
        columns = sliding_window_view(column_edge, (height - 1, width))
        step = max(1, PIECE // (2 * height * width))
        for some in (group[i : i + step] for i in range(0, len(group), step)):
            at, n = tuple(window[some, :2].T), len(some)
            unknown = np.full((n, 1), np.inf)  # one at least, or there could be nothing at all
            lengths = np.hstack([rows[at].reshape(n, -1), columns[at].reshape(n, -1), unknown])
            known = np.isfinite(lengths)
            lengths = np.sort(np.where(known, lengths, np.inf), axis=1)
            count, one = known.sum(1), np.arange(n)
            middle = lengths[one, np.maximum(count - 1, 0) // 2] + lengths[one, count // 2]
            median[some] = np.where(count > 0, middle / 2, 0)
    return median


def _triple(values: Float) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
