"""Per-region overlap: the curve and the area under it (MVTec 3D-AD; CFM, section 4)."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from cmad import ops

Float = npt.NDArray[np.float64]
Images = Iterable[npt.ArrayLike]


def pro_curve(maps: Images, masks: Images, thresholds: int | None = None) -> tuple[Float, Float]:
    """Compute the mean overlap of the defect regions against the share of good pixels marked.

    Regions are the 8-connected components of the masks; each counts the same.

    Args:
        maps: (H, W) each, finite, sizes may differ.
        masks: (H, W) each, true on defects, sizes as the maps.
        thresholds: None takes every distinct score of a good pixel as threshold (exact). A number
            T, at least 2, takes the published grid: the scores at T evenly spaced positions of
            the sorted scores of all good pixels. A pixel is marked if its score is
            above the threshold; between two thresholds the curve is a straight line.

    Returns:
        fpr and pro, float64, ascending, from a false-positive rate of 0 to (1, 1).

    Raises:
        ValueError: sizes differ, values are not finite, or there is no defect or no good pixel.

    """
    good, defect, share = _pooled(maps, masks)
    if thresholds is None:
        level = np.unique(good)[::-1]
        below = np.searchsorted(good, level, side="right")
    elif thresholds >= 2:
        position = np.linspace(0, len(good) - 1, thresholds, dtype=int)[::-1]
        # Counted by position, not by value: the published grid ignores ties.
        level, below = good[position], position + 1
    else:
        raise ValueError(f"pro_curve: thresholds must be at least 2, got {thresholds}")
    above = np.concatenate([np.cumsum(share[::-1])[::-1], [0.0]])
    pro = above[np.searchsorted(defect, level, side="right")]
    return np.append(1 - below / len(good), 1.0), np.append(pro, 1.0)


def aupro(
    maps: Images,
    masks: Images,
    limits: Sequence[float] = (0.3, 0.1, 0.05, 0.01),
    thresholds: int | None = None,
) -> list[float]:
    """Compute the area under the PRO curve up to limits of the false-positive rate.

    The area is the trapezoids' up to the limit, where the curve is interpolated, divided by the
    limit.

    Args:
        maps: (H, W) each, finite, sizes may differ.
        masks: (H, W) each, true on defects, sizes as the maps.
        limits: in (0, 1].
        thresholds: see `pro_curve`; None is exact, 99 is the published grid of CFM, 100 that of
            M3DM and BTF.

    Returns:
        One value in [0, 1] per limit.

    """
    if not all(0 < limit <= 1 for limit in limits):
        raise ValueError(f"aupro: limits must be in (0, 1], got {list(limits)}")
    fpr, pro = pro_curve(maps, masks, thresholds)
    return [_area(fpr, pro, limit) / limit for limit in limits]


def _area(fpr: Float, pro: Float, limit: float) -> float:
    inside = fpr <= limit
    x, y = fpr[inside], pro[inside]
    if x[-1] < limit:
        after = len(x)
        slope = (pro[after] - y[-1]) / (fpr[after] - x[-1])
        x, y = np.append(x, limit), np.append(y, y[-1] + slope * (limit - x[-1]))
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))


def _pooled(maps: Images, masks: Images) -> tuple[Float, Float, Float]:
    """Sorted scores of good pixels; of defect pixels; and each defect pixel's part of the PRO."""
    good, defect, share = [], [], []
    regions = 0
    scores, truths = list(maps), list(masks)
    if len(scores) != len(truths):
        raise ValueError(f"aupro: needs as many masks as maps, got {len(truths)}, {len(scores)}")
    for i, (m, t) in enumerate(zip(scores, truths, strict=True)):
        map_, mask = np.asarray(m, np.float64), np.asarray(t).astype(bool)
        if map_.ndim != 2 or map_.shape != mask.shape:
            raise ValueError(f"aupro: map {i} is {map_.shape}, its mask {mask.shape}")
        if not np.isfinite(map_).all():
            raise ValueError(f"aupro: map {i} has values that are not finite")
        good.append(map_[~mask])
        if mask.any():
            region = _regions(mask)
            size = np.bincount(region)
            regions += len(size)
            defect.append(map_[mask])
            share.append(1 / size[region])
    if regions == 0:
        raise ValueError("aupro: undefined without a defect in the masks")
    g, d, s = np.concatenate(good), np.concatenate(defect), np.concatenate(share) / regions
    if len(g) == 0:
        raise ValueError("aupro: undefined without a good pixel")
    order = np.argsort(d, kind="stable")
    return np.sort(g), d[order], s[order]


def _regions(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """8-connected component of each true pixel: density clusters with a radius of 1.5 pixels."""
    row, column = np.nonzero(mask)
    pixel = np.stack([row, column, np.zeros_like(row)], 1).astype(np.float32)
    label: npt.NDArray[np.int64] = ops.clusters(torch.from_numpy(pixel), 1.5, 1).numpy()
    return label
