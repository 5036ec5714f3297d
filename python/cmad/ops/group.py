"""Grouping: the points around each centre."""

import torch
from torch import Tensor

from cmad.ops._call import expect, finite, native


def group(xyz: Tensor, centre: Tensor, k: int) -> Tensor:
    """Find the ``k`` points nearest to each centre.

    Exact; by squared distance in float32. Not differentiable.

    Args:
        xyz: (B, N, 3) float32, metres, finite.
        centre: (B, G, 3) float32, metres, finite; need not be points of the cloud.
        k: neighbours per centre, 1 to N.

    Returns:
        (B, G, k) int64 indices into N, nearest first; ties go to the lowest index.

    """
    n = expect("group", xyz=(xyz, "B N 3", torch.float32), centre=(centre, "B G 3", torch.float32))
    if not 1 <= k <= n["N"]:
        raise ValueError(f"group: k must be in [1, N={n['N']}], got {k}")
    index = xyz.new_empty((n["B"], n["G"], k), dtype=torch.int64)
    lib, stream = native(xyz.device)
    finite("group", xyz=xyz, centre=centre)
    lib.group(xyz.detach().contiguous(), centre.detach().contiguous(), index, stream)
    return index
