"""Density clusters."""

import torch
from torch import Tensor

from cmad.ops._call import expect, finite, native


def clusters(xyz: Tensor, eps: float, min_points: int, *, check: bool = True) -> Tensor:
    """Label the points by DBSCAN cluster.

    A core point has at least ``min_points`` points, itself included, within ``eps``. Exact for any
    cloud, and fast where it samples a surface at a fraction of ``eps``, as a 3D camera does.

    Args:
        xyz: (N, 3) float32, metres, finite, no coordinate beyond 1e18 times ``eps``, fewer than
            2^30 points.
        eps: radius in metres, in [1e-18, 1e18]; a neighbour has a squared distance of at most eps².
        min_points: at least 1.
        check: read the values of ``xyz`` to check them.

    Returns:
        (N,) int64: clusters are numbered from 0 by their lowest core point; a point that is not
        core joins the lowest-numbered cluster with a core point within ``eps``, or is noise, -1.

    """
    n = expect("clusters", xyz=(xyz, "N 3", torch.float32))
    if n["N"] >= 2**30:
        raise ValueError(f"clusters: xyz must have fewer than 2^30 points, got {n['N']}")
    if not 1e-18 <= eps <= 1e18:  # beyond, eps² leaves the normal numbers of float32
        raise ValueError(f"clusters: eps must be in [1e-18, 1e18] metres, got {eps}")
    if min_points < 1:
        raise ValueError(f"clusters: min_points must be at least 1, got {min_points}")
    lib, stream = native(xyz.device)
    if check:
        finite("clusters", xyz=xyz)
        farthest = float(xyz.detach().abs().max()) if n["N"] else 0.0
        if farthest > 1e18 * eps:
            raise ValueError(f"clusters: xyz must not exceed 1e18 times eps, got {farthest:.3g}")
    label = xyz.new_empty(n["N"], dtype=torch.int64)
    points = xyz.detach().contiguous()
    lib.clusters(points, label, *_scratch(points), min_points, eps, stream)
    return label


def _scratch(xyz: Tensor) -> tuple[Tensor, ...]:
    """Allocate what a GPU needs, in the order of the contract."""
    n = len(xyz)
    slots = 1 << (2 * n).bit_length()  # a power of two above 2 N
    return (
        xyz.new_empty((n, 3), dtype=torch.int64),
        torch.empty_like(xyz),
        xyz.new_empty(n, dtype=torch.bool),
        *xyz.new_empty((4, n), dtype=torch.int32),
        xyz.new_empty(n + 2, dtype=torch.int32),
        xyz.new_empty((2, -(-n // 256)), dtype=torch.int32),
        *xyz.new_empty((4, slots), dtype=torch.int32),
    )
