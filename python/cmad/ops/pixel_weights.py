"""Sparse weights from pixels to centres."""

import torch
from torch import Tensor

from cmad.ops._call import expect, native


def pixel_weights(
    neighbour: Tensor,
    neighbour_weight: Tensor,
    point: Tensor,
    first: Tensor,
    tap: Tensor,
    pixel: Tensor,
    *,
    check: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compose point interpolation with a separable smoothing of the image into sparse rows.

    Placing the interpolated features of the points on the image, zeros elsewhere, and smoothing the
    image is linear in the features of the centres; this returns that linear map, so that the
    (S, S, D) feature map is never built. Output pixel (r, c) reads pixels ``first[r] + i`` by
    ``first[c] + j`` with weight ``tap[r, i] * tap[c, j]``; pixels outside the image are zero.

    Args:
        neighbour: (N, J) int64, centres that each point is interpolated from.
        neighbour_weight: (N, J) float32, their weights; entries of weight 0 are left out.
        point: (S, S) int64, the point seen at each pixel, -1 where there is none.
        first: (S,) int64, first pixel that each output row (and column) reads.
        tap: (S, T) float32, weights along one axis.
        pixel: (P,) int64 output pixels, row * S + column.
        check: read the values of ``point`` and ``pixel`` to check them.

    Returns:
        start (P + 1,) int64, index (E,) int32 and weight (E,) float32 as `interpolate` takes them,
        the entries of a row ascending by centre.

    """
    n = expect(
        "pixel_weights",
        neighbour=(neighbour, "N J", torch.int64),
        neighbour_weight=(neighbour_weight, "N J", torch.float32),
        point=(point, "S S", torch.int64),
        first=(first, "S", torch.int64),
        tap=(tap, "S T", torch.float32),
        pixel=(pixel, "P", torch.int64),
    )
    lib, stream = native(point.device)
    if check and point.numel() and not -1 <= int(point.min()) <= int(point.max()) < n["N"]:
        raise ValueError(f"pixel_weights: point must be in [-1, N={n['N']})")
    if check and n["P"] and not 0 <= int(pixel.min()) <= int(pixel.max()) < n["S"] ** 2:
        raise ValueError(f"pixel_weights: pixel must be in [0, {n['S'] ** 2})")
    room = n["P"] * n["T"] ** 2 * n["J"]
    start = pixel.new_empty(n["P"] + 1)
    index = pixel.new_empty(room, dtype=torch.int32)
    weight = tap.new_empty(room)
    lib.pixel_weights(
        neighbour.contiguous(),
        neighbour_weight.detach().contiguous(),
        point.contiguous(),
        first.contiguous(),
        tap.contiguous(),
        pixel.contiguous(),
        start,
        index,
        weight,
        stream,
    )
    used = int(start[-1])
    return start, index[:used].clone(), weight[:used].clone()
