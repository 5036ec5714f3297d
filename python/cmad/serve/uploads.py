"""From the files of a request to a part.

They go into a private temporary folder under names of our own; the names that a client gives them
are words of messages and never a path.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from cmad.datasets.files import read_sample
from cmad.datasets.names import plain, shown
from cmad.serve.limits import Limits
from cmad.types import Sample
from cmad.units import Units, pinhole_from_text

LONGEST = 120
"""Characters of a name."""


@dataclass(frozen=True)
class Upload:
    """A file of a request."""

    field: str
    """``"image"`` or ``"points"``."""
    name: str
    """The client's, for messages."""
    data: BinaryIO

    @property
    def label(self) -> str:
        """What messages call it: its name without folders, or the field's where it has none."""
        return named(self.name) or self.field


def read(image: Upload, points: Upload, units: Units, limits: Limits) -> Sample:
    """Read a part.

    Args:
        image: its image.
        points: its points or depth image.
        units: of the points.
        limits: of what is read.

    Raises:
        TooLargeError, WrongTypeError, ValueError: see `Limits` and `cmad.datasets.files`; files are
            called as the client does.
        OSError: there is no room for the files.

    """
    with tempfile.TemporaryDirectory(prefix="cmad-serve-") as made:  # of mode 0700
        paths = {}
        try:
            for upload in (image, points):
                suffix = limits.suffix(upload.field, upload.name)
                paths[upload] = path = Path(made) / f"{upload.field}{suffix}"
                with path.open("xb") as file:
                    shutil.copyfileobj(upload.data, file)
                if not path.stat().st_size:
                    raise ValueError(f"{path}: is empty")
                limits.check(path)
            return read_sample(paths[image], paths[points], units=units)
        except (ValueError, TypeError) as error:
            text = str(error)
            for upload, path in paths.items():
                text = text.replace(str(path), upload.label)
            raise type(error)(text) from error


def named(name: str | None) -> str:
    """Return a name that a client gives as words: without folders, of one line, not too long."""
    last = PureWindowsPath(PurePosixPath(name or "").name).name
    words = "".join(c if c.isprintable() else " " for c in shown(plain(shown(last))))
    return words.strip(" .")[:LONGEST]


def units_of(
    fitted: Units,
    unit: str | None,
    intrinsics: str | None,
    depth_unit: str | None,
    depth_scale: float | None,
) -> Units:
    """Return what the fields of a request say of its files; see `Units.given`.

    Raises:
        ValueError: a value that cannot be.

    """
    camera = pinhole_from_text(intrinsics, "intrinsics")
    return fitted.given(unit, camera, depth_unit, depth_scale)
