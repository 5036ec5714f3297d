"""What comes in: other units, and depth images instead of points."""

from dataclasses import dataclass
from math import atan, degrees, isfinite
from typing import cast

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cmad.types import Array

METRES = {"m": 1.0, "mm": 1e-3}
"""Metres per unit of length that points and depths may come in."""
FARTHEST = 1e6
"""Metres; a depth beyond it is none."""
WIDEST, NARROWEST = 170.0, 0.1
"""Degrees; no depth camera sees more, or less, across the width of its image."""
OBLONG = 2.0
"""Times as long as the other one; no camera has such a focal length."""

Camera = tuple[float, float, float, float]
"""fx, fy, cx, cy: focal lengths and principal point in pixels."""


@dataclass(frozen=True)
class Units:
    """How the numbers in files become metres; of JSON values, so that a model can keep it.

    Raises:
        ValueError: an unknown unit, a scale that is none, intrinsics that are none, or a scale of
            depth images without intrinsics.

    """

    unit: str = "m"
    """Of points: ``"m"`` or ``"mm"``."""
    intrinsics: Camera | None = None
    """(fx, fy, cx, cy) of the depth camera in pixels, also made from the (3, 3) matrix; None where
    there are no depth images."""
    depth_unit: str = "mm"
    """Of the steps of depth images, times ``depth_scale``."""
    depth_scale: float = 1.0
    """Units per step of a depth image; 0.1 and ``"mm"`` for tenths of a millimetre."""

    def __post_init__(self) -> None:
        """Check the values."""
        _expect_unit(self.unit, "unit")
        _expect_unit(self.depth_unit, "depth_unit")
        if self.intrinsics is not None:
            object.__setattr__(self, "intrinsics", pinhole(self.intrinsics))
        scale = self.depth_scale
        if isinstance(scale, bool | str) or not (isfinite(scale) and scale > 0):
            raise ValueError(f"depth_scale must be above 0, got {scale}")
        object.__setattr__(self, "depth_scale", float(scale))
        if self.intrinsics is None and scale != 1:
            raise ValueError(
                "depth_scale is for depth images, which need intrinsics=(fx, fy, cx, cy)"
            )

    def given(
        self,
        unit: str | None = None,
        intrinsics: npt.ArrayLike | None = None,
        depth_unit: str | None = None,
        depth_scale: float | None = None,
    ) -> "Units":
        """Return the same with what is given instead; None leaves it.

        With a camera, a unit that is given counts for depth images too, unless they are given
        their own.
        """
        camera = self.intrinsics if intrinsics is None else cast(Camera, intrinsics)
        if depth_unit is None:
            depth_unit = self.depth_unit if camera is None or unit is None else unit
        return Units(
            self.unit if unit is None else unit,
            camera,
            depth_unit,
            self.depth_scale if depth_scale is None else depth_scale,
        )

    def of_points(self, xyz: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Convert points to metres."""
        return cast("npt.NDArray[np.float32]", to_metres(xyz, self.unit))

    def of_depth(self, depth: Array) -> npt.NDArray[np.float32]:
        """Make points, in metres, of a depth image (H, W); see `xyz_from_depth`."""
        if self.intrinsics is None:
            raise ValueError("a depth image needs intrinsics=(fx, fy, cx, cy)")
        return xyz_from_depth(
            depth_steps(depth) * self.depth_scale, self.intrinsics, unit=self.depth_unit
        )

    def __str__(self) -> str:
        """Say it in one line."""
        said = f"points in {self.unit}"
        if self.intrinsics is None:
            return said
        scale = "" if self.depth_scale == 1 else f"{self.depth_scale:g} "
        camera = ", ".join(f"{number:g}" for number in self.intrinsics)
        return f"{said}; depth images in {scale}{self.depth_unit}, camera {camera}"


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
    _expect_unit(unit, "unit")
    if unit == "m":
        return xyz
    scale = METRES[unit]
    if isinstance(xyz, Tensor) and xyz.is_floating_point():
        return xyz * scale
    if isinstance(xyz, np.ndarray) and np.issubdtype(xyz.dtype, np.floating):
        if isinstance(xyz, np.ma.MaskedArray):
            xyz = xyz.filled(np.nan)
        return np.asarray(xyz * np.asarray(scale, xyz.dtype))
    kind = getattr(xyz, "dtype", type(xyz).__name__)
    hint = "; images are uint8, and rgb comes first" * str(kind).endswith("uint8")
    raise TypeError(f"xyz must be an array of floats in {unit}, got {kind}{hint}")


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

    Raises:
        ValueError: another shape or unit, or intrinsics that no camera with such an image has: a
            field of view over `WIDEST` or under `NARROWEST` degrees, focal lengths of which one is
            more than `OBLONG` times the other, a principal point outside of the image by more than
            its size, or another order of the numbers, where that can be told.
        TypeError: not real numbers.

    """
    _expect_unit(unit, "unit")
    z = depth_steps(depth) * METRES[unit]
    if z.ndim != 2:
        raise ValueError(f"xyz_from_depth: depth must be (H, W), got {z.shape}")
    fx, fy, cx, cy = camera = pinhole(intrinsics, "xyz_from_depth: ")
    _expect_fitting(camera, *z.shape)
    z = np.where(z <= FARTHEST, z, 0.0)
    v, u = np.indices(z.shape)
    return np.stack([(u - cx) / fx * z, (v - cy) / fy * z, z], -1).astype(np.float32)


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


def pinhole_from_text(text: str | None, what: str) -> Camera | None:
    """Read fx, fy, cx and cy from text as a person types it; None of None.

    Args:
        text: such as ``"572,572,320,240"``.
        what: the text is called in messages, such as ``"--intrinsics"``.

    Raises:
        ValueError: not four such numbers.

    """
    if text is None:
        return None
    try:
        return pinhole([float(number) for number in text.split(",")])
    except ValueError as error:
        raise ValueError(
            f"{what} must be FX,FY,CX,CY, focal lengths above 0, got {text!r}"
        ) from error


def pinhole(intrinsics: npt.ArrayLike, what: str = "") -> Camera:
    """Return fx, fy, cx and cy, from them or from the (3, 3) matrix, without skew.

    Args:
        intrinsics: in pixels.
        what: for messages, who asks, such as ``"register: "``.

    Raises:
        ValueError: another shape, not finite, focal lengths that are not above 0, or a matrix with
            other entries.

    """
    try:
        k = np.asarray(intrinsics, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}intrinsics must be numbers, got {intrinsics!r}") from error
    if k.shape not in ((4,), (3, 3)):
        raise ValueError(
            f"{what}intrinsics must be (fx, fy, cx, cy) or a 3x3 matrix, got an array of shape "
            f"{k.shape}"
        )
    if not np.isfinite(k).all():
        raise ValueError(f"{what}intrinsics must be finite, got {k.tolist()}")
    if k.ndim == 2 and not (k[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] == (0, 0, 0, 0, 1)).all():
        raise ValueError(
            f"{what}intrinsics: the matrix must be ((fx, 0, cx), (0, fy, cy), (0, 0, 1)), "
            f"got {k.tolist()}"
            + ("; it is transposed" if (k[:2, 2] == 0).all() and k[2, 2] == 1 else "")
        )
    values = k if k.ndim == 1 else [k[0, 0], k[1, 1], k[0, 2], k[1, 2]]
    fx, fy, cx, cy = (float(i) for i in values)
    if not (fx > 0 and fy > 0):
        raise ValueError(f"{what}intrinsics: focal lengths must be positive, got {fx:g}, {fy:g}")
    return fx, fy, cx, cy


def _expect_unit(unit: object, name: str) -> None:
    if unit not in tuple(METRES):
        raise ValueError(f"{name} must be 'm' or 'mm', got {unit!r}")


def _expect_fitting(camera: Camera, height: int, width: int) -> None:
    """Raise where no camera with an image of this size has such intrinsics."""
    first, second, third, fourth = fx, fy, cx, cy = camera
    said = f"intrinsics ({fx:g}, {fy:g}, {cx:g}, {cy:g}) do not fit {width}x{height} pixels: "
    orders = {
        "cx, cy, fx, fy": (third, fourth, first, second),
        "fx, cx, fy, cy": (first, third, second, fourth),
    }
    off = max(abs(cx / width - 0.5), abs(cy / height - 0.5))
    if off > 0.25 or _oblong(fx, fy) > 1.2:  # unusual, where another order makes it usual
        for order, other in orders.items():
            if _usual(other, height, width):
                raise ValueError(f"{said}they look like {order}; the order is fx, fy, cx, cy")
    seen = degrees(2 * atan(width / 2 / fx))
    if not NARROWEST <= seen <= WIDEST:
        raise ValueError(
            f"{said}{seen:.3g} degrees would be seen across; focal lengths are in pixels of "
            "this image, not in millimetres"
        )
    if _oblong(fx, fy) > OBLONG:
        raise ValueError(
            f"{said}fx and fy are nearly equal on every camera; the order is fx, fy, cx, cy"
        )
    if off > 1.5:
        raise ValueError(f"{said}the principal point is far outside of the image")


def _usual(camera: Camera, height: int, width: int) -> bool:
    """Tell whether pixels are about square and the principal point is about in the middle."""
    fx, fy, cx, cy = camera
    return (
        min(fx, fy) > 0
        and _oblong(fx, fy) <= 1.1
        and abs(cx / width - 0.5) <= 0.1
        and abs(cy / height - 0.5) <= 0.1
    )


def _oblong(fx: float, fy: float) -> float:
    return max(fx, fy) / min(fx, fy)
