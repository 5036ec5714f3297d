"""Image and points from different cameras: the image's colours on the points' pixels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmad import notices
from cmad.checks import REACH, checked
from cmad.types import Array, Sample
from cmad.units import pinhole

TOLERANCE = 0.002
"""Metres that a point may lie behind the nearest one in its line of sight and still be seen."""
STEEPEST = 2.0
"""Widths of a cell of the z-buffer that it may lie behind in any case: surfaces of that slope."""
MANY = 0.3
"""Share of the points without colour from which on a warning says so."""
NEARLY_ALL = 0.95
"""Share of the points without colour from which on it is an error."""
ROUNDING = 1e-3
"""By which a rotation may differ from an orthonormal matrix, as one typed from a sheet does."""

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Registered:
    """What `register` returns: the colours that points have in an image of another camera."""

    rgb: npt.NDArray[np.uint8]
    """(H, W, 3), the colour of each pixel's point; 0 where ``seen`` is false."""
    seen: Flags
    """(H, W), pixels whose point has a colour."""
    valid: Flags
    """(H, W), pixels that have a point."""

    @property
    def uncoloured(self) -> float:
        """The share of the points without colour, in [0, 1]."""
        return 1 - float(self.seen.sum() / self.valid.sum())


def register(
    rgb: Array,
    xyz: Array,
    intrinsics: npt.ArrayLike,
    extrinsics: npt.ArrayLike,
    *,
    tolerance: float = TOLERANCE,
) -> Registered:
    """Project an image onto the pixels of points that another camera took.

    Each point is projected into the image by the pinhole model (an image with distortion is to be
    undistorted before), and its colour is interpolated bilinearly. A point has no colour where it
    lies behind the camera or outside the image, or where a nearer surface hides it from the colour
    camera. That is told by a z-buffer of the image's pixels, or of cells of several pixels where
    the points are sparser: a point is hidden if it lies farther behind the nearest point of its
    cell than ``tolerance`` and than `STEEPEST` widths of a cell at its own depth.

    Args:
        rgb: (H2, W2, 3) uint8, or float in [0, 1], which is rounded to 8 bits.
        xyz: (H, W, 3) float, metres, in the frame of the 3D camera; no point where a coordinate is
            not finite or all are 0, and where the sensor put a mark, see `cmad.checks.no_point`.
        intrinsics: of the colour camera, (fx, fy, cx, cy) in pixels, or the (3, 3) matrix of them;
            pixel (0, 0) has its centre at (0, 0).
        extrinsics: (4, 4) or (3, 4), the rotation and translation (metres) that take a point from
            the frame of ``xyz`` to that of the colour camera: x to the right, y down, z forward.
        tolerance: metres, at least 0.

    Returns:
        The colours, and which pixels have one; `Registered.uncoloured` is the share that has none.
        Above `MANY` there is a warning.

    Raises:
        TypeError: not arrays, or of other dtypes.
        ValueError: other shapes or ranges, no point at all, extrinsics that are scaled, left-handed
            or no rotation, or nearly no point (`NEARLY_ALL`) has a colour.

    """
    if not tolerance >= 0:
        raise ValueError(f"register: tolerance must be at least 0 metres, got {tolerance}")
    camera = pinhole(intrinsics, "register: ")
    rotation, translation = _rigid(extrinsics)
    (image, _), (_, points) = (
        checked(Sample(rgb, None, name="register")),
        checked(Sample(None, xyz, name="register")),
    )
    assert image is not None  # for mypy: `checked` returns what it was given
    assert points is not None
    pixels, there = image.numpy(), points.numpy().astype(np.float64)
    valid = np.asarray(there.any(-1))
    if not valid.any():
        raise ValueError("register: xyz has no valid point: all are 0, NaN, infinite or marks")
    u, v, z = _project(there, rotation, translation, camera)
    inside = valid & _inside(u, v, z, pixels)
    seen = inside.copy()
    seen[inside] = ~_hidden(u, v, z, inside, pixels, camera, tolerance)
    result = np.zeros((*valid.shape, 3), np.uint8)
    result[seen] = np.rint(bilinear(pixels, u[seen], v[seen])).astype(np.uint8)
    registered = Registered(result, seen, valid)
    _judge(registered, inside, rotation, translation, camera, there, pixels)
    return registered


def bilinear(image: npt.NDArray[np.uint8], u: Floats, v: Floats) -> Floats:
    """Interpolate an image at places (N,): column u, row v; on its border the nearest pixels count.

    Args:
        image: (H, W, C) uint8.
        u: columns, within half a pixel of the image's.
        v: rows, likewise.

    Returns:
        (N, C).

    """
    height, width = image.shape[:2]
    u, v = u.clip(0, width - 1), v.clip(0, height - 1)
    left, top = u.astype(np.intp), v.astype(np.intp)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    a, b = (u - left)[:, None], (v - top)[:, None]
    above = image[top, left] * (1 - a) + image[top, right] * a
    below = image[bottom, left] * (1 - a) + image[bottom, right] * a
    between: Floats = above * (1 - b) + below * b
    return between


def _rigid(extrinsics: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return rotation (3, 3) and translation (3,) of a rigid transform."""
    e = np.asarray(extrinsics, np.float64)
    if e.shape not in ((4, 4), (3, 4)):
        raise ValueError(f"register: extrinsics must be (4, 4) or (3, 4), got {e.shape}")
    if not np.isfinite(e).all():
        raise ValueError(f"register: extrinsics must be finite, got {e.tolist()}")
    if e.shape == (4, 4) and not (e[3] == (0, 0, 0, 1)).all():
        flipped = "; it is transposed" if (e[:, 3] == (0, 0, 0, 1)).all() else ""
        raise ValueError(
            f"register: the last row of extrinsics must be (0, 0, 0, 1), got {e[3].tolist()}"
            + flipped
        )
    rotation, translation = e[:3, :3], e[:3, 3]
    lengths = np.linalg.norm(rotation, axis=1)
    if np.abs(lengths - 1).max() > ROUNDING:
        raise ValueError(
            "register: extrinsics must hold a rotation, but its rows have the lengths "
            f"{', '.join(f'{n:.4g}' for n in lengths)}: it scales; convert the unit of xyz instead"
        )
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > ROUNDING:
        raise ValueError("register: extrinsics must hold a rotation, but its rows are not square")
    if np.linalg.det(rotation) < 0:
        raise ValueError(
            "register: extrinsics must hold a rotation, but it mirrors (its determinant is -1): "
            "one frame is left-handed, or an axis has the wrong sign"
        )
    if (far := float(np.linalg.norm(translation))) > REACH:
        raise ValueError(
            f"register: the translation must be in metres, but it is {far:.4g} long; "
            "millimetres are to be divided by 1000"
        )
    return rotation, translation


def _project(
    points: Floats, rotation: Floats, translation: Floats, camera: tuple[float, ...]
) -> tuple[Floats, Floats, Floats]:
    """Return column, row and depth of points (..., 3); 0, 0 for what is not ahead."""
    fx, fy, cx, cy = camera
    x, y, z = np.moveaxis(points @ rotation.T + translation, -1, 0)
    ahead = np.where(z > 0, z, np.inf)
    return fx * x / ahead + cx, fy * y / ahead + cy, z


def _inside(u: Floats, v: Floats, z: Floats, image: npt.NDArray[np.uint8]) -> Flags:
    """Tell what lies ahead and in the image, whose pixels reach half a pixel to each side."""
    height, width = image.shape[:2]
    within = (u >= -0.5) & (u < width - 0.5) & (v >= -0.5) & (v < height - 0.5)
    return np.asarray(within & (z > 0))


def _hidden(
    u: Floats,
    v: Floats,
    z: Floats,
    inside: Flags,
    image: npt.NDArray[np.uint8],
    camera: tuple[float, ...],
    tolerance: float,
) -> Flags:
    """Tell which of the points inside (N,) a nearer one hides."""
    cell = _spacing(u, v, inside)
    columns = -(-image.shape[1] // cell)
    column, row = (np.floor(n[inside] + 0.5).astype(np.intp) // cell for n in (u, v))
    at, depth = row * columns + column, z[inside]
    nearest = np.full(columns * -(-image.shape[0] // cell), np.inf)
    np.minimum.at(nearest, at, depth)
    width = cell * depth / min(camera[:2])
    return np.asarray(depth > nearest[at] + np.maximum(tolerance, STEEPEST * width))


def _spacing(u: Floats, v: Floats, inside: Flags) -> int:
    """Return how many pixels of the image lie between neighbouring points, at least 1.

    The median over all neighbours, rounded up: in a finer z-buffer one would see through the gaps
    between the points of a surface.
    """
    steps = []
    for here, next_ in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        both = inside[here] & inside[next_]
        du, dv = (np.abs(n[next_][both] - n[here][both]) for n in (u, v))
        steps.append(np.maximum(du, dv))
    every = np.concatenate(steps)
    # A thousandth of a pixel is rounding, where both cameras are one.
    return max(1, int(np.ceil(np.median(every) - 1e-3))) if len(every) else 1


def _judge(
    registered: Registered,
    inside: Flags,
    rotation: Floats,
    translation: Floats,
    camera: tuple[float, ...],
    points: Floats,
    image: npt.NDArray[np.uint8],
) -> None:
    """Warn of many points without colour; raise for nearly all."""
    share, valid = registered.uncoloured, registered.valid
    if share <= MANY:
        return
    hidden = float((inside & ~registered.seen).sum() / valid.sum())
    back = rotation.T, -rotation.T @ translation
    other = _inside(*_project(points, *back, camera), image)[valid].mean()
    turned = other > 0.5 and other > 2 * (1 - share)
    told = (
        f"register: {share:.0%} of the points have no colour ({hidden:.0%} are hidden, the others "
        "lie outside the image or behind the camera)"
        + (f"; the inverse of extrinsics would show {other:.0%}" if turned else "")
    )
    if share <= NEARLY_ALL:
        notices.warn("register: points without colour", told)
        return
    raise ValueError(
        f"{told}; look at the direction of extrinsics, the unit of xyz and translation, and at "
        "intrinsics"
    )
