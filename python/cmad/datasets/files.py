"""From files to samples: reading images, points, depths and masks."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import SupportsIndex, overload

import numpy as np
import numpy.typing as npt

from cmad.datasets.images import (
    DEPTH_SUFFIXES,
    TIFF_SUFFIXES,
    Picture,
    naming,
    read_picture,
)
from cmad.datasets.names import plain
from cmad.datasets.points import READERS
from cmad.datasets.tables import expect_row_order
from cmad.paths import user_path
from cmad.types import Sample
from cmad.units import Units

POINTS_SUFFIXES = (*TIFF_SUFFIXES, *READERS)
NEEDS_CAMERA = "is a depth image, which needs intrinsics (--intrinsics FX,FY,CX,CY)"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", *TIFF_SUFFIXES)


class LazySamples(Sequence[Sample]):
    """A sequence that reads or makes a sample each time it is asked for; a slice is lazy too."""

    names: tuple[str, ...]
    """Of the samples, known without reading any."""

    def __init__(
        self, sources: Sequence[Callable[[], Sample]], names: Sequence[str] | None = None
    ) -> None:
        """Take one function without arguments per sample, and their names.

        Without names they are called ``part-1``, ``part-2``, ...
        """
        self._sources = list(sources)
        numbered = [f"part-{i + 1}" for i in range(len(sources))]
        self.names = tuple(numbered if names is None else names)
        if len(self.names) != len(self._sources):
            raise ValueError(
                f"LazySamples: names must be as many as samples, got {len(self.names)} "
                f"and {len(self._sources)}"
            )

    def __len__(self) -> int:
        """Return the number of samples, without reading any."""
        return len(self._sources)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "LazySamples": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "Sample | LazySamples":
        """Read one sample, or select several without reading them."""
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        return self._sources[index]()

    def __iter__(self) -> Iterator[Sample]:
        """Read one sample after the other."""
        return (source() for source in self._sources)

    def take(self, indices: Iterable[int]) -> "LazySamples":
        """Select samples by their positions, in this order, without reading them."""
        chosen = list(indices)
        return LazySamples([self._sources[i] for i in chosen], [self.names[i] for i in chosen])

    def few_shot(self, count: int, seed: int = 0) -> "LazySamples":
        """Draw samples without replacement, without reading them; the papers use 5, 10 and 50.

        They are the first ``count`` of one order that depends on seed and names only, see `drawn`,
        so the 5 of a seed are among its 10, and the choice is the same on every machine.

        Args:
            count: how many, 1 to the number of samples.
            seed: which draw.

        Returns:
            The samples drawn, in the order they have here.

        """
        if not 1 <= count <= len(self):
            raise ValueError(f"few_shot: count must be in [1, {len(self)}], got {count}")
        return self.take(sorted(drawn(self.names, seed)[:count]))


def drawn(names: Sequence[str], seed: int) -> list[int]:
    """Return the positions of names in an order drawn by seed.

    It is the order of the SHA-256 hashes of ``"seed/name"`` as hexadecimal text; equal names keep
    theirs. Unlike a random generator's, it stays the same between versions of libraries, and a name
    that comes or goes leaves the order of the others as it is.
    """
    keys = [hashlib.sha256(f"{seed}/{plain(name)}".encode()).hexdigest() for name in names]
    return sorted(range(len(keys)), key=keys.__getitem__)


def read_rgb(path: str | Path) -> npt.NDArray[np.uint8]:
    """Read a colour image: PNG, JPEG, BMP or TIFF, 8 bits in each of 3 channels.

    The pixels are taken as stored: an orientation noted in the file is not applied.

    Args:
        path: of the file.

    Returns:
        (H, W, 3) uint8.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not readable, or grey, with alpha, with a palette, of inks (CMYK), or with 16
            bits per channel.

    """
    picture = read_picture(user_path(path))
    image = picture.array
    if picture.space or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"{path}: rgb must be an 8-bit RGB image, (H, W, 3) uint8, got {picture}"
            + (", save it as RGB" if picture.space else "")
        )
    return image.astype(np.uint8, copy=False)


def read_xyz(path: str | Path, size: tuple[int, int] | None = None) -> npt.NDArray[np.float32]:
    """Read organised points from a TIFF, PLY, PCD or NPZ file.

    Args:
        path: of the file. TIFF: one page, three channels, 32-bit or 64-bit floats. PLY and PCD:
            ASCII or binary, with x, y and z for each pixel, row by row. NPZ: the array ``xyz``, or
            the only one. Bytes in either order.
        size: (H, W) of the image that the points belong to, for PLY and PCD files that do not say
            theirs.

    Returns:
        (H, W, 3) float32, in the file's unit; 64-bit values are rounded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not readable, unorganised, stored column by column, or of another shape or type.

    """
    path = user_path(path)
    suffix = path.suffix.lower()
    if suffix not in POINTS_SUFFIXES:
        raise ValueError(f"{path}: xyz must be one of {', '.join(POINTS_SUFFIXES)}")
    if suffix in TIFF_SUFFIXES:
        points = read_picture(path).array
    else:
        with naming(path):
            points = READERS[suffix](path, size)
    return _organised(path, points)


def points_in_metres(
    path: str | Path, size: tuple[int, int] | None = None, units: Units | None = None
) -> npt.NDArray[np.float32]:
    """Read points in metres, from organised points or from a depth image.

    A file with one channel of 16 bits or more is a depth image.

    Args:
        path: of the file, see `read_xyz` and `read_depth`.
        size: (H, W) of the image that the points belong to.
        units: of the file; None takes metres, and no depth images.

    Returns:
        (H, W, 3) float32 in metres.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: see `read_xyz` and `read_depth`; a depth image without intrinsics, or with those
            of no camera.

    """
    path, units = user_path(path), units or Units()
    suffix = path.suffix.lower()
    if suffix not in (*TIFF_SUFFIXES, *DEPTH_SUFFIXES):
        return units.of_points(read_xyz(path, size))
    picture = read_picture(path)
    if picture.is_depth and units.intrinsics is None:
        raise ValueError(f"{path} {NEEDS_CAMERA}")
    if picture.is_depth or suffix in DEPTH_SUFFIXES:
        return units.of_depth(_depth(path, picture))
    return units.of_points(_organised(path, picture.array))


def read_depth(path: str | Path) -> npt.NDArray[np.generic]:
    """Read a depth image: a PNG with one channel of 16 bits, or a TIFF of 16 bits or more.

    Args:
        path: of the file.

    Returns:
        (H, W), the numbers as stored, whole ones or floats.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not readable, or of another shape or type.

    """
    path = user_path(path)
    return _depth(path, read_picture(path))


def _depth(path: Path, picture: Picture) -> npt.NDArray[np.generic]:
    if not picture.is_depth:
        raise ValueError(
            f"{path}: depth must be an image with one channel of 16 bits or floats, (H, W) uint16, "
            f"got {picture}"
        )
    return picture.array.reshape(picture.array.shape[:2])


def _organised(path: Path, points: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    kind = points.dtype.newbyteorder("=")
    if points.ndim != 3 or points.shape[2] != 3 or kind not in ("f4", "f8"):
        raise ValueError(
            f"{path}: xyz must be organised points, (H, W, 3) float32, "
            f"got {points.shape} {points.dtype.name}"
        )
    with naming(path):
        expect_row_order(points)
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and so an invalid point
        return points.astype(np.float32, copy=False)


def read_mask(path: str | Path) -> npt.NDArray[np.bool_]:
    """Read a defect mask: what is not black is a defect, in any channel except alpha.

    In a file whose compression changes values, such as JPEG, it is what has at least half of the
    range. What is black the file says: palettes, inks and TIFFs where zero is white are read as a
    viewer shows them.

    Args:
        path: of the file, PNG, JPEG, BMP or TIFF.

    Returns:
        (H, W) bool.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not readable as an image, or with numbers that are none.

    """
    picture = read_picture(user_path(path))
    try:
        light = picture.light()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if light.dtype.kind == "f" and not np.isfinite(light).all():
        raise ValueError(f"{path}: a mask must hold finite numbers, got NaN or infinity")
    if picture.lossy and light.dtype.kind in "ui":
        return np.asarray((np.asarray(light, np.int64) >= 2 ** (picture.bits - 1)).any(axis=-1))
    return np.asarray((light != 0).any(axis=-1))


def read_sample(
    rgb: Path,
    xyz: Path,
    mask: Path | None = None,
    defect: str | None = None,
    name: str = "",
    *,
    units: Units | None = None,
) -> Sample:
    """Read one part from its files and check that they fit each other.

    Args:
        rgb: image file.
        xyz: organised points or a depth image, see `points_in_metres`.
        mask: defect mask; without one the mask of a good part is zeros, of any other None.
        defect: kind of defect, ``"good"`` for none, None where not known.
        name: of the sample.
        units: of the points, or of the depth image; None takes points in metres.

    Returns:
        The sample, in metres, all arrays of the same height and width.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not readable, the sizes differ, the mask of a good part marks a
            defect, or that of a defective part none.

    """
    image = read_rgb(rgb)
    points = points_in_metres(xyz, image.shape[:2], units)
    expect_size(points, image, f"xyz {xyz}", f"rgb {rgb}")
    return Sample(image, points, read_truth(mask, image, rgb, defect), defect, name)


def read_truth(
    mask: Path | None, image: npt.NDArray[np.uint8], rgb: Path, defect: str | None
) -> npt.NDArray[np.bool_] | None:
    """Read the mask that belongs to an image; see `read_sample`.

    Args:
        mask: file, or None.
        image: (H, W, 3), what was read from ``rgb``.
        rgb: image file, for messages.
        defect: kind of defect.

    Returns:
        (H, W) bool, or None where the truth is not known.

    """
    if mask is None:
        return np.zeros(image.shape[:2], np.bool_) if defect == "good" else None
    truth = read_mask(mask)
    expect_size(truth, image, f"mask {mask}", f"rgb {rgb}")
    if defect == "good" and truth.any():
        raise ValueError(
            f"{mask}: the mask of a good part must be zero everywhere, "
            f"got {int(truth.sum())} defect pixels"
        )
    if defect not in (None, "good") and not truth.any():
        raise ValueError(
            f"{mask}: the mask of a defective part must mark the defect ({defect}), "
            "got no defect pixel"
        )
    return truth


def expect_size(
    array: npt.NDArray[np.generic], image: npt.NDArray[np.generic], what: str, other: str
) -> None:
    """Raise ValueError where an array has not the image's height and width."""
    if array.shape[:2] != image.shape[:2]:
        sizes = [f"{a.shape[0]}x{a.shape[1]}" for a in (array, image)]
        raise ValueError(
            f"{what} must be as high and wide as {other}, got {sizes[0]} and {sizes[1]}"
        )
