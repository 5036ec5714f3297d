"""Parts named file by file: one frame, or pairs of an image with points or a depth image."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy.typing as npt
import tifffile

from cmad.datasets.files import (
    IMAGE_SUFFIXES,
    NEEDS_CAMERA,
    POINTS_SUFFIXES,
    LazySamples,
    read_sample,
)
from cmad.datasets.images import TIFF_SUFFIXES, is_depth, naming, png_bits
from cmad.datasets.names import plain
from cmad.paths import user_path
from cmad.types import Sample
from cmad.units import Units


def read_frame(
    rgb: str | Path,
    xyz: str | Path,
    *,
    unit: str = "m",
    intrinsics: npt.ArrayLike | None = None,
    depth_unit: str | None = None,
    depth_scale: float = 1.0,
    name: str = "",
) -> Sample:
    """Read one part from an image and organised points, or from an image and a depth image.

    Args:
        rgb: image file with 8 bits in each of 3 channels: PNG, JPEG, BMP, TIFF.
        xyz: points as TIFF, PLY, PCD or NPZ, see `cmad.datasets.files.read_xyz`; with
            ``intrinsics`` also a depth image, PNG or TIFF with one channel of 16 bits or more.
        unit: of the points: ``"m"`` or ``"mm"``.
        intrinsics: of the depth camera, (fx, fy, cx, cy) in pixels or the (3, 3) matrix.
        depth_unit: of the depth times ``depth_scale``; None takes ``unit``.
        depth_scale: units per step of the depth image, above 0; 0.1 and ``"mm"`` for tenths of a
            millimetre.
        name: of the sample.

    Returns:
        The sample; its points are (H, W, 3) float32 in metres, mask and defect are None.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not readable or not of this kind, the sizes differ, or an argument is
            out of range.

    """
    units = Units().given(unit, intrinsics, depth_unit, depth_scale)
    return read_sample(user_path(rgb), user_path(xyz), name=name, units=units)


KINDS = {"rgb": "an image", "xyz": "points", "depth": "a depth image"}


class Pairs(LazySamples):
    """Parts named file by file: an image and its points, then the next two, and so on.

    The files of a pair may come in either order. PLY, PCD and NPZ files and TIFF files with three
    channels of floats are points, a PNG or TIFF with one channel of 16 bits or more is a depth
    image, others are images. Nothing is
    known of the truth: mask and defect are None. The name of a sample is the path of its image
    below the folder that all images share, without extension.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        unit: str | None = None,
        intrinsics: npt.ArrayLike | None = None,
        depth_unit: str | None = None,
        depth_scale: float = 1.0,
    ) -> None:
        """Pair the files up; of PNG and TIFF files this reads the headers.

        Args:
            paths: of the files, an even number.
            unit: of the points, ``"m"`` (None) or ``"mm"``; samples are in metres.
            intrinsics: of the depth camera, (fx, fy, cx, cy) in pixels or the (3, 3) matrix; with
                them pairs may hold depth images, PNG or TIFF with one channel of at least 16
                bits.
            depth_unit: of the depth images, ``"m"`` or ``"mm"``; None takes ``unit`` where that is
                given, else ``"mm"``.
            depth_scale: units per step of the depth images; 0.1 for tenths.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: an odd number of files, two of one kind in a pair, a type of file that is
                neither, a depth image without intrinsics, two images that would have the same name,
                or see `cmad.units.Units`.

        """
        units = Units().given(unit, intrinsics, depth_unit, depth_scale)
        files = [user_path(path) for path in paths]
        if not files or len(files) % 2:
            raise ValueError(
                f"Pairs: paths must be pairs of an image and its points, got {len(files)} files"
            )
        pairs = []
        for first, second in zip(files[::2], files[1::2], strict=True):
            kinds = _kind(first), _kind(second)
            if (kinds[0] == "rgb") == (kinds[1] == "rgb"):
                got = " and ".join(
                    f"{KINDS[kind]} ({path})"
                    for kind, path in zip(kinds, (first, second), strict=True)
                )
                raise ValueError(
                    f"Pairs: a pair must be an image and its points or depth image, got {got}"
                )
            other = kinds[kinds[0] == "rgb"]
            pairs.append((first, second, other) if kinds[0] == "rgb" else (second, first, other))
        images = [Path(os.path.abspath(rgb)) for rgb, _, _ in pairs]
        shared = os.path.commonpath([image.parent for image in images])
        names = [plain(image.relative_to(shared).with_suffix("").as_posix()) for image in images]
        taken: dict[str, Path] = {}
        sources = []
        for (rgb, xyz, kind), name in zip(pairs, names, strict=True):
            if name in taken:
                raise ValueError(
                    f"Pairs: images must have names of their own, got {taken[name]} and {rgb}"
                )
            taken[name] = rgb
            if kind == "depth" and units.intrinsics is None:
                raise ValueError(f"Pairs: {xyz} {NEEDS_CAMERA}")
            sources.append(partial(read_sample, rgb, xyz, name=name, units=units))
        super().__init__(sources, names)


def _kind(path: Path) -> str:
    """Tell ``"rgb"``, ``"xyz"`` and ``"depth"``."""
    if not path.is_file():
        raise FileNotFoundError(f"Pairs: paths must be files, got {path}")
    suffix = path.suffix.lower()
    if suffix not in (*IMAGE_SUFFIXES, *POINTS_SUFFIXES):
        known = dict.fromkeys((*IMAGE_SUFFIXES, *POINTS_SUFFIXES))
        raise ValueError(f"Pairs: {path} must be one of {', '.join(known)}")
    if suffix not in TIFF_SUFFIXES:
        if suffix in POINTS_SUFFIXES:
            return "xyz"
        with path.open("rb") as file:
            return "depth" if png_bits(file.read(26)) == (16, True) else "rgb"
    with naming(path), tifffile.TiffFile(path) as tiff:
        stored = tiff.series[0]
        if is_depth(stored.shape, stored.dtype):
            return "depth"
        return "xyz" if stored.dtype.kind == "f" else "rgb"
