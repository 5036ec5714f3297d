"""Three nearest centres and their interpolation weights."""

import torch
from torch import Tensor

from cmad.ops._call import expect, finite, native


def three_nn(xyz: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Find the three centres nearest to each point, with interpolation weights.

    The weights are 1 / (d² + 1e-8), d² the squared distance in square metres from coordinate
    differences in float32, normalised to sum 1 (CFM, section 3.1). Not differentiable.

    Args:
        xyz: (B, N, 3) float32, metres, finite.
        centre: (B, M, 3) float32, metres, finite, M at least 1.

    Returns:
        index (B, N, 3) int64 into M, nearest first, ties to the lowest index, and weight
        (B, N, 3) float32. With fewer than three centres the missing ones have index 0, weight 0.

    """
    n = expect(
        "three_nn", xyz=(xyz, "B N 3", torch.float32), centre=(centre, "B M 3", torch.float32)
    )
    if n["M"] < 1 and n["B"] * n["N"] > 0:
        raise ValueError(
            f"three_nn: centre must have at least one point, got {tuple(centre.shape)}"
        )
    index = xyz.new_empty((n["B"], n["N"], 3), dtype=torch.int64)
    weight = xyz.new_empty((n["B"], n["N"], 3))
    lib, stream = native(xyz.device)
    finite("three_nn", xyz=xyz, centre=centre)
    lib.three_nn(xyz.detach().contiguous(), centre.detach().contiguous(), index, weight, stream)
    return index, weight
