"""Pixel metrics: exact curves over all pixels of all images, from one sort of the defects' scores.

A curve rises only where the threshold passes the score of a defect pixel, and is level between. So
only these are sorted; the good pixels, by far the most, are counted into the intervals between them
(`ops.count_between`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from cmad import ops

Float = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Images = Iterable[npt.ArrayLike]
Pair = tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_]]

LIMITS = (0.3, 0.1, 0.05, 0.01)
"""Of the false-positive rate, that the papers integrate up to (CFM, section 4)."""
PIECE = 1 << 23
"""Pixels counted together, at least; bounds the memory beside that of the defects."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """What every pixel metric is computed from; made by `pool`.

    With M distinct scores on defect pixels, ascending, the good pixels' scores fall into M + 1
    intervals: below them all, from each up to but without the next, and from the highest on.
    """

    good: int
    """Number of good pixels."""
    count: Ints
    """(M + 1,) good pixels in each interval."""
    tied: Ints
    """(M,) good pixels with exactly each of the M scores."""
    defect: Ints
    """(M,) defect pixels with each score."""
    share: Float
    """(M,) what these add to the mean overlap of the regions; sums to 1."""

    def pro_curve(self, thresholds: int | None = None) -> tuple[Float, Float]:
        """Compute the PRO curve; see `cmad.metrics.pro_curve`."""
        # With a level in each interval; at most 1, in spite of rounding.
        overlap = np.append(np.minimum(_from_above(self.share), 1), 0.0)
        overlap[0] = 1
        if thresholds is None:
            # Two points for each defect score: just above it, and at it with the pixels of both
            # kinds that have it. Where no good pixel does, these are a vertical step.
            at = _from_above(self.count)[1:]
            wrong = np.append(np.stack([at, at - self.tied], 1).ravel(), 0)[::-1]
            found = np.append(np.repeat(overlap, 2)[1:-1], 0)[::-1]
            wrong, found = np.append(wrong, self.good), np.append(found, 1)
            new = np.append(True, (np.diff(wrong) > 0) | (np.diff(found) > 0))
            return wrong[new] / self.good, found[new]
        if thresholds < 2:
            raise ValueError(f"pro_curve: thresholds must be at least 2, got {thresholds}")
        # Counted by position, not by value: the published grid ignores ties.
        position = np.linspace(0, self.good - 1, thresholds, dtype=int)[::-1]
        interval = np.searchsorted(np.cumsum(self.count), position, side="right")
        return np.append(1 - (position + 1) / self.good, 1.0), np.append(overlap[interval], 1.0)

    def aupro(self, limits: Iterable[float] = LIMITS, thresholds: int | None = None) -> list[float]:
        """Compute areas under the PRO curve; see `cmad.metrics.aupro`."""
        limits = list(limits)
        if not all(0 < limit <= 1 for limit in limits):
            raise ValueError(f"aupro: limits must be in (0, 1], got {limits}")
        fpr, pro = self.pro_curve(thresholds)
        return [min(_area(fpr, pro, limit) / limit, 1.0) for limit in limits]

    def auroc(self) -> float:
        """Compute the area under the ROC curve; see `cmad.metrics.pixel_auroc`."""
        below = np.cumsum(self.count)[:-1]
        won = float(self.defect @ (below + self.tied / 2))
        return won / (float(self.defect.sum()) * self.good)

    def average_precision(self) -> float:
        """Compute the average precision; see `cmad.metrics.pixel_average_precision`."""
        found, wrong = _from_above(self.defect), _from_above(self.count)[1:]
        return float(self.defect @ (found / (found + wrong)) / self.defect.sum())


def pool(maps: Images, masks: Images) -> Pixels:
    """Reduce images to what their pixel metrics are computed from, once for all of them.

    Exact for any number of images. Memory: some 120 bytes per defect pixel and the pixels of a few
    images; a sequence is gone through twice, so one that reads its items from disk is never held
    as a whole. An iterator is turned into a list.

    Args:
        maps: (H, W) each, finite, sizes may differ; a stack, a tensor, or any sequence. Floats of
            32 or 64 bits are taken as they are, others as 64-bit ones.
        masks: (H, W) each, nonzero on defects, sizes as the maps.

    Returns:
        The pooled pixels, with a method for each metric.

    Raises:
        TypeError: not real numbers.
        ValueError: sizes differ, values are not finite, or there is no defect or no good pixel.

    """
    scores, truths = _sequence(maps), _sequence(masks)
    if len(scores) != len(truths):
        raise ValueError(f"metrics: needs as many masks as maps, got {len(truths)}, {len(scores)}")
    defect, share, good, dtype = _defects(scores, truths)
    if len(defect) == 0:
        raise ValueError("metrics: undefined without a defect in the masks")
    if good == 0:
        raise ValueError("metrics: undefined without a good pixel")
    order = np.argsort(defect)
    defect, share = defect[order], share[order]
    first = np.flatnonzero(np.append(True, defect[1:] != defect[:-1]))
    level = torch.from_numpy(defect[first])
    so_far = None
    # Each piece costs a pass over the levels, so pieces grow with them.
    for score, skip in _pieces(scores, truths, dtype, max(PIECE, len(level))):
        so_far = ops.count_between(_tensor(score), _tensor(skip), level, so_far)
    count, tied = (t.numpy() for t in so_far or ())
    return Pixels(
        good=good,
        count=count,
        tied=tied,
        defect=np.diff(first, append=len(defect)),
        share=np.add.reduceat(share, first),
    )


def pro_curve(maps: Images, masks: Images, thresholds: int | None = None) -> tuple[Float, Float]:
    """Compute the mean overlap of the defect regions against the share of good pixels marked.

    Regions are the 8-connected components of the masks; each counts the same (MVTec 3D-AD; CFM,
    section 4). Between two thresholds the curve is a straight line. docs/evaluation.md compares the
    two protocols.

    Args:
        maps: see `pool`.
        masks: see `pool`.
        thresholds: None takes every distinct score of any pixel as threshold, and marks the pixels
            from it on, as the evaluation script of MVTec 3D-AD does (exact). A number T, at least
            2, takes the published grid: the scores at T evenly spaced positions of the sorted
            scores of all good pixels, and marks the pixels above.

    Returns:
        fpr and pro, float64, neither ever descending, to (1, 1). The exact curve begins at (0, 0);
        it has vertical steps, and of its level parts, between defect scores, only the two ends. The
        grid's begins at a false-positive rate of 0 with what is found before the first.

    Raises:
        ValueError: see `pool`.

    """
    return pool(maps, masks).pro_curve(thresholds)


def aupro(
    maps: Images,
    masks: Images,
    limits: Iterable[float] = LIMITS,
    thresholds: int | None = None,
) -> list[float]:
    """Compute the area under the PRO curve up to limits of the false-positive rate.

    The area is the trapezoids' up to the limit, where the curve is interpolated, divided by the
    limit.

    Args:
        maps: see `pool`.
        masks: see `pool`.
        limits: in (0, 1].
        thresholds: see `pro_curve`; None is exact, 99 is the published grid of CFM, 100 that of
            M3DM, BTF and G2SF.

    Returns:
        One value in [0, 1] per limit.

    Raises:
        ValueError: see `pool`; or a limit is out of range.

    """
    return pool(maps, masks).aupro(limits, thresholds)


def pixel_auroc(maps: Images, masks: Images) -> float:
    """Compute the probability that a defect pixel scores above a good one, ties counting half.

    Args:
        maps: see `pool`.
        masks: see `pool`.

    Returns:
        In [0, 1].

    Raises:
        ValueError: see `pool`.

    """
    return pool(maps, masks).auroc()


def pixel_average_precision(maps: Images, masks: Images) -> float:
    """Compute the mean precision over the recall of defect pixels, at every distinct score.

    Not interpolated: the sum of (R_n - R_n-1) P_n over the distinct scores in descending order.

    Args:
        maps: see `pool`.
        masks: see `pool`.

    Returns:
        In (0, 1].

    Raises:
        ValueError: see `pool`.

    """
    return pool(maps, masks).average_precision()


def _defects(
    maps: Sequence[npt.ArrayLike], masks: Sequence[npt.ArrayLike]
) -> tuple[npt.NDArray[np.floating], Float, int, np.dtype[np.floating]]:
    """Scores of the defect pixels, what each adds to the mean overlap, good pixels, and dtype."""
    dtype: np.dtype[np.floating] = np.dtype(np.float32)
    scores: list[npt.NDArray[np.floating]] = [np.zeros(0, dtype)]
    shares: list[Float] = [np.zeros(0)]
    good = regions = 0
    for i, (m, t) in enumerate(zip(maps, masks, strict=True)):
        map_, mask = _pair(m, t)
        if map_.ndim != 2 or map_.shape != mask.shape:
            raise ValueError(f"metrics: map {i} is {map_.shape}, its mask {mask.shape}")
        if not _finite(map_):
            raise ValueError(f"metrics: map {i} has values that are not finite")
        dtype = np.promote_types(dtype, map_.dtype)
        marked = int(np.count_nonzero(mask))
        good += mask.size - marked
        if marked:
            label = ops.components(_tensor(mask)).numpy()
            size = np.bincount(label)
            regions += len(size)
            scores.append(map_[mask])
            shares.append((1 / size)[label])
    return (
        np.concatenate(scores, dtype=dtype),
        np.concatenate(shares) / max(regions, 1),
        good,
        dtype,
    )


def _pieces(
    maps: Sequence[npt.ArrayLike],
    masks: Sequence[npt.ArrayLike],
    dtype: np.dtype[np.floating],
    size: int,
) -> Iterator[Pair]:
    """Yield the pixels of some images at a time, about ``size`` of them, as long rows."""
    if isinstance(maps, np.ndarray) and isinstance(masks, np.ndarray):  # without copies
        step = max(1, size // maps[0].size)
        for i in range(0, len(maps), step):
            map_, mask = _pair(maps[i : i + step], masks[i : i + step])
            yield map_.astype(dtype, copy=False).ravel(), mask.ravel()
        return
    held: list[Pair] = []
    for i, (m, t) in enumerate(zip(maps, masks, strict=True)):
        map_, mask = _pair(m, t)
        held.append((map_.ravel(), mask.ravel()))
        if i + 1 == len(maps) or sum(skip.size for _, skip in held) >= size:
            score, skip = (np.concatenate(parts) for parts in zip(*held, strict=True))
            yield score.astype(dtype, copy=False), skip
            held = []


def _pair(map_: npt.ArrayLike, mask: npt.ArrayLike) -> Pair:
    """Return a map as floats of 32 or 64 bits, and its mask as bool."""
    scores, truth = _array(map_), _array(mask)
    # Also where a bool array is a view of bytes other than 0 and 1.
    marked = (truth.view(np.uint8) if truth.dtype == bool else truth) != 0
    if scores.dtype == np.float32:
        return scores.astype(np.float32, copy=False), marked
    return scores.astype(np.float64, copy=False), marked


def _finite(map_: npt.NDArray[np.floating]) -> bool:
    flat = map_.ravel()
    with np.errstate(all="ignore"):
        # A square that is not finite makes the sum so: one pass. Large numbers do so, too.
        return bool(np.isfinite(flat @ flat) or np.isfinite(flat).all())


def _array(image: npt.ArrayLike) -> npt.NDArray[np.generic]:
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = image.float() if image.dtype == torch.bfloat16 else image
    array = np.asarray(image)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"metrics: maps and masks must be real numbers, got {array.dtype}")
    return array


def _tensor(array: npt.NDArray[np.generic]) -> torch.Tensor:
    """Return a tensor of the same memory, unless it may not be written to or has gaps."""
    return torch.from_numpy(np.require(array, requirements=("C", "W")))


def _sequence(images: Images) -> Sequence[npt.ArrayLike]:
    if isinstance(images, torch.Tensor):
        images = _array(images)
    if isinstance(images, np.ndarray) and images.dtype.kind == "O":  # an array of arrays
        images = list(images)
    sequence = hasattr(images, "__getitem__") and hasattr(images, "__len__")
    return cast("Sequence[npt.ArrayLike]", images) if sequence else list(images)


def _from_above(values: Float | Ints) -> Float:
    """Sum of the values from each on."""
    return np.cumsum(values[::-1], dtype=np.float64)[::-1]


def _area(fpr: Float, pro: Float, limit: float) -> float:
    """Trapezoids under the curve up to the limit, where it is interpolated."""
    inside = int(np.searchsorted(fpr, limit, side="right"))
    x, y = fpr[:inside], pro[:inside]
    if x[-1] < limit:
        slope = (pro[inside] - y[-1]) / (fpr[inside] - x[-1])
        x, y = np.append(x, limit), np.append(y, y[-1] + slope * (limit - x[-1]))
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))
