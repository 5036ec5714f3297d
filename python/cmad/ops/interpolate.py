"""Sparse weights times features."""

import torch
from torch import Tensor

from cmad.ops._call import expect, native


def interpolate(feature: Tensor, start: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weight and add the features that each row names.

    ``out[p] = sum of weight[i] * feature[index[i]]`` for i from ``start[p]`` to ``start[p + 1]``,
    in float32; an empty row gives zeros. Not differentiable.

    Args:
        feature: (M, D) float32.
        start: (R,) int64, one more than there are rows: begins with 0, ascends, ends with E.
        index: (E,) int32 in [0, M).
        weight: (E,) float32.

    Returns:
        (R - 1, D) float32.

    """
    n = expect(
        "interpolate",
        feature=(feature, "M D", torch.float32),
        start=(start, "R", torch.int64),
        index=(index, "E", torch.int32),
        weight=(weight, "E", torch.float32),
    )
    if n["R"] < 1 or start[0] != 0 or start[-1] != n["E"] or bool((start.diff() < 0).any()):
        raise ValueError(f"interpolate: start must ascend from 0 to E={n['E']}")
    if n["E"] and not 0 <= int(index.min()) <= int(index.max()) < n["M"]:
        raise ValueError(f"interpolate: index must be in [0, M={n['M']})")
    out = feature.new_empty((n["R"] - 1, n["D"]))
    lib, stream = native(feature.device)
    lib.interpolate(
        feature.detach().contiguous(),
        start.contiguous(),
        index.contiguous(),
        weight.detach().contiguous(),
        out,
        stream,
    )
    return out
