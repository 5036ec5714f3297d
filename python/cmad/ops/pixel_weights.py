"""Sparse weights from pixels to centres."""

import torch
from torch import Tensor

from cmad.ops._call import expect, in_range, native


def pixel_weights(
    neighbour: Tensor,
    neighbour_weight: Tensor,
    point: Tensor,
    first: Tensor,
    tap: Tensor,
    pixel: Tensor,
    *,
    centres: int,
    check: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compose point interpolation with a separable footprint into sparse rows.

    Placing the interpolated features of the points on the frame, zeros elsewhere, then smoothing or
    pooling it, is linear in the features of the centres; this returns that linear map, so that the
    (S, S, D) feature map is never built. The result is on a raster of R by R: the frame's own
    pixels or, with a wider footprint, patches. Its pixel (r, c) reads the frame's pixels
    ``first[r] + i`` by ``first[c] + j`` with weight ``tap[r, i] * tap[c, j]``; beyond the frame
    there are zeros. Reads on the host, checked or not, how many entries the result has.

    Args:
        neighbour: (N, J) int64 in [0, centres), centres that each point is interpolated from.
        neighbour_weight: (N, J) float32, their weights; entries of weight 0 are left out.
        point: (S, S) int64 in [-1, N), the point seen at each pixel of the frame, -1 for none.
        first: (R,) int64, first pixel that each output row (and column) reads; may lie outside.
        tap: (R, T) float32, weights along one axis.
        pixel: (P,) int64 in [0, R * R), output pixels, row * R + column.
        centres: how many there are, less than 2**31.
        check: read the values of ``neighbour``, ``point`` and ``pixel`` to check them.

    Returns:
        start (P + 1,) int64, index (E,) int32 and weight (E,) float32 as `interpolate` takes them,
        the entries of a row ascending by centre.

    """
    return _composed(
        (neighbour, neighbour_weight, point, first, tap, pixel, centres), check=check, room=False
    )


def with_room(
    neighbour: Tensor,
    neighbour_weight: Tensor,
    point: Tensor,
    first: Tensor,
    tap: Tensor,
    pixel: Tensor,
    *,
    centres: int,
    check: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute what `pixel_weights` does, and unless checked read nothing on the host.

    Index and weight have room for the most entries that these sizes allow, T * T * J and at most
    ``centres`` for each pixel; behind the last pixel's entries they are 0.
    """
    return _composed(
        (neighbour, neighbour_weight, point, first, tap, pixel, centres), check=check, room=True
    )


def _composed(
    given: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int], *, check: bool, room: bool
) -> tuple[Tensor, Tensor, Tensor]:
    neighbour, neighbour_weight, point, first, tap, pixel, centres = given
    n = expect(
        "pixel_weights",
        neighbour=(neighbour, "N J", torch.int64),
        neighbour_weight=(neighbour_weight, "N J", torch.float32),
        point=(point, "S S", torch.int64),
        first=(first, "R", torch.int64),
        tap=(tap, "R T", torch.float32),
        pixel=(pixel, "P", torch.int64),
    )
    if not 0 <= centres < 2**31:
        raise ValueError(f"pixel_weights: centres must be in [0, 2**31), got {centres}")
    lib, stream = native(point.device)
    if check:
        in_range("pixel_weights", "neighbour", neighbour, 0, centres, f"[0, centres={centres})")
        in_range("pixel_weights", "point", point, -1, n["N"], f"[-1, N={n['N']})")
        in_range("pixel_weights", "pixel", pixel, 0, n["R"] ** 2, f"[0, {n['R'] ** 2})")
    inputs = (
        neighbour.contiguous(),
        neighbour_weight.detach().contiguous(),
        point.contiguous(),
        first.contiguous(),
        tap.detach().contiguous(),
        pixel.contiguous(),
        centres,
    )
    start = pixel.new_empty(n["P"] + 1)
    lib.pixel_weights_start(*inputs, start, stream)
    if room:
        entries = n["P"] * min(n["T"] ** 2 * n["J"], centres)
        index, weight = pixel.new_zeros(entries, dtype=torch.int32), tap.new_zeros(entries)
    else:
        entries = int(start[-1])
        index, weight = pixel.new_empty(entries, dtype=torch.int32), tap.new_empty(entries)
    lib.pixel_weights(*inputs, start, index, weight, stream)
    return start, index, weight
