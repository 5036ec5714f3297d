"""Points of data sets whose unit and content the source does not state: checked, in metres.

Files named xyz do not always hold points. Some tools write one depth into all three channels, or
fill x and y with one number. Such a file is a relief: heights above the pixels of an image.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cmad.datasets.files import read_xyz
from cmad.units import METRES, to_metres

Points = npt.NDArray[np.float32]

SMALLEST, LARGEST = 1e-3, 10.0
"""Metres; a part whose points span less or more is in another unit."""
ENOUGH = 16
"""Points from which on it can be told what a file holds."""


def read_points(
    path: Path,
    size: tuple[int, int],
    *,
    unit: str,
    pitch: float | None,
    relief: float | None,
    hint: str,
) -> Points:
    """Read organised points in metres; pixels without a point are zeros.

    Args:
        path: of the file, see `read_xyz`.
        size: (H, W) of the image, for files that do not say theirs.
        unit: of the file, ``"m"`` or ``"mm"``.
        pitch: metres between neighbouring pixels; x and y of the file are then ignored, and those
            of the pixels taken, with (0, 0) in the middle of the image.
        relief: metres per unit of z, instead of ``unit``, where there is a pitch.
        hint: for messages, the reader that takes these arguments.

    Returns:
        (H, W, 3) float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not readable, no points but a relief and no pitch, or points that span less
            than `SMALLEST` or more than `LARGEST`.

    """
    points = read_xyz(path, size)
    some = np.asarray(points.any(-1))
    if pitch is None:
        there = np.asarray(np.isfinite(points).all(-1)) & some
        if said := _relief(points[there]):
            raise ValueError(
                f"{path}: xyz must hold points, but {said}: it is a relief; "
                f"pass pitch=METRES_PER_PIXEL to {hint} for points on the pixels' raster"
            )
        result = np.where(there[..., None], to_metres(points, unit), 0).astype(np.float32)
        _expect_extent(result[there], path, unit, hint)
        return result
    rows, columns = points.shape[:2]
    v, u = np.indices(points.shape[:2])
    z = points[..., 2] * (METRES[unit] if relief is None else relief)
    raster = np.stack([(u - (columns - 1) / 2) * pitch, (v - (rows - 1) / 2) * pitch, z], -1)
    # Where x and y say nothing, they may be missing everywhere.
    return np.where((np.isfinite(z) & some)[..., None], raster, 0).astype(np.float32)


def expect_scale(what: str, unit: str, pitch: float | None, relief: float | None) -> None:
    """Raise ValueError where these arguments of a reader make no sense."""
    if unit not in METRES:
        raise ValueError(f"{what}: unit must be 'm' or 'mm', got {unit!r}")
    for name, value in (("pitch", pitch), ("relief", relief)):
        if value is not None and not 0 < value < np.inf:
            raise ValueError(f"{what}: {name} must be above 0 metres, got {value}")
    if relief is not None and pitch is None:
        raise ValueError(f"{what}: relief is for points on the pixels' raster, which need a pitch")


def _relief(points: Points) -> str | None:
    """Say how the points (N, 3) are none, or None where they are."""
    if len(points) < ENOUGH:
        return None
    x, y, z = points.T
    if (x == z).all() and (y == z).all():
        return "all three channels hold the same"
    if (x == x[0]).all() and (y == y[0]).all():
        return f"x and y are {x[0]:.6g} and {y[0]:.6g} everywhere"
    return None


def _expect_extent(points: Points, path: Path, unit: str, hint: str) -> None:
    if len(points) < ENOUGH:
        return
    span = float(np.ptp(points.astype(np.float64), axis=0).max())
    if not SMALLEST <= span <= LARGEST:
        raise ValueError(
            f"{path}: read as {unit}, the points span {span:.4g} m; "
            f"pass the unit of the file to {hint}, unit='m' or 'mm'"
        )
