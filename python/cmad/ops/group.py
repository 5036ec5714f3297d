"""Grouping: the points around each centre."""

import torch
from torch import Tensor

from cmad.ops._call import expect, finite, native, offsets


def group(
    xyz: Tensor, ptr: Tensor, centre: Tensor, centre_ptr: Tensor, k: int, *, check: bool = True
) -> Tensor:
    """Find the ``k`` points of its cloud that are nearest to each centre.

    Exact; by squared distance in float32. Not differentiable.

    Args:
        xyz: (N, 3) float32, metres, finite; the clouds, one after another.
        ptr: (B + 1,) int64, where each cloud begins; ascends from 0 to N.
        centre: (G, 3) float32, metres, finite; the centres of each cloud, one cloud after another;
            need not be points of the cloud.
        centre_ptr: (B + 1,) int64, where each cloud's centres begin; ascends from 0 to G.
        k: neighbours per centre, 1 to the points of the smallest cloud.
        check: read the values of ``xyz``, ``centre``, ``ptr`` and ``centre_ptr`` to check them.

    Returns:
        (G, k) int64, counted from the cloud's own first point, nearest first; ties go to the lowest
        index.

    """
    n = expect(
        "group",
        xyz=(xyz, "N 3", torch.float32),
        ptr=(ptr, "B+1", torch.int64),
        centre=(centre, "G 3", torch.float32),
        centre_ptr=(centre_ptr, "B+1", torch.int64),
    )
    if k < 1:
        raise ValueError(f"group: k must be at least 1, got {k}")
    lib, stream = native(xyz.device)
    if check:
        offsets("group", "ptr", ptr, "N", n["N"])
        offsets("group", "centre_ptr", centre_ptr, "G", n["G"])
        finite("group", xyz=xyz, centre=centre)
        if n["B"] and k > (smallest := int(ptr.diff().min())):
            raise ValueError(f"group: k must be in [1, {smallest}], got {k}")
    index = xyz.new_empty((n["G"], k), dtype=torch.int64)
    lib.group(
        xyz.detach().contiguous(),
        ptr.contiguous(),
        centre.detach().contiguous(),
        centre_ptr.contiguous(),
        index,
        stream,
    )
    return index
