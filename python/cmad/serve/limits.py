"""What an upload may hold, known from its header before anything of it is decoded.

A few kilobytes can ask for gigabytes: a TIFF of zeros, an NPZ whose header tells of a million rows,
a TIFF whose one strip holds another image. What a decoder would allocate is bounded here; what it
then finds wrong it says itself.
"""

import math
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from cmad.datasets.files import IMAGE_SUFFIXES, POINTS_SUFFIXES
from cmad.datasets.images import DEPTH_SUFFIXES, TIFF_SUFFIXES, naming
from cmad.datasets.points import pcd_header

HEADER = 1 << 16
"""Bytes that a header may take."""
WIDEST = 32
"""Bytes per pixel or point that is taken, of all its channels and fields: four doubles."""
TEXT = 32 << 20
"""Bytes of points in words, which take many times as much when they are read."""
PAGES = 64
"""Of a TIFF."""
BOUNDED = ("NONE", "LZW", "ADOBE_DEFLATE", "DEFLATE", "PACKBITS", "LZMA", "ZSTD")
"""Compressions of TIFF that give no more than the header tells; the others hold images of their
own size."""
FORMATS = ("PNG", "JPEG", "MPO", "BMP")
"""Of images that are no TIFF, as Pillow calls them."""
PLAIN = {"uniform", "shaped", "multipage", "subifd", "imagej", "geotiff"}
"""Of what tifffile knows of a TIFF. Other kinds, OME one of them, have a description that tells of
more pages than there are, or of other files."""


class TooLargeError(ValueError):
    """More than is taken."""


class WrongTypeError(ValueError):
    """A type of file that is not taken."""


@dataclass(frozen=True)
class Limits:
    """Of one upload."""

    bytes: int = 128 << 20
    """Of the whole request."""
    pixels: int = 25_000_000
    """Of an image, and points of a cloud."""

    def suffix(self, field: str, name: str | None) -> str:
        """Return the suffix of a file that a request names, one that a reader has.

        Raises:
            WrongTypeError: none of these.

        """
        known = IMAGE_SUFFIXES if field == "image" else (*POINTS_SUFFIXES, *DEPTH_SUFFIXES)
        found = re.search(r"\.[A-Za-z]{3,4}$", name or "")
        suffix = found[0].lower() if found else ""
        if suffix not in known:
            raise WrongTypeError(f"{field} must be one of {', '.join(known)}, got {name or ''!r}")
        return suffix

    def check(self, path: Path) -> None:
        """Look at a file's header.

        Args:
            path: of the file; its suffix says what it is.

        Raises:
            TooLargeError: it would take more than the limits say.
            WrongTypeError: a compression whose size is not in the header.
            ValueError: it has no such header.

        """
        suffix = path.suffix
        if suffix in TIFF_SUFFIXES:
            look: Callable[[Path], None] = self._tiff
        else:
            look = {".npz": self._npz, ".ply": self._ply, ".pcd": self._pcd}.get(
                suffix, self._image
            )
        try:
            with naming(path):
                look(path)
        except ValueError as error:
            why = error.__cause__
            if isinstance(why, TooLargeError | WrongTypeError):
                raise type(why)(f"{path}: {why}") from error
            if isinstance(why, Image.DecompressionBombError | Image.DecompressionBombWarning):
                raise TooLargeError(f"{path}: {why}") from error
            raise

    def _expect(self, count: int, each: int, what: str) -> None:
        if count > self.pixels:
            raise TooLargeError(f"holds {count} {what}, more than the {self.pixels} taken here")
        if count * each > WIDEST * self.pixels:
            raise TooLargeError(
                f"holds {count * each} bytes of {what}, more than the {WIDEST * self.pixels} taken "
                "here"
            )

    def _image(self, path: Path) -> None:
        with Image.open(path) as image:  # only the header, until it is loaded
            if image.format not in FORMATS:  # whatever its name; of some, programs are started
                raise WrongTypeError(f"is {image.format}, not one of {', '.join(FORMATS)}")
            self._expect(math.prod(image.size), 4 * len(image.getbands()), "pixels")

    def _tiff(self, path: Path) -> None:
        with tifffile.TiffFile(BytesIO(path.read_bytes())) as tiff:  # which knows no other files
            total = 0
            for i, page in enumerate(tiff.pages):
                if i >= PAGES:
                    raise TooLargeError(f"has more pages than {PAGES}")
                if not isinstance(page, tifffile.TiffPage):
                    raise ValueError("its pages cannot be told apart")
                compression = getattr(page.compression, "name", str(page.compression))
                if compression not in BOUNDED:
                    raise WrongTypeError(
                        f"compression {compression} is not taken here; save it with LZW, Deflate "
                        "or none"
                    )
                whole = page.imagewidth * page.imagelength * max(page.imagedepth, 1)
                # A tile is allocated whole, also where the image is a corner of it.
                tile = page.tilewidth * page.tilelength if page.is_tiled else 0
                total += max(whole, tile)
                each = max(page.samplesperpixel, 1) * max(page.bitspersample // 8, 1)
                self._expect(total, each, "pixels")
            if unusual := tiff.flags - PLAIN:
                raise WrongTypeError(
                    f"{', '.join(sorted(unusual))} is no kind of TIFF that is taken here; save it "
                    "as a plain one"
                )
            if tiff.series[0].nbytes > WIDEST * self.pixels:
                raise TooLargeError(f"holds {tiff.series[0].nbytes} bytes of pixels, too many")

    def _npz(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if e.filename.endswith(".npy")]
            for entry in entries:
                with archive.open(entry) as file:
                    version = np.lib.format.read_magic(file)
                    read = {
                        (1, 0): np.lib.format.read_array_header_1_0,
                        (2, 0): np.lib.format.read_array_header_2_0,
                    }.get(version)
                    if read is None:
                        raise ValueError(f"version {version} of its arrays is not known")
                    shape, _, dtype = read(file, max_header_size=10_000)
                channels = shape[2] if len(shape) > 2 else 1
                count = math.prod(shape) // max(channels, 1)
                self._expect(count, channels * dtype.itemsize, "points")
                if entry.file_size > HEADER + count * channels * dtype.itemsize:
                    raise ValueError(f"{entry.filename} is larger than its header tells")

    def _ply(self, path: Path) -> None:
        with path.open("rb") as file:
            head = file.read(HEADER)
        head, end, _ = head.partition(b"end_header")
        if not end:
            raise ValueError("not a PLY file, or its header has no end")
        counts = [int(n) for n in re.findall(rb"element\s+\w+\s+(\d{1,18})\s", head)]
        self._expect(max(counts, default=0), 1, "points")
        self._expect_text(path, b"ascii" in head)

    def _pcd(self, path: Path) -> None:
        with path.open("rb") as file:
            head = pcd_header(iter(lambda: file.readline(HEADER), b""))
        try:
            sizes = [int(n) for n in head["SIZE"]]
            counts = [int(n) for n in head.get("COUNT", ["1"] * len(sizes))]
            points = int(head["WIDTH"][0]) * int(head["HEIGHT"][0])
            points = max(points, int(head.get("POINTS", ["0"])[0]))
            kind = head["DATA"][0].lower()
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"the header is not that of a PCD file ({error})") from error
        each = sum(abs(size * count) for size, count in zip(sizes, counts, strict=False))
        self._expect(points, each, "points")
        self._expect_text(path, kind == "ascii")

    def _expect_text(self, path: Path, text: bool) -> None:
        if text and path.stat().st_size > TEXT:
            raise TooLargeError(
                f"holds points in words, more than the {TEXT >> 20} MB taken here; save it in "
                "binary form"
            )
