"""The organised surface of a part: its outline, points where it has none, its normals, its heights.

Pixels are those of the frame's grid; a surface is (S, S, 3), metres, with a mask of its pixels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from cmad import ops

GAP = 5 / 224
"""Of the grid's side: half the widest gap that the outline of a part is closed over."""
ROUNDS = 20
"""Of averaging interpolated points with their neighbours."""


def outline(part: Tensor) -> Tensor:
    """Close the outline of a part: narrow gaps and everything enclosed become the part's.

    Args:
        part: (S, S) bool.

    Returns:
        (S, S) bool, with all of ``part``: what is left of it after growing it by `GAP` of the side,
        filling its holes, and shrinking it by as much.

    """
    radius = max(1, round(GAP * max(part.shape)))
    edge = radius + 1
    grown = _grown(functional.pad(part, (edge,) * 4), radius)
    outside = ~grown
    # Components are numbered by their first pixel, and the corner is outside.
    enclosed = ops.components(outside) != 0
    grown[outside] = enclosed
    shrunk = ~_grown(~grown, radius)
    return shrunk[edge:-edge, edge:-edge] | part


def completed(xyz: Tensor, known: Tensor, wanted: Tensor) -> Tensor:
    """Interpolate points where there are none.

    A pixel begins with the mean of the known points in the smallest square around it that has any,
    of 3, 5, 9, 17... pixels; then pixels without a point take the mean of their 3 x 3 neighbours,
    `ROUNDS` times, which spreads what is known on all sides of a gap evenly over it.

    Args:
        xyz: (S, S, C) float32, points or values of theirs; anything where ``known`` is false.
        known: (S, S) bool, pixels with a point, at least one.
        wanted: (S, S) bool, pixels to give a point where they have none.

    Returns:
        (S, S, C) float32; ``xyz`` where known, 0 where neither known nor wanted.

    """
    points = torch.where(known[..., None], xyz, 0.0)
    lacking = wanted & ~known
    if not lacking.any():
        return points
    # A border, so that all pixels have eight neighbours; what lies there is not inside.
    points, known, lacking = (
        functional.pad(t, (0, 0) * (t.ndim - 2) + (1,) * 4) for t in (points, known, lacking)
    )
    counted = torch.cat([points, known[..., None]], -1).permute(2, 0, 1)
    left, radius = lacking.clone(), 1
    while left.any():
        *sums, share = _mean(counted, radius)
        now = left & (share > 0.5 / (2 * radius + 1) ** 2)
        points[now] = torch.stack([s[now] / share[now] for s in sums], -1)
        left, radius = left & ~now, 2 * radius
    width = known.shape[1]
    pixel = lacking.flatten().nonzero()
    beside = torch.tensor([r * width + c for r in (-1, 0, 1) for c in (-1, 0, 1)])
    around = pixel + beside.to(pixel.device)
    weight = (known | lacking).flatten()[around].to(xyz.dtype)
    weight = (weight / weight.sum(1, keepdim=True))[..., None]
    flat = points.view(-1, points.shape[-1])
    for _ in range(ROUNDS):
        flat[pixel[:, 0]] = (flat[around] * weight).sum(1)
    return points[1:-1, 1:-1].contiguous()


def smoothed(xyz: Tensor, inside: Tensor, sigma: float) -> Tensor:
    """Smooth a surface by a Gaussian that looks at its own pixels only.

    Args:
        xyz: (S, S, C) float32.
        inside: (S, S) bool, its pixels.
        sigma: pixels; 0 leaves it as it is.

    Returns:
        (S, S, C) float32, 0 beside the surface.

    """
    if sigma == 0:
        return torch.where(inside[..., None], xyz, 0.0)
    stacked = torch.cat([xyz, torch.ones_like(xyz[..., :1])], -1).permute(2, 0, 1)
    blurred = _blurred(torch.where(inside, stacked, 0.0), sigma)
    smooth = blurred[:-1] / blurred[-1:].clamp_min(1e-6)
    return torch.where(inside, smooth, 0.0).permute(1, 2, 0).contiguous()


def normals(xyz: Tensor, inside: Tensor) -> Tensor:
    """Compute the normal of every pixel of a surface from its four neighbours.

    Args:
        xyz: (S, S, 3) float32, metres.
        inside: (S, S) bool, its pixels; beside them a difference is taken to one side.

    Returns:
        (S, S, 3) float32, unit vectors towards the camera at the origin; 0 beside the surface and
        where neighbours tell none.

    """
    along_rows, along_columns = (_difference(xyz, inside, axis) for axis in (0, 1))
    normal = torch.linalg.cross(along_columns, along_rows)
    length = normal.norm(dim=-1, keepdim=True)
    away = (normal * xyz).sum(-1, keepdim=True) > 0
    unit = torch.where(away, -normal, normal) / length.clamp_min(1e-20)
    return torch.where(inside[..., None] & (length > 0), unit, 0.0)


def heights(xyz: Tensor, valid: Tensor, plane: Sequence[float] | None) -> Tensor:
    """Compute how high each point is above the background plane, towards the camera.

    Where there is no plane, because the background has been removed or a region told, it is the
    plane of constant z through the points' median.

    Args:
        xyz: (S, S, 3) float32, metres.
        valid: (S, S) bool, pixels with a point of the part.
        plane: (n, d) as in `cmad.types.Frame`, the one that the part was found with; or None.

    Returns:
        (S, S) float32, metres; NaN where not valid.

    """
    if plane is None:
        plane = (0.0, 0.0, -1.0, float(xyz[..., 2][valid].median()) if valid.any() else 0.0)
    height = xyz.double() @ xyz.new_tensor(plane[:3], dtype=torch.float64) + plane[3]
    return torch.where(valid, height, torch.nan).float()


def _difference(xyz: Tensor, inside: Tensor, axis: int) -> Tensor:
    """The next neighbour minus the one before, of those inside, else of the pixel itself."""
    found = []
    for step in (-1, 1):
        neighbour, there = xyz.roll(step, axis), inside.roll(step, axis)
        there = there.index_fill(axis, torch.tensor([-1 if step < 0 else 0]), False)
        found.append(torch.where(there[..., None], neighbour, xyz))
    return found[0] - found[1]


def _grown(mask: Tensor, radius: int) -> Tensor:
    grown = mask[None].float()
    for kernel in ((2 * radius + 1, 1), (1, 2 * radius + 1)):
        padding = kernel[0] // 2, kernel[1] // 2
        grown = functional.max_pool2d(grown, kernel, stride=1, padding=padding)
    return grown[0] > 0


def _mean(planes: Tensor, radius: int) -> Tensor:
    """The mean over a square around each pixel, zeros beside the image; (C, S, S)."""
    side = 2 * radius + 1
    for kernel, padding in (((side, 1), (radius, 0)), ((1, side), (0, radius))):
        planes = functional.avg_pool2d(planes, kernel, stride=1, padding=padding)
    return planes


def _blurred(planes: Tensor, sigma: float) -> Tensor:
    """Gaussian of planes (C, S, S) up to 3 deviations away, zeros beside the image."""
    radius = int(3 * sigma + 0.5)
    offset = torch.arange(-radius, radius + 1, dtype=planes.dtype, device=planes.device)
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1)
    blurred = planes[:, None]
    blurred = functional.conv2d(blurred, kernel[..., None], padding=(radius, 0))
    return functional.conv2d(blurred, kernel[:, :, None], padding=(0, radius))[:, 0]
