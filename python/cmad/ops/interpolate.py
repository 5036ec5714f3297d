"""Sparse weights times features."""

import torch
from torch import Tensor

from cmad.ops._call import expect, in_range, native, offsets


def interpolate(
    feature: Tensor, start: Tensor, index: Tensor, weight: Tensor, *, check: bool = True
) -> Tensor:
    """Weight and add the features that each row names.

    ``out[p] = sum of weight[i] * feature[index[i]]`` for i from ``start[p]`` to ``start[p + 1]``,
    in float32; an empty row gives zeros. Not differentiable.

    Args:
        feature: (M, D) float32.
        start: (P + 1,) int64, where each row begins; ascends from 0 to E.
        index: (E,) int32 in [0, M).
        weight: (E,) float32.
        check: read the values of ``start`` and ``index`` to check them.

    Returns:
        (P, D) float32.

    """
    n = expect(
        "interpolate",
        feature=(feature, "M D", torch.float32),
        start=(start, "P+1", torch.int64),
        index=(index, "E", torch.int32),
        weight=(weight, "E", torch.float32),
    )
    lib, stream = native(feature.device)
    if check:
        offsets("interpolate", "start", start, "E", n["E"])
        in_range("interpolate", "index", index, 0, n["M"], f"[0, M={n['M']})")
    out = feature.new_empty((n["P"], n["D"]))
    lib.interpolate(
        feature.detach().contiguous(),
        start.contiguous(),
        index.contiguous(),
        weight.detach().contiguous(),
        out,
        stream,
    )
    return out
