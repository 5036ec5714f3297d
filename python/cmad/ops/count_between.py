"""Counting scores between levels."""

import torch
from torch import Tensor

from cmad.ops._call import expect, native

Counts = tuple[Tensor, Tensor]


def count_between(
    score: Tensor,
    skip: Tensor,
    level: Tensor,
    so_far: Counts | None = None,
    *,
    check: bool = True,
) -> Counts:
    """Count the scores in each of the M + 1 intervals that M levels make.

    Interval m holds the scores from level m - 1 up to, but without, level m: the first those below
    all levels, the last those from the highest level on. Exact, ties included, in one pass over the
    scores, which need not be sorted and may come in pieces.

    Args:
        score: (N,) float32 or float64, not NaN.
        skip: (N,) bool, scores that are not counted.
        level: (M,) of the scores' dtype, ascending, distinct, not NaN; at least one.
        so_far: what an earlier call with the same levels returned; it is added to in place.
        check: read the values of ``level`` to check them. Scores are never checked for NaN.

    Returns:
        count (M + 1,) int64, scores in each interval, and tied (M,) int64, scores equal to each
        level.

    Raises:
        TypeError, ValueError: another dtype or shape, no level, or levels that do not ascend.

    """
    if isinstance(score, Tensor) and score.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"count_between: score must be float32 or float64, got {score.dtype}")
    dtype = score.dtype if isinstance(score, Tensor) else torch.float32
    n = expect(
        "count_between",
        score=(score, "N", dtype),
        skip=(skip, "N", torch.bool),
        level=(level, "M", dtype),
    )
    if n["M"] == 0:
        raise ValueError("count_between: level must hold at least one, got none")
    lib, stream = native(score.device)
    if check and not bool((level[1:] > level[:-1]).all() & ~level[0].isnan()):
        raise ValueError("count_between: level must be ascending, distinct and not NaN")
    if so_far is None:
        count = torch.zeros(n["M"] + 1, dtype=torch.int64, device=score.device)
        so_far = count, torch.zeros(n["M"], dtype=torch.int64, device=score.device)
    for tensor, size in zip(so_far, (n["M"] + 1, n["M"]), strict=True):
        expect("count_between", so_far=(tensor, str(size), torch.int64))
        if tensor.device != score.device or not tensor.is_contiguous():
            raise ValueError("count_between: so_far must be what an earlier call returned")
    lib.count_between(
        score.detach().contiguous(),
        skip.contiguous(),
        level.detach().contiguous(),
        *so_far,
        stream,
    )
    return so_far
