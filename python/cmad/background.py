"""What is known of what is not the part: a plane, a distance to it, a region of interest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

PLANE_DISTANCE = 0.005
"""Metres; a point nearer to the background plane is background (CFM, section 4)."""

_WANTED = (
    'background must be "plane", "none", a distance in metres such as 0.002, a plane (a, b, c, d), '
    "a polygon of at least three (column, row), or a mask (H, W)"
)


@dataclass(frozen=True)
class Background:
    """What is not the part. `of` makes one from what is passed as ``background=``."""

    kind: Literal["plane", "distance", "fixed", "none", "polygon", "mask"] = "plane"
    """``"plane"``: the plane that the outermost points lie on, if they lie on one; ``"distance"``:
    the same, also where it cannot be told from the rim of a part whose background has been removed;
    ``"fixed"``: a plane that is known, and all behind it; ``"none"``: nothing, every point is the
    part's; ``"polygon"``, ``"mask"``: what is outside of a region of interest."""
    distance: float = PLANE_DISTANCE
    """Metres; a point nearer to the plane is background."""
    plane: tuple[float, ...] = ()
    """Of ``"fixed"``: (n, d) of the plane n . p + d = 0, |n| = 1, d > 0, metres."""
    polygon: tuple[tuple[float, float], ...] = ()
    """Of ``"polygon"``: corners, column and row in pixels of the input; (0, 0) is the centre of the
    first pixel."""
    size: tuple[int, ...] = ()
    """Of ``"mask"``: height and width."""
    runs: tuple[int, ...] = ()
    """Of ``"mask"``: lengths of the runs of its pixels, row by row, outside and inside in turn."""

    @property
    def is_region(self) -> bool:
        """Whether it is a region of interest."""
        return self.kind in ("polygon", "mask")

    @staticmethod
    def of(value: object) -> "Background":
        """Make one.

        Args:
            value: ``"plane"``; ``"none"``; a distance in metres, above 0, to the plane found; a
                plane (a, b, c, d) with a x + b y + c z + d = 0 in metres; a polygon (K, 2) of
                columns and rows, at least three corners; a mask (H, W) of bool, or of numbers that
                are not 0 inside; or a `Background`.

        Raises:
            ValueError, TypeError: none of these.

        """
        if isinstance(value, Background):
            return value
        if isinstance(value, str):
            if value not in ("plane", "none"):
                raise ValueError(f"{_WANTED}, got {value!r}")
            return Background("plane" if value == "plane" else "none")
        try:
            array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        except ValueError:  # rows of several lengths
            array = np.empty(0, object)
        if array.dtype.kind not in "biuf" or (array.ndim == 0 and array.dtype.kind == "b"):
            raise TypeError(f"{_WANTED}, got {value!r}")
        if not np.isfinite(array).all():
            raise ValueError("background must hold finite numbers, got NaN or infinity")
        if array.ndim == 0:
            if not array > 0:
                raise ValueError(f"background must be a distance above 0, got {float(array):g}")
            return Background("distance", float(array))
        if array.shape == (4,):
            return _fixed(array.astype(np.float64))
        if array.ndim == 2 and array.shape[1] == 2 and array.dtype.kind != "b":
            return _polygon(array.astype(np.float64))
        if array.ndim == 2:
            return _mask(array != 0)
        raise ValueError(f"{_WANTED}, got an array of shape {array.shape}")

    @staticmethod
    def load(stored: Mapping[str, Any]) -> "Background":
        """Make one from its fields as a file holds them."""
        polygon = tuple((float(x), float(y)) for x, y in stored["polygon"])
        tuples = {name: tuple(stored[name]) for name in ("plane", "size", "runs")}
        return Background(stored["kind"], float(stored["distance"]), polygon=polygon, **tuples)

    def region(self, height: int, width: int) -> Tensor:
        """Return a region of interest as (H, W) bool.

        Raises:
            ValueError: the mask has another size, or the polygon holds no pixel of the image.

        """
        if self.kind == "mask":
            if self.size != (height, width):
                raise ValueError(
                    "the mask of the region of interest must be as high and wide as the part, got "
                    f"{self.size[0]}x{self.size[1]} and {height}x{width}"
                )
            inside = np.arange(len(self.runs)) % 2 == 1
            return torch.from_numpy(np.repeat(inside, self.runs).reshape(height, width))
        region = _within(np.array(self.polygon), height, width)
        if not region.any():
            raise ValueError(
                f"the polygon of the region of interest holds no pixel of {height}x{width}; its "
                "corners are column and row"
            )
        return torch.from_numpy(region)

    def describe(self) -> str:
        """Say in some words what it is."""
        within = f"{1e3 * self.distance:g} mm"
        return {
            "plane": f"up to {within} from the plane that is found",
            "distance": f"up to {within} from the plane under the outermost points",
            "fixed": f"up to {within} from the plane {', '.join(f'{v:g}' for v in self.plane)}, "
            "and behind it",
            "none": "none, every point is looked at",
            "polygon": f"outside of a polygon with {len(self.polygon)} corners",
            "mask": f"outside of a mask of {'x'.join(map(str, self.size))} with "
            f"{sum(self.runs[1::2])} pixels",
        }[self.kind]


def _fixed(plane: npt.NDArray[np.float64]) -> Background:
    length = float(np.linalg.norm(plane[:3]))
    if length == 0 or plane[3] == 0:
        raise ValueError(
            "background must be a plane a x + b y + c z + d = 0 that does not go through the "
            f"camera, got {', '.join(f'{v:g}' for v in plane)}"
        )
    # The camera is on the side where n . p + d is positive.
    return Background("fixed", plane=tuple((plane / length * np.sign(plane[3])).tolist()))


def _polygon(corners: npt.NDArray[np.float64]) -> Background:
    x, y = corners.T
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    if len(np.unique(corners, axis=0)) < 3 or area == 0:
        raise ValueError(
            "background must be a polygon of at least three corners that are not on a line, got "
            + " ".join(f"{column:g},{row:g}" for column, row in corners)
        )
    return Background("polygon", polygon=tuple((float(u), float(v)) for u, v in corners))


def _mask(mask: npt.NDArray[np.bool_]) -> Background:
    if not mask.any():
        raise ValueError("background must be a mask that has pixels inside, got none")
    flat = np.concatenate([[False], mask.ravel()])
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), mask.size)
    runs = np.diff(ends, prepend=0)
    return Background("mask", size=mask.shape, runs=tuple(int(n) for n in runs))


def _within(corners: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Tell in which pixel centres a ray crosses the sides of a polygon an odd number of times."""
    row, column = np.arange(height)[:, None], np.arange(width)[None]
    inside = np.zeros((height, width), np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crossed = (y0 <= row) != (y1 <= row)
        inside ^= crossed & (column >= x0 + (row - y0) / (y1 - y0) * (x1 - x0))
    return inside
