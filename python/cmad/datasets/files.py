"""From files to samples: reading images, points and masks, and finding what belongs together."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import SupportsIndex, overload

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from cmad.types import Sample

TIFF_SUFFIXES = (".tif", ".tiff")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", *TIFF_SUFFIXES)


class LazySamples(Sequence[Sample]):
    """A sequence that reads or makes a sample each time it is asked for; a slice is lazy too."""

    def __init__(self, sources: Sequence[Callable[[], Sample]]) -> None:
        """Take one function without arguments per sample."""
        self._sources = list(sources)

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
            return LazySamples(self._sources[index])
        return self._sources[index]()

    def __iter__(self) -> Iterator[Sample]:
        """Read one sample after the other."""
        return (source() for source in self._sources)


def read_rgb(path: str | Path) -> npt.NDArray[np.uint8]:
    """Read a colour image: PNG, JPEG, BMP or TIFF, 8 bits in each of 3 channels.

    The pixels are taken as stored: an orientation noted in the file is not applied.

    Args:
        path: of the file.

    Returns:
        (H, W, 3) uint8.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not readable, or grey, with alpha, with a palette, or with 16 bits per channel.

    """
    image = _read(Path(path))
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"{path}: rgb must be an 8-bit RGB image, (H, W, 3) uint8, got {_describe(image)}"
        )
    return image.astype(np.uint8, copy=False)


def read_xyz(path: str | Path) -> npt.NDArray[np.float32]:
    """Read organised points from a TIFF file.

    Args:
        path: of the file: one page, three channels, 32-bit or 64-bit floats.

    Returns:
        (H, W, 3) float32, in the file's unit; 64-bit values are rounded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not readable as TIFF, or of another shape or type.

    """
    path = Path(path)
    if path.suffix.lower() not in TIFF_SUFFIXES:
        raise ValueError(f"{path}: xyz must be a TIFF file (.tif, .tiff)")
    points = _read(path)
    if points.ndim != 3 or points.shape[2] != 3 or points.dtype not in ("f4", "f8"):
        raise ValueError(
            f"{path}: xyz must be organised points, (H, W, 3) float32, got {_describe(points)}"
        )
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and so an invalid point
        return points.astype(np.float32, copy=False)


def read_mask(path: str | Path) -> npt.NDArray[np.bool_]:
    """Read a defect mask: any value but 0, in any channel except alpha, is a defect.

    Args:
        path: of the file, PNG, JPEG, BMP or TIFF.

    Returns:
        (H, W) bool.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not readable as an image.

    """
    image = _read(Path(path))
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.ndim not in (2, 3) or channels > 4:
        raise ValueError(f"{path}: a mask must be an image, (H, W), got {_describe(image)}")
    marked: npt.NDArray[np.bool_] = image.reshape(*image.shape[:2], channels) != 0
    colours = channels - (channels in (2, 4))
    return np.asarray(marked[:, :, :colours].any(axis=-1))


def read_sample(
    rgb: Path, xyz: Path, mask: Path | None = None, defect: str | None = None, name: str = ""
) -> Sample:
    """Read one part from its files and check that they fit each other.

    Args:
        rgb: image file.
        xyz: organised points, a TIFF file.
        mask: defect mask; without one the mask of a good part is zeros, of any other None.
        defect: kind of defect, ``"good"`` for none, None where not known.
        name: of the sample.

    Returns:
        The sample, all arrays of the same height and width.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not readable, the sizes differ, or the mask of a good part marks a
            defect.

    """
    image, points = read_rgb(rgb), read_xyz(xyz)
    _expect_size(points, image, f"xyz {xyz}", f"rgb {rgb}")
    truth = None
    if mask is not None:
        truth = read_mask(mask)
        _expect_size(truth, image, f"mask {mask}", f"rgb {rgb}")
        if defect == "good" and truth.any():
            raise ValueError(
                f"{mask}: the mask of a good part must be zero everywhere, "
                f"got {int(truth.sum())} defect pixels"
            )
    elif defect == "good":
        truth = np.zeros(image.shape[:2], np.bool_)
    return Sample(image, points, truth, defect, name)


def find_parts(folder: Path) -> list[tuple[str, Path, Path, Path | None]]:
    """Find the files of each part in the subfolders ``rgb``, ``xyz`` and, where it is, ``gt``.

    Files belong together by their name without extension. Other types of file are passed over.

    Returns:
        Name, rgb, xyz and mask file (None where there is none) of each part, sorted by name.

    Raises:
        ValueError: an image without points, points without image, or two files for one thing.

    """
    rgb = _by_stem(folder / "rgb", IMAGE_SUFFIXES)
    xyz = _by_stem(folder / "xyz", TIFF_SUFFIXES)
    masks = _by_stem(folder / "gt", IMAGE_SUFFIXES)
    for stem in sorted(rgb.keys() ^ xyz.keys()):
        if stem in rgb:
            raise ValueError(f"{rgb[stem]}: has no points, {folder / 'xyz' / stem}.tiff is missing")
        raise ValueError(f"{xyz[stem]}: has no image, {folder / 'rgb' / stem}.png is missing")
    return [(stem, rgb[stem], xyz[stem], masks.get(stem)) for stem in sorted(rgb)]


def _read(path: Path) -> npt.NDArray[np.generic]:
    """Decode a file as stored, (H, W) or (H, W, C), palettes as RGBA; errors name the file."""
    try:
        if path.suffix.lower() in TIFF_SUFFIXES:
            with tifffile.TiffFile(path) as tiff:
                return np.asarray(tiff.asarray())
        with path.open("rb") as file, Image.open(file) as image:
            depth = _png_depth(path)
            if depth > 8 and not image.mode.startswith("I"):
                raise ValueError(f"{depth} bits per channel; save it with 8")
            return np.array(image.convert("RGBA") if image.mode == "P" else image)
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # decoders raise errors of many types, few of which name the file
        raise ValueError(f"{path}: cannot be read: {error or type(error).__name__}") from error


def _png_depth(path: Path) -> int:
    """Return the bits per channel of a PNG, which Pillow silently cuts to 8; 8 for other files."""
    with path.open("rb") as file:
        head = file.read(25)
    return head[24] if head.startswith(b"\x89PNG\r\n\x1a\n") else 8


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in found:
                raise ValueError(f"{path}: the same part has {found[path.stem].name} beside it")
            found[path.stem] = path
    return found


def _expect_size(
    array: npt.NDArray[np.generic], image: npt.NDArray[np.generic], what: str, other: str
) -> None:
    if array.shape[:2] != image.shape[:2]:
        sizes = [f"{a.shape[0]}x{a.shape[1]}" for a in (array, image)]
        raise ValueError(
            f"{what} must be as high and wide as {other}, got {sizes[0]} and {sizes[1]}"
        )


def _describe(array: npt.NDArray[np.generic]) -> str:
    return f"{array.shape} {array.dtype.name}"
