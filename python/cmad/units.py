"""What comes in: other units, and depth images instead of points."""

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cmad.types import Array

UNITS = {"m": 1.0, "mm": 1e-3}
"""Metres per unit of length that points and depths may come in."""
FARTHEST = 1e6
"""Metres; a depth beyond it is none."""


def to_metres(xyz: Array, unit: str) -> Array:
    """Convert coordinates to metres.

    Args:
        xyz: float array in ``unit``.
        unit: ``"m"`` or ``"mm"``.

    Returns:
        The array itself for metres, else a converted copy, with NaN for masked entries.

    Raises:
        ValueError: another unit.
        TypeError: not an array of floats, where it is to be converted.

    """
    if unit not in UNITS:
        raise ValueError(f"unit must be 'm' or 'mm', got {unit!r}")
    if unit == "m":
        return xyz
    scale = UNITS[unit]
    if isinstance(xyz, Tensor) and xyz.is_floating_point():
        return xyz * scale
    if isinstance(xyz, np.ndarray) and np.issubdtype(xyz.dtype, np.floating):
        if isinstance(xyz, np.ma.MaskedArray):
            xyz = xyz.filled(np.nan)
        return np.asarray(xyz * np.asarray(scale, xyz.dtype))
    kind = getattr(xyz, "dtype", type(xyz).__name__)
    raise TypeError(f"xyz must be an array of floats in {unit}, got {kind}")


def xyz_from_depth(
    depth: Array, intrinsics: npt.ArrayLike, *, unit: str = "m"
) -> npt.NDArray[np.float32]:
    """Turn a depth image into organised points, by the pinhole model.

    Args:
        depth: (H, W), distance along the optical axis in ``unit``, real numbers. None where it is
            0, negative, not finite, masked, beyond `FARTHEST`, or the largest value of an integer
            type, 65535 of 16 bits also in a wider one.
        intrinsics: (fx, fy, cx, cy) in pixels, or the (3, 3) matrix of them, without skew; pixel
            (0, 0) has its centre at (0, 0).
        unit: ``"m"`` or ``"mm"``.

    Returns:
        (H, W, 3) float32 in metres, x to the right, y down, z forward; 0 where there is no depth.

    """
    if unit not in UNITS:
        raise ValueError(f"unit must be 'm' or 'mm', got {unit!r}")
    z = depth_steps(depth) * UNITS[unit]
    if z.ndim != 2:
        raise ValueError(f"xyz_from_depth: depth must be (H, W), got {z.shape}")
    fx, fy, cx, cy = pinhole("xyz_from_depth", intrinsics)
    z = np.where(z <= FARTHEST, z, 0.0)
    v, u = np.indices(z.shape)
    return np.stack([(u - cx) / fx * z, (v - cy) / fy * z, z], -1).astype(np.float32)


def pinhole(what: str, intrinsics: npt.ArrayLike) -> tuple[float, float, float, float]:
    """Return fx, fy, cx, cy of a camera, in pixels.

    Args:
        what: for messages, who asks.
        intrinsics: these four, or the (3, 3) matrix of them, without skew.

    Raises:
        ValueError: another shape, not finite, a matrix of another form, or focal lengths that are
            not positive.

    """
    k = np.asarray(intrinsics, np.float64)
    if k.shape not in ((4,), (3, 3)):
        raise ValueError(
            f"{what}: intrinsics must be (fx, fy, cx, cy) or a 3x3 matrix, got {k.shape}"
        )
    if not np.isfinite(k).all():
        raise ValueError(f"{what}: intrinsics must be finite, got {k.tolist()}")
    if k.ndim == 2 and not (k[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] == (0, 0, 0, 0, 1)).all():
        raise ValueError(
            f"{what}: the matrix must be ((fx, 0, cx), (0, fy, cy), (0, 0, 1)), "
            f"got {k.tolist()}"
            + ("; it is transposed" if (k[:2, 2] == 0).all() and k[2, 2] == 1 else "")
        )
    values = k if k.ndim == 1 else [k[0, 0], k[1, 1], k[0, 2], k[1, 2]]
    fx, fy, cx, cy = (float(i) for i in values)
    if not (fx > 0 and fy > 0):
        raise ValueError(f"{what}: focal lengths must be positive, got {fx}, {fy}")
    return fx, fy, cx, cy


def depth_steps(depth: Array) -> npt.NDArray[np.float64]:
    """Return the numbers of a depth image, with 0 where there is none; see `xyz_from_depth`.

    Raises:
        TypeError: not real numbers.

    """
    plain = depth.detach().cpu().numpy() if isinstance(depth, Tensor) else np.asanyarray(depth)
    if plain.dtype.kind not in "iuf":
        raise TypeError(f"xyz_from_depth: depth must be real numbers, got {plain.dtype}")
    steps = np.ma.getdata(plain).astype(np.float64)
    there = np.isfinite(steps) & (steps > 0) & ~np.ma.getmaskarray(plain)
    if plain.dtype.kind in "iu":
        there &= np.ma.getdata(plain) != np.iinfo(plain.dtype).max
        if plain.dtype.itemsize > 2:  # readers of images widen them
            there &= steps != np.iinfo(np.uint16).max
    return np.where(there, steps, 0.0)
