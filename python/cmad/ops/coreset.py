"""Greedy coreset of a bank."""

import torch
from torch import Tensor

from cmad.ops._call import expect, native
from cmad.ops.knn import finite_rows
from cmad.progress import Step

SLICE = 256
"""Picks per native call: between two, progress is reported and an interrupt takes effect."""
WANTED = 2048
"""Rows that are brought up to date together."""


def coreset(
    rows: Tensor,
    count: int,
    *,
    start: int = 0,
    progress: Step | None = None,
    check: bool = True,
) -> Tensor:
    """Pick rows by greedy k-centre: each is the farthest from its nearest earlier pick.

    Exact: the picks of the plain loop that updates every row's distance after every pick, by fewer
    distances. A distance is the float32 sum of squared differences in 16 lanes, entry d in lane
    d mod 16, then halves added until one lane is left; ties go to the lowest index. No row is
    picked twice: when only copies of picks are left, they come in the order of their indices. Takes
    16 bytes per row beside the rows and the result. Not differentiable.

    Args:
        rows: (M, D) float32, finite.
        count: picks, 1 to M.
        start: the first pick.
        progress: called after each pick, such as from `cmad.progress.bar`; what it raises ends the
            run, as an interrupt does.
        check: read all values once to see that they are finite; without, they must be.

    Returns:
        (count,) int64 indices, in the order picked.

    Raises:
        TypeError, ValueError: another dtype, shape, count or start, or a value that is not finite.

    """
    n = expect("coreset", rows=(rows, "M D", torch.float32))
    if not 1 <= count <= n["M"]:
        raise ValueError(f"coreset: count must be in [1, M={n['M']}], got {count}")
    if not 0 <= start < n["M"]:
        raise ValueError(f"coreset: start must be in [0, M={n['M']}), got {start}")
    lib, stream = native(rows.device)
    if check:
        finite_rows("coreset", rows=rows)
    plain = rows.detach().contiguous()
    index = plain.new_full((count,), start, dtype=torch.int64)
    bound = plain.new_full((n["M"],), torch.inf)
    seen = plain.new_zeros(n["M"], dtype=torch.int32)
    active = plain.new_empty(n["M"], dtype=torch.int64)
    for begin in range(1, count, SLICE):
        end = min(begin + SLICE, count)
        lib.coreset(plain, index, bound, seen, active, begin, end, WANTED, stream)
        for _ in range(begin, end):
            if progress is not None:
                progress()
    if progress is not None:
        progress()  # the first, which was given
    return index
