"""Planes around every pixel of a surface."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cmad.ops._call import expect, native

LARGEST = 256
"""The largest radius."""


def local_geometry(xyz: Tensor, radii: Sequence[int], *, check: bool = True) -> Tensor:
    """Measure the surface around every pixel of organised grids, in squares of several sizes.

    In each square, cut off at the border, the plane z = a x + b y + c is fitted to its points by
    least squares. Points of a square that lie on a line, seen along z, have the plane z = c. Sums
    are of differences from a mean nearby, in float64. A pixel has a point where none of its
    coordinates is NaN.

    Args:
        xyz: (B, H, W, 3) float32, metres, finite, or NaN where there is no point.
        radii: pixels, half the side of each square: it has 2 r + 1; 1 to 256.
        check: read the values of ``xyz`` to check them.

    Returns:
        (B, H, W, 5 R) float32, of each square: the plane's normal (a, b, -1), of length 1; how far
        the mean of the points in the 3 x 3 pixels around lies out of it along the normal; the
        deviation of the square's points from it along the normal; the last two divided by the
        square's extent, sqrt(var x + var y), which is 1 micrometre at least. Zeros where there is
        no point.

    """
    n = expect("local_geometry", xyz=(xyz, "B H W 3", torch.float32))
    sizes = [int(r) for r in radii]
    if not all(1 <= r <= LARGEST for r in sizes):
        raise ValueError(f"local_geometry: radii must be in [1, {LARGEST}], got {sizes}")
    lib, stream = native(xyz.device)
    if check and bool(xyz.isinf().any()):
        raise ValueError("local_geometry: xyz must be finite or NaN, got infinity")
    out = xyz.new_empty((n["B"], n["H"], n["W"], len(sizes), 5), requires_grad=False)
    lib.local_geometry(
        xyz.detach().contiguous(), torch.tensor(sizes, dtype=torch.int64), out, stream
    )
    return out.flatten(3)
