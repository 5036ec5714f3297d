"""Decoding image files as stored, with what their numbers stand for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, UnidentifiedImageError

from cmad.datasets.tables import through_text_mode

TIFF_SUFFIXES = (".tif", ".tiff")
DEPTH_SUFFIXES = (".png",)
"""Of depth images, beside those of TIFF."""
_LOSSY = (
    *("JPEG", "OJPEG", "ALT_JPEG", "JPEGXR", "JPEGXR_NDPI", "JPEGXL", "WEBP", "LERC"),
    *("JPEG2000", "JPEG_2000_LOSSY", "APERIO_JP2000_YCBC", "APERIO_JP2000_RGB"),
)
"""Of the compressions of TIFF; some of them can do without loss too."""
_PALETTE, _INKS = "a palette", "CMYK inks"
_ZERO_IS_WHITE = "zero as white"


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded image."""

    array: npt.NDArray[np.generic]
    """(H, W) or (H, W, C), as stored; colours where it has a palette."""
    space: str
    """``""`` for grey and RGB, else what the numbers stand for, ``"CMYK inks"`` and the like."""
    lossy: bool
    """Its compression may have changed the values."""
    bits: int
    """Per channel."""

    def __str__(self) -> str:
        """Describe shape and type, and what else there is to know."""
        kind = f"{self.array.shape} {self.array.dtype.name}"
        return f"{kind} with {self.space}" if self.space else kind

    @property
    def is_depth(self) -> bool:
        """Whether it is a depth image, see `is_depth`."""
        return not self.space and is_depth(self.array.shape, self.array.dtype)

    def light(self) -> npt.NDArray[np.generic]:
        """Return the numbers so that 0 is black and alpha is left out, (H, W, C).

        Raises:
            ValueError: that is not known of such an image.

        """
        array = self.array
        channels = array.shape[2] if array.ndim == 3 else 1
        if array.ndim not in (2, 3) or channels > 4:
            raise ValueError(f"a mask must be an image, (H, W), got {self}")
        array = array.reshape(*array.shape[:2], channels)
        if self.space == _INKS:
            if channels not in (1, 4):
                raise ValueError(f"a mask must be grey or RGB, got {self}")
            # Black ink adds to each of the others; paper without ink is white.
            ink = np.asarray(array, np.int64)
            ink = ink[:, :, :3] + ink[:, :, 3:] if channels == 4 else ink
            return np.asarray(np.maximum(2**self.bits - 1 - ink, 0))
        if self.space == _ZERO_IS_WHITE:
            if array.dtype.kind not in "bu":
                raise ValueError(f"a mask must hold whole numbers from 0, got {self}")
            return np.asarray(2**self.bits - 1 - np.asarray(array, np.int64))
        if self.space not in ("", _PALETTE):
            raise ValueError(f"a mask must be grey or RGB, got {self}")
        return array[:, :, : channels - (channels in (2, 4))]


def is_depth(shape: Sequence[int], dtype: np.dtype[np.generic]) -> bool:
    """Tell a depth image from colours and points: one channel of 16 bits or more."""
    one = len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)
    return one and dtype.kind in "iuf" and dtype.itemsize > 1


def read_picture(path: Path) -> Picture:
    """Decode an image file.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not readable; the message names the file.

    """
    with naming(path):
        data = path.read_bytes()
        if through_text_mode(data):
            raise ValueError(
                "damaged: it went through a transfer or program in text mode, which put a byte "
                "before each 0A"
            )
        picture = _tiff(data) if path.suffix.lower() in TIFF_SUFFIXES else _other(data)
        if (order := picture.array.dtype.newbyteorder("=")) == picture.array.dtype:
            return picture
        return Picture(picture.array.astype(order), picture.space, picture.lossy, picture.bits)


def _tiff(data: bytes) -> Picture:
    with tifffile.TiffFile(BytesIO(data)) as tiff:
        page = tiff.pages.first
        photometric = getattr(page.photometric, "name", str(page.photometric))
        compression = getattr(page.compression, "name", str(page.compression))
        if compression.startswith("CCITT"):  # fax, which Pillow knows longer than imagecodecs
            return _other(data)
        array = np.asarray(tiff.asarray())
        space = {
            **{"RGB": "", "MINISBLACK": "", "MASK": "", "MINISWHITE": _ZERO_IS_WHITE},
            **{"PALETTE": _PALETTE, "SEPARATED": _INKS},
        }.get(photometric, f"the colours {photometric}")
        if photometric == "YCBCR" and compression in ("JPEG", "OJPEG", "ALT_JPEG"):
            space = ""  # which tifffile has converted
        if page.planarconfig == 2 and array.ndim == 3 and array.shape[0] == page.samplesperpixel:
            array = np.moveaxis(array, 0, -1)
        if space == _PALETTE:
            colours = np.asarray(page.colormap)
            array = np.moveaxis(colours[:, np.asarray(array, np.int64)], 0, -1)
        return Picture(array, space, compression in _LOSSY, int(page.bitspersample))


def _other(data: bytes) -> Picture:
    with Image.open(BytesIO(data)) as image:
        depth = png_bits(data)[0]
        if depth > 8 and not image.mode.startswith("I"):
            raise ValueError(f"{depth} bits per channel; save it with 8")
        palette = image.mode in ("P", "PA")
        array = np.array(image.convert("RGBA") if palette else image)
        spaces = {"CMYK": _INKS, "YCbCr": "the colours YCbCr", "LAB": "the colours Lab"}
        space = _PALETTE if palette else spaces.get(image.mode, "")
        bits = 1 if array.dtype == bool else 8 * array.dtype.itemsize
        return Picture(array, space, image.format in ("JPEG", "MPO", "JPEG2000", "WEBP"), bits)


def png_bits(data: bytes) -> tuple[int, bool]:
    """Return a PNG's bits per channel, and whether it is grey; 8 bits, not grey for other files.

    Pillow silently cuts colours of 16 bits to 8.

    Args:
        data: of the file, the first 26 bytes or more.

    """
    return (data[24], data[25] == 0) if data.startswith(b"\x89PNG\r\n\x1a\n") else (8, False)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what a decoder raises into a ValueError that names the file."""
    try:
        yield
    except (FileNotFoundError, MemoryError):
        raise
    except UnidentifiedImageError as error:  # whose text is the file object's
        raise ValueError(f"{path}: cannot be read: not an image of a known type") from error
    except Exception as error:  # of many types, few of which name the file
        raise ValueError(f"{path}: cannot be read: {error or type(error).__name__}") from error
