"""What a file holds, an image, points or depths, told by its name and its header."""

from collections.abc import Sequence
from pathlib import Path

import tifffile

from cmad.datasets.files import IMAGE_SUFFIXES, POINTS_SUFFIXES
from cmad.datasets.images import TIFF_SUFFIXES, is_depth, naming, png_bits
from cmad.datasets.names import passed_over

IMAGE, POINTS, DEPTH = "an image", "points", "a depth image"
KNOWN = tuple(dict.fromkeys((*IMAGE_SUFFIXES, *POINTS_SUFFIXES)))


def content_of(path: Path) -> str:
    """Tell `IMAGE`, `POINTS` and `DEPTH`; of PNG and TIFF files this reads the header.

    Raises:
        ValueError: not a type of file that holds one of them, or not readable.

    """
    suffix = path.suffix.lower()
    if suffix not in KNOWN:
        raise ValueError(f"{path} must be one of {', '.join(KNOWN)}")
    if suffix not in TIFF_SUFFIXES:
        if suffix in POINTS_SUFFIXES:
            return POINTS
        with path.open("rb") as file:
            return DEPTH if png_bits(file.read(26)) == (16, True) else IMAGE
    with naming(path), tifffile.TiffFile(path) as tiff:
        stored = tiff.series[0]
        if is_depth(stored.shape, stored.dtype):
            return DEPTH
        return POINTS if stored.dtype.kind == "f" else IMAGE


def expect_unswapped(folder: Path) -> None:
    """Raise ValueError where ``rgb`` holds points or depths, and ``xyz`` images.

    Told by one file of each, of which only headers are read; mostly that of the first suffices.
    """
    first = _first(folder / "rgb")
    if first is None or (held := _content(first)) in (None, IMAGE):
        return
    other = _first(folder / "xyz")
    if other is not None and _content(other) == IMAGE:
        raise ValueError(
            f"{folder}: rgb/ and xyz/ are swapped: {first.relative_to(folder)} holds {held}, "
            f"{other.relative_to(folder)} {IMAGE}; exchange the names of the two folders"
        )


def holding(paths: Sequence[Path]) -> str:
    """Say what files hold where all hold the same, such as ``"images only"``; "" otherwise."""
    held = {_content(path) for path in paths}
    words = {IMAGE: "images only", POINTS: "points only", DEPTH: "depth images only"}
    return words.get(held.pop() or "", "") if len(held) == 1 else ""


def _first(folder: Path) -> Path | None:
    there = sorted(folder.iterdir()) if folder.is_dir() else ()
    return next((f for f in there if f.suffix.lower() in KNOWN and not passed_over(f.name)), None)


def _content(path: Path) -> str | None:
    try:
        return content_of(path)
    except (ValueError, OSError):  # for who reads it to say
        return None
