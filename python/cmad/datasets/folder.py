"""Own data: folders of rgb/xyz pairs, and pairs named one by one."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import tifffile

from cmad.datasets.files import (
    IMAGE_SUFFIXES,
    TIFF_SUFFIXES,
    LazySamples,
    find_parts,
    read_sample,
)
from cmad.types import Sample


class Folder(LazySamples):
    """Every rgb/xyz pair below a folder.

    A pair is two files of the same name in the subfolders ``rgb/`` and ``xyz/`` of one folder, at
    any depth; a mask of that name in ``gt/`` beside them is read too. The folder that holds
    ``rgb/`` names the defect and ``good`` says that there is none, as in MVTec 3D-AD. Where
    ``rgb/`` lies directly in the folder given, that takes a mask: a part is good if its mask is
    zeros and else its defect is ``"defect"``; without masks nothing is known of it.

    The name of a sample is its path below the folder, such as ``"test/bent/000"``.
    """

    def __init__(self, path: str | Path) -> None:
        """List the pairs, sorted by folder and name; reads none of them.

        Args:
            path: folder to search, links included.

        Raises:
            FileNotFoundError: the folder is not there.
            ValueError: no pair is found, a file or folder lacks its partner, or ``gt/`` lacks the
                mask of a defective part.

        """
        root = Path(path)
        if not root.is_dir():
            raise FileNotFoundError(f"Folder: path must be a folder, got {root}")
        sources = []
        for parent, folders, _ in os.walk(root, followlinks=True):
            folder = Path(parent)
            if ("rgb" in folders) != ("xyz" in folders):
                there, missing = ("rgb", "xyz") if "rgb" in folders else ("xyz", "rgb")
                raise ValueError(f"Folder: {folder} has {there}/ but no {missing}/ beside it")
            if "rgb" in folders:
                sources += _sources(root, folder, masked="gt" in folders)
            folders[:] = sorted(
                f for f in folders if f not in ("rgb", "xyz", "gt") and not f.startswith(".")
            )
        if not sources:
            raise ValueError(f"Folder: {root} holds no pairs (rgb/NAME.png with xyz/NAME.tiff)")
        super().__init__(sources)


class Pairs(LazySamples):
    """Parts named file by file: an image and a TIFF of points, then the next two, and so on.

    The files of a pair may come in either order. Of TIFF files, floating-point ones are points,
    others are images. Nothing is known of the truth: mask and defect are None. The name of a sample
    is the path of its image below the folder that all images share, without extension.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        """Pair the files up; of TIFF files this reads the headers.

        Args:
            paths: of the files, an even number.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: an odd number of files, two of one kind in a pair, a type of file that is
                neither, or two images that would have the same name.

        """
        files = [Path(path) for path in paths]
        if not files or len(files) % 2:
            raise ValueError(
                "Pairs: paths must be pairs of an image and a TIFF of points, "
                f"got {len(files)} files"
            )
        pairs = []
        for first, second in zip(files[::2], files[1::2], strict=True):
            kinds = _kind(first), _kind(second)
            if kinds[0] == kinds[1]:
                raise ValueError(
                    f"Pairs: a pair must be an image and a TIFF of points, "
                    f"got two of {kinds[0]}: {first} and {second}"
                )
            pairs.append((first, second) if kinds[0] == "rgb" else (second, first))
        images = [Path(os.path.abspath(rgb)) for rgb, _ in pairs]
        shared = os.path.commonpath([image.parent for image in images])
        names = [image.relative_to(shared).with_suffix("").as_posix() for image in images]
        taken: dict[str, Path] = {}
        for (rgb, _), name in zip(pairs, names, strict=True):
            if name in taken:
                raise ValueError(
                    f"Pairs: images must have names of their own, got {taken[name]} and {rgb}"
                )
            taken[name] = rgb
        super().__init__(
            [
                partial(read_sample, rgb, xyz, name=name)
                for (rgb, xyz), name in zip(pairs, names, strict=True)
            ]
        )


def _sources(root: Path, folder: Path, masked: bool) -> list[partial[Sample]]:
    below = folder.relative_to(root)
    defect = folder.name if folder != root else None
    sources = []
    for stem, rgb, xyz, mask in find_parts(folder):
        if masked and mask is None and defect != "good":
            raise ValueError(f"{rgb}: has no mask, {folder / 'gt' / stem}.png is missing")
        read = _read_by_mask if masked and defect is None else read_sample
        sources.append(partial(read, rgb, xyz, mask, defect, (below / stem).as_posix()))
    return sources


def _read_by_mask(rgb: Path, xyz: Path, mask: Path | None, defect: str | None, name: str) -> Sample:
    """Read a part of which only the mask tells whether it is good."""
    sample = read_sample(rgb, xyz, mask, defect, name)
    return replace(
        sample, defect="good" if sample.mask is None or not sample.mask.any() else "defect"
    )


def _kind(path: Path) -> str:
    """Tell ``"rgb"`` from ``"xyz"``."""
    if not path.is_file():
        raise FileNotFoundError(f"Pairs: paths must be files, got {path}")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f"Pairs: {path} must be one of {', '.join(IMAGE_SUFFIXES)}")
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return "rgb"
    try:
        with tifffile.TiffFile(path) as tiff:
            return "xyz" if tiff.series[0].dtype.kind == "f" else "rgb"
    except Exception as error:  # as in files.py
        raise ValueError(f"{path}: cannot be read: {error or type(error).__name__}") from error
