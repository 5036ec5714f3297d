"""Farthest point sampling."""

import torch
from torch import Tensor

from cmad.ops._call import expect, finite, native, offsets


def fps(
    xyz: Tensor,
    ptr: Tensor,
    k: int,
    *,
    ties: str = "lowest",
    skip: float | None = None,
    check: bool = True,
) -> Tensor:
    """Pick ``k`` points of each cloud, spread as far apart as possible.

    Each pick is the point with the largest squared distance to its nearest earlier pick, in
    float32. Starts at point 0. Not differentiable.

    Args:
        xyz: (N, 3) float32, metres, finite; the clouds, one after another.
        ptr: (B + 1,) int64, where each cloud begins; ascends from 0 to N.
        k: picks per cloud, 1 to the points of the smallest.
        ties: among equally far points, ``"lowest"`` takes the lowest index, ``"published"`` the
            order of the CUDA kernel behind the published implementations: bit-reversed (index mod
            block), then index, where block is the largest power of two that is at most 512 and the
            points of the cloud.
        skip: squared metres; a point whose squared distance from the origin is at most this is
            never picked, except point 0 as the first. The published kernel has 1e-3. None: no
            point is skipped.
        check: read the values of ``xyz`` and ``ptr`` to check them.

    Returns:
        (B, k) int64, counted from each cloud's own first point, in the order picked.

    """
    n = expect("fps", xyz=(xyz, "N 3", torch.float32), ptr=(ptr, "B+1", torch.int64))
    if ties not in ("lowest", "published"):
        raise ValueError(f"fps: ties must be 'lowest' or 'published', got {ties!r}")
    if k < 1:
        raise ValueError(f"fps: k must be at least 1, got {k}")
    lib, stream = native(xyz.device)
    if check:
        offsets("fps", "ptr", ptr, "N", n["N"])
        finite("fps", xyz=xyz)
        if n["B"] and k > (smallest := int(ptr.diff().min())):
            raise ValueError(f"fps: k must be in [1, {smallest}], got {k}")
    index = xyz.new_empty((n["B"], k), dtype=torch.int64)
    scratch = xyz.new_empty((n["N"] // 64 + n["B"], 320), dtype=torch.int32)  # as ops/fps.h has it
    lib.fps(
        xyz.detach().contiguous(),
        ptr.contiguous(),
        scratch,
        index,
        ties == "published",
        -1.0 if skip is None else skip,
        stream,
    )
    return index
