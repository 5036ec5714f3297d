"""Rows of features on any raster, composed from what the extractors made; no map is formed.

A raster divides the frame's square into R x R cells. CFM takes the S x S pixels themselves, memory
banks take patches: 28 x 28, 56 x 56. Everything between an extractor's output and a cell is linear,
so each cell is a sparse combination of few tokens or centres.
"""

import itertools
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
import torch.nn.functional as functional
from torch import Tensor

from cmad import gpu, ops
from cmad.ops.pixel_weights import with_room
from cmad.types import Features, PixelWeights, Points


@dataclass(frozen=True)
class Smoothing:
    """How the 3D features at the pixels become those of cells; the defaults are the paper's.

    The mean over 3 x 3 pixels, those without a point counting as zeros (CFM, section 3.1), then
    over the pixels of a cell where cells are larger than pixels.
    """

    padding: int = 1
    """Zeros around the image for the 3 x 3 mean, 0 or 1; with 0 the cells of the smaller map are
    spread over the square: a shift of up to half a pixel to the centre, as published."""
    rim: bool = False
    """Whether the foreground also has the cells that only the smoothing reaches."""
    zero_sum_is_missing: bool = False
    """Whether a cell whose channels add up to exactly 0 is no foreground."""


@dataclass(frozen=True)
class Raster:
    """The cells that features are asked for at."""

    size: int
    """R, cells along each side."""
    smoothing: Smoothing = Smoothing()
    nearest: bool = False
    """Whether a cell takes the token that it lies in, or interpolates between them bilinearly.
    Where there are more tokens than cells, it takes their mean in either case."""


@dataclass(frozen=True, eq=False)
class Taps:
    """What each of R outputs reads along one axis: inputs from ``first`` on, with weights."""

    first: Tensor
    """(R,) int64; may be negative or reach beyond the input, where it reads zeros."""
    tap: Tensor
    """(R, T) float32."""


@dataclass(frozen=True, eq=False)
class Spread:
    """Rows of features at cells, not interpolated yet."""

    features: Tensor
    """(M, D) float32, tokens or centres."""
    weights: PixelWeights
    """From their rows to the Q cells."""


def rows(features: Features, raster: Raster, cell: Tensor | None = None) -> dict[str, Tensor]:
    """Compute the features of cells, of all modalities that there are.

    Args:
        features: of one frame; tokens and centres of any floating dtype.
        raster: of the cells.
        cell: (Q,) int64, row * R + column, on the features' device; None takes the `foreground`.

    Returns:
        (Q, D) float32 by modality, ``"2d"`` and ``"3d"``; the channels of several extractors of a
        modality lie side by side, in their order.

    """
    cell = foreground(features, raster) if cell is None else cell
    return {
        modality: _joined([interpolated(one) for one in parts])
        for modality, parts in _parts(features, raster, cell).items()
    }


def spread(features: Features, raster: Raster, cell: Tensor) -> dict[str, Spread]:
    """Compose what `rows` would interpolate, without doing so.

    Args:
        features: of one frame.
        raster: of the cells.
        cell: (Q,) int64, row * R + column.

    Returns:
        By modality, ``"2d"`` and ``"3d"``; of several extractors of a modality, each has rows of
        its own, zero in the channels of the others.

    """
    return {m: _stacked(parts) for m, parts in _parts(features, raster, cell).items()}


def interpolated(of: Spread) -> Tensor:
    """Compute the rows at the cells, (Q, D) float32."""
    weights = of.weights
    return ops.interpolate(of.features, weights.start, weights.index, weights.weight, check=False)


def _parts(features: Features, raster: Raster, cell: Tensor) -> dict[str, list[Spread]]:
    """What each extractor made, by modality."""
    found: dict[str, list[Spread]] = {}
    if features.tokens:
        found["2d"] = [_of_tokens(t, raster, cell) for t in features.tokens.values()]
    if features.points:
        assert features.valid is not None  # points are of the valid pixels
        found["3d"] = [
            Spread(p.features.float(), point_weights(p, features.valid, raster, cell))
            for p in features.points.values()
        ]
    return found


def _stacked(parts: list[Spread]) -> Spread:
    if len(parts) == 1:
        return parts[0]
    cell = torch.cat([_cell_of(part.weights) for part in parts])
    order = cell.argsort(stable=True)
    first = itertools.accumulate((len(part.features) for part in parts), initial=0)
    index = torch.cat([p.weights.index + m for p, m in zip(parts, first, strict=False)])
    weights = PixelWeights(
        torch.stack([part.weights.start for part in parts]).sum(0),
        index[order],
        torch.cat([part.weights.weight for part in parts])[order],
    )
    features = torch.block_diag(*[p.features for p in parts])  # type: ignore[no-untyped-call]
    return Spread(features, weights)


def _cell_of(weights: PixelWeights) -> Tensor:
    """Return the cell of each entry; the number of cells for entries behind the last."""
    entry = torch.arange(len(weights.index), device=weights.start.device)
    return torch.searchsorted(weights.start[1:], entry, right=True)


def foreground(features: Features, raster: Raster) -> Tensor:
    """Find the cells that a 3D feature reaches.

    Args:
        features: of one frame.
        raster: of the cells; its smoothing says whether the rim belongs to them.

    Returns:
        (P,) int64, ascending, row * R + column, on the features' device; where the frame has no
        points `everything`.

    """
    valid = features.valid
    if valid is None:
        return everything(features, raster)
    if raster.smoothing.rim:
        reached = _reached(valid, smoothing_taps(len(valid), raster, valid.device))
    else:
        reached = functional.adaptive_max_pool2d(valid[None].float(), raster.size)[0] > 0
    return _cells_of(reached, features)


def everything(features: Features, raster: Raster) -> Tensor:
    """Find the cells of the whole image, or of its region of interest where one is told.

    Args:
        features: of one frame.
        raster: of the cells.

    Returns:
        (P,) int64, ascending, row * R + column, on the features' device.

    """
    if features.region is None:
        return torch.arange(raster.size**2, device=features.device)
    reached = functional.adaptive_max_pool2d(features.region[None].float(), raster.size)[0] > 0
    return _cells_of(reached, features)


def _cells_of(reached: Tensor, features: Features) -> Tensor:
    """Number the cells that are true: on the CPU, so that their count is known without waiting."""
    [cell] = gpu.upload([reached.flatten().nonzero()[:, 0]], features.device)
    return cell


def counted(row_3d: Tensor, smoothing: Smoothing) -> Tensor:
    """Say which rows of 3D features count: all, or those whose channels do not add up to 0.

    Args:
        row_3d: (Q, D) float32.
        smoothing: with the choice.

    Returns:
        (Q,) bool.

    """
    if smoothing.zero_sum_is_missing:
        return row_3d.sum(-1) != 0
    return torch.ones(len(row_3d), dtype=torch.bool, device=row_3d.device)


def point_weights(points: Points, valid: Tensor, raster: Raster, cell: Tensor) -> PixelWeights:
    """Compose the points' interpolation with the smoothing: sparse weights from centres to cells.

    Args:
        points: of the N valid pixels, in row-major order.
        valid: (S, S) bool with N true, on the CPU or where the points are.
        raster: of the cells.
        cell: (Q,) int64, row * R + column.

    Returns:
        A row of weights per cell; empty where no point is in reach. On a GPU there may be entries
        behind those of the last row, so that nothing waits for their number.

    """
    device = points.weight.device
    if valid.device != device:
        [valid] = gpu.upload([valid], device)
    number = valid.flatten().cumsum(0).view_as(valid) - 1
    point = torch.where(valid, number, -1)
    taps = smoothing_taps(len(valid), raster, device)
    compose = ops.pixel_weights if device.type == "cpu" else with_room
    start, index, weight = compose(
        points.neighbour,
        points.weight,
        point,
        taps.first,
        taps.tap,
        cell,
        centres=len(points.features),
        check=False,
    )
    return PixelWeights(start, index, weight)


@lru_cache(maxsize=64)
def smoothing_taps(size: int, raster: Raster, device: torch.device) -> Taps:
    """Describe along one axis how cells read the pixels of the 3D feature map.

    Args:
        size: S, pixels along each side.
        raster: its smoothing says how.
        device: of the taps, which are kept.

    Returns:
        Taps of the R cells: the 3 x 3 mean's and the cell mean's in one.

    """
    padding = raster.smoothing.padding
    means = _cell_taps(size - 2 + 2 * padding, raster.size)  # mean c is of pixels c - padding on
    tap = torch.zeros(raster.size, means.tap.shape[1] + 2, dtype=torch.float64)
    for offset in range(3):
        tap[:, offset : offset + means.tap.shape[1]] += means.tap / 3
    return _on(device, means.first - padding, tap)


@lru_cache(maxsize=64)
def token_taps(tokens: int, raster: Raster, device: torch.device) -> Taps:
    """Describe along one axis how cells read the tokens of a 2D extractor.

    Args:
        tokens: along this axis, which span the square.
        raster: of the cells.
        device: of the taps, which are kept.

    Returns:
        Taps that stay within the tokens: bilinear as torch with align_corners=False (CFM, section
        3.1), or the mean over the tokens that a cell overlaps.

    """
    if raster.nearest or raster.size <= tokens or tokens == 1:
        means = _cell_taps(tokens, raster.size)
        return _on(device, means.first, means.tap)
    position = (torch.arange(raster.size) + 0.5).double() * tokens / raster.size - 0.5
    position = position.clamp(0, tokens - 1)
    first = position.long().clamp(max=tokens - 2)
    share = position - first
    return _on(device, first, torch.stack([1 - share, share], 1))


def _on(device: torch.device, first: Tensor, tap: Tensor) -> Taps:
    return Taps(first.to(device), tap.to(device, torch.float32))


def _cell_taps(size: int, cells: int) -> Taps:
    """Mean over the inputs that each cell overlaps, as torch's adaptive pooling; float64."""
    cell = torch.arange(cells)
    begin, end = cell * size // cells, -(-(cell + 1) * size // cells)
    offset = torch.arange(int((end - begin).max()))
    inside = begin[:, None] + offset < end[:, None]
    return Taps(begin, inside.double() / (end - begin)[:, None])


def _reached(valid: Tensor, taps: Taps) -> Tensor:
    """Cells whose taps read a valid pixel, (R, R) bool."""
    size = len(valid)
    length = (taps.tap != 0).sum(1)
    low, high = (at.clamp(0, size) for at in (taps.first, taps.first + length))
    sums = functional.pad(valid.long().cumsum(0).cumsum(1), (1, 0, 1, 0))
    across = sums[high] - sums[low]
    return (across[:, high] - across[:, low]) > 0


def _of_tokens(tokens: Tensor, raster: Raster, cell: Tensor) -> Spread:
    height, width, dim = tokens.shape
    vertical = token_taps(height, raster, tokens.device)
    horizontal = token_taps(width, raster, tokens.device)
    r, c = cell // raster.size, cell % raster.size
    index = _read(vertical, r, height)[:, :, None] * width + _read(horizontal, c, width)[:, None]
    weight = vertical.tap[r][:, :, None] * horizontal.tap[c][:, None]
    entries = vertical.tap.shape[1] * horizontal.tap.shape[1]
    start = torch.arange(len(cell) + 1, device=tokens.device) * entries
    weights = PixelWeights(start, index.flatten().int(), weight.flatten())
    return Spread(tokens.float().reshape(height * width, dim), weights)


def _read(taps: Taps, at: Tensor, size: int) -> Tensor:
    """Inputs that the outputs ``at`` read, (Q, T); those past the end have weight 0."""
    offset = torch.arange(taps.tap.shape[1], device=at.device)
    return (taps.first[at][:, None] + offset).clamp(max=size - 1)


def _joined(blocks: list[Tensor]) -> Tensor:
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, 1)


def only(features: Features, modalities: tuple[str, ...]) -> Features:
    """Return the features without those of other modalities, as if they had not been seen.

    Args:
        features: of one frame.
        modalities: to keep.

    """
    kept = features
    if "2d" not in modalities:
        kept = replace(kept, tokens={})
    if "3d" not in modalities:
        kept = replace(kept, points={}, valid=None, depth=None)
    return kept
