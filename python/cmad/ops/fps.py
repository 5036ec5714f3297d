"""Farthest point sampling."""

import torch
from torch import Tensor

from cmad.ops._call import expect, finite, native


def fps(xyz: Tensor, k: int, *, ties: str = "lowest", skip: float | None = None) -> Tensor:
    """Pick ``k`` points spread as far apart as possible.

    Each pick is the point with the largest squared distance to its nearest earlier pick, in
    float32. Starts at point 0. Not differentiable.

    Args:
        xyz: (B, N, 3) float32, metres, finite.
        k: picks per cloud, 1 to N.
        ties: among equally far points, ``"lowest"`` takes the lowest index, ``"published"`` the
            order of the CUDA kernel behind the published implementations: bit-reversed (index mod
            block), then index, where block is the largest power of two that is at most N and 512.
        skip: squared metres; a point whose squared distance from the origin is at most this is
            never picked, except point 0 as the first. The published kernel has 1e-3. None: no
            point is skipped.

    Returns:
        (B, k) int64 indices into N, in the order picked.

    """
    n = expect("fps", xyz=(xyz, "B N 3", torch.float32))
    if not 1 <= k <= n["N"]:
        raise ValueError(f"fps: k must be in [1, N={n['N']}], got {k}")
    if ties not in ("lowest", "published"):
        raise ValueError(f"fps: ties must be 'lowest' or 'published', got {ties!r}")
    index = xyz.new_empty((n["B"], k), dtype=torch.int64)
    nearest = xyz.new_empty((n["B"], n["N"]))
    lib, stream = native(xyz.device)
    finite("fps", xyz=xyz)
    lib.fps(
        xyz.detach().contiguous(),
        nearest,
        index,
        ties == "published",
        -1.0 if skip is None else skip,
        stream,
    )
    return index
