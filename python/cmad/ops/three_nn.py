"""Three nearest centres and their interpolation weights."""

import torch
from torch import Tensor

from cmad.ops._call import expect, finite, native, offsets


def three_nn(
    xyz: Tensor, ptr: Tensor, centre: Tensor, centre_ptr: Tensor, *, check: bool = True
) -> tuple[Tensor, Tensor]:
    """Find the three centres of its cloud that are nearest to each point, with their weights.

    The weights are 1 / (d² + 1e-8), d² the squared distance in square metres from coordinate
    differences in float32, normalised to sum 1 (CFM, section 3.1). Not differentiable.

    Args:
        xyz: (N, 3) float32, metres, finite; the clouds, one after another.
        ptr: (B + 1,) int64, where each cloud begins; ascends from 0 to N.
        centre: (M, 3) float32, metres, finite; the centres of each cloud, one cloud after another,
            at least one for a cloud with points.
        centre_ptr: (B + 1,) int64, where each cloud's centres begin; ascends from 0 to M.
        check: read the values of ``xyz``, ``centre``, ``ptr`` and ``centre_ptr`` to check them.

    Returns:
        index (N, 3) int64, counted from the cloud's own first centre, nearest first, ties to the
        lowest index, and weight (N, 3) float32. With fewer than three centres the missing ones have
        index 0, weight 0.

    """
    n = expect(
        "three_nn",
        xyz=(xyz, "N 3", torch.float32),
        ptr=(ptr, "B+1", torch.int64),
        centre=(centre, "M 3", torch.float32),
        centre_ptr=(centre_ptr, "B+1", torch.int64),
    )
    lib, stream = native(xyz.device)
    if check:
        offsets("three_nn", "ptr", ptr, "N", n["N"])
        offsets("three_nn", "centre_ptr", centre_ptr, "M", n["M"])
        finite("three_nn", xyz=xyz, centre=centre)
        without = (centre_ptr.diff() == 0) & (ptr.diff() > 0)
        if bool(without.any()):
            raise ValueError(
                f"three_nn: centre must have at least one for each cloud, got none for cloud "
                f"{int(without.nonzero()[0, 0])}"
            )
    index = xyz.new_empty((n["N"], 3), dtype=torch.int64)
    weight = xyz.new_empty((n["N"], 3))
    lib.three_nn(
        xyz.detach().contiguous(),
        ptr.contiguous(),
        centre.detach().contiguous(),
        centre_ptr.contiguous(),
        index,
        weight,
        stream,
    )
    return index, weight
