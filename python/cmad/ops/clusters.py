"""Density clusters."""

import torch
from torch import Tensor

from cmad.ops._call import expect, finite, native


def clusters(xyz: Tensor, eps: float, min_points: int, *, check: bool = True) -> Tensor:
    """Label the points by DBSCAN cluster.

    A core point has at least ``min_points`` points, itself included, within ``eps``. Exact for any
    cloud, and fast where it samples a surface at a fraction of ``eps``, as a 3D camera does.

    Args:
        xyz: (N, 3) float32, metres, finite, no coordinate beyond 1e18 times ``eps``.
        eps: radius in metres, in [1e-18, 1e18]; a neighbour has a squared distance of at most eps².
        min_points: at least 1.
        check: read the values of ``xyz`` to check them.

    Returns:
        (N,) int64: clusters are numbered from 0 by their lowest core point; a point that is not
        core joins the lowest-numbered cluster with a core point within ``eps``, or is noise, -1.

    """
    n = expect("clusters", xyz=(xyz, "N 3", torch.float32))
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
    lib.clusters(xyz.detach().contiguous(), label, min_points, eps, stream)
    return label
