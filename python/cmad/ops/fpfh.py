"""Fast point feature histograms."""

import torch
from torch import Tensor

from cmad.ops._call import expect, finite, native, offsets

CHANNELS = 33
"""Three angles, 11 bins each."""


def fpfh(
    xyz: Tensor,
    ptr: Tensor,
    index: Tensor,
    normal_neighbours: int = 30,
    normal_radius: float = 0.10,
    radius: float = 0.25,
    *,
    check: bool = True,
) -> Tensor:
    """Count the angles between normals around every point (Rusu, Blodow, Beetz 2009).

    As open3d's ``estimate_normals`` and ``compute_fpfh_feature`` do with hybrid searches, in
    float64: the results differ by rounding where the neighbours are the same.

    Args:
        xyz: (N, 3) float32, metres, finite; the clouds, one after another.
        ptr: (B + 1,) int64, where each cloud begins; ascends from 0 to N.
        index: (N, K) int64, the neighbours of each point, itself among them, nearest first, counted
            from its cloud's own first point, as `cmad.ops.group` gives them; K at least 1.
        normal_neighbours: the first so many are what the normal comes from, at least 1.
        normal_radius: metres; of these only those nearer than that.
        radius: metres; of the K neighbours only those nearer than that are counted.
        check: read the values of ``xyz``, ``ptr`` and ``index`` to check them.

    Returns:
        (N, 33) float64, 0 to 200: of three angles, between the normals around their common line,
        of the second normal against the plane of the line and the first, and of the first against
        the line, the per cent in each of 11 bins, and to them those of the neighbours, weighted by
        1 / distance². A point without neighbours has zeros.

    Raises:
        TypeError, ValueError: another dtype or shape, a radius or number that is not positive, an
            index out of its cloud.

    """
    n = expect(
        "fpfh",
        xyz=(xyz, "N 3", torch.float32),
        ptr=(ptr, "B+1", torch.int64),
        index=(index, "N K", torch.int64),
    )
    for name, value in (
        ("normal_neighbours", normal_neighbours),
        ("normal_radius", normal_radius),
        ("radius", radius),
        ("index's K", n["K"]),
    ):
        if not value > 0:
            raise ValueError(f"fpfh: {name} must be positive, got {value}")
    lib, stream = native(xyz.device)
    if check:
        offsets("fpfh", "ptr", ptr, "N", n["N"])
        finite("fpfh", xyz=xyz)
        sizes = ptr.diff().repeat_interleave(ptr.diff())
        if n["N"] and bool(((index < 0) | (index >= sizes[:, None])).any()):
            raise ValueError("fpfh: index must name points of each point's own cloud")
    normal, simple, out = (
        xyz.new_empty((n["N"], c), dtype=torch.float64, requires_grad=False)
        for c in (3, CHANNELS, CHANNELS)
    )
    lib.fpfh(
        xyz.detach().contiguous(),
        ptr.contiguous(),
        index.contiguous(),
        normal,
        simple,
        out,
        int(normal_neighbours),
        float(normal_radius),
        float(radius),
        stream,
    )
    return out
