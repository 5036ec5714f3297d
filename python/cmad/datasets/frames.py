"""Parts named file by file: one frame, or pairs of an image with points or a depth image."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import tifffile

from cmad.datasets.files import (
    IMAGE_SUFFIXES,
    POINTS_SUFFIXES,
    LazySamples,
    expect_size,
    read_depth,
    read_rgb,
    read_sample,
)
from cmad.datasets.images import TIFF_SUFFIXES, naming, png_bits
from cmad.datasets.names import plain, user_path
from cmad.types import Array, Sample
from cmad.units import depth_steps, to_metres, xyz_from_depth


def read_frame(
    rgb: str | Path,
    xyz: str | Path,
    *,
    unit: str = "m",
    intrinsics: npt.ArrayLike | None = None,
    depth_scale: float = 1.0,
    name: str = "",
) -> Sample:
    """Read one part from an image and organised points, or from an image and a depth image.

    Args:
        rgb: image file with 8 bits in each of 3 channels: PNG, JPEG, BMP, TIFF.
        xyz: points as TIFF, PLY, PCD or NPZ, see `cmad.datasets.files.read_xyz`; with
            ``intrinsics`` a depth image, PNG with 16 bits or TIFF.
        unit: of the points, or of the depth times ``depth_scale``: ``"m"`` or ``"mm"``.
        intrinsics: of the depth camera, (fx, fy, cx, cy) in pixels or the (3, 3) matrix.
        depth_scale: units per step of the depth image, above 0; 0.1 and ``unit="mm"`` for tenths of
            a millimetre.
        name: of the sample.

    Returns:
        The sample; its points are (H, W, 3) float32 in metres, mask and defect are None.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not readable or not of this kind, the sizes differ, or an argument is
            out of range.

    """
    if not (np.isfinite(depth_scale) and depth_scale > 0):
        raise ValueError(f"read_frame: depth_scale must be above 0, got {depth_scale}")
    if intrinsics is None:
        if depth_scale != 1:
            raise ValueError("read_frame: depth_scale is for depth images, which need intrinsics")
        sample = read_sample(user_path(rgb), user_path(xyz), name=name)
        return replace(sample, xyz=to_metres(cast(Array, sample.xyz), unit))
    image, depth = read_rgb(rgb), read_depth(xyz)
    expect_size(depth, image, f"depth {xyz}", f"rgb {rgb}")
    points = xyz_from_depth(depth_steps(depth) * depth_scale, intrinsics, unit=unit)
    return Sample(image, points, name=name)


KINDS = {"rgb": "an image", "xyz": "points", "depth": "a depth image"}


class Pairs(LazySamples):
    """Parts named file by file: an image and its points, then the next two, and so on.

    The files of a pair may come in either order. PLY, PCD and NPZ files and TIFF files with floats
    are points, a PNG with one channel of 16 bits is a depth image, others are images. Nothing is
    known of the truth: mask and defect are None. The name of a sample is the path of its image
    below the folder that all images share, without extension.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        intrinsics: npt.ArrayLike | None = None,
        depth_unit: str = "mm",
        depth_scale: float = 1.0,
    ) -> None:
        """Pair the files up; of PNG and TIFF files this reads the headers.

        Args:
            paths: of the files, an even number.
            intrinsics: of the depth camera, needed with depth images, see `read_frame`.
            depth_unit: of the depth images: ``"m"`` or ``"mm"``. Their points are in metres; those
                of other files keep the file's unit.
            depth_scale: units per step of the depth images.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: an odd number of files, two of one kind in a pair, a type of file that is
                neither, a depth image without intrinsics, or two images that would have the same
                name.

        """
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
            if kind == "xyz":
                sources.append(partial(read_sample, rgb, xyz, name=name))
                continue
            if intrinsics is None:
                raise ValueError(f"Pairs: {xyz} is a depth image, which needs intrinsics")
            sources.append(
                partial(
                    read_frame,
                    rgb,
                    xyz,
                    unit=depth_unit,
                    intrinsics=intrinsics,
                    depth_scale=depth_scale,
                    name=name,
                )
            )
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
        return "xyz" if tiff.series[0].dtype.kind == "f" else "rgb"
