"""What is not the part, as it is said on the command line."""

from pathlib import Path
from typing import Annotated

import typer

from cmad.background import Background
from cmad.datasets.files import read_mask
from cmad.paths import user_path

Given = Annotated[
    str,
    typer.Option(
        "--background",
        metavar="WHAT",
        help="What is not the part: plane (what lies within 5 mm of the plane under the outermost "
        "points), a distance from it instead (0.002 or 2mm), a known plane A,B,C,D with "
        "Ax+By+Cz+D=0 in metres, a region of interest as a polygon of columns and rows "
        '("10,20 300,20 300,240") or as an image that is not black inside, or none (all is the '
        "part). `cmad show` draws what is left.",
    ),
]
WANTED = (
    "--background must be plane, none, a distance such as 2mm, a plane A,B,C,D, a polygon such as "
    '"10,20 300,20 300,240", or the file of a mask'
)


def background_of(text: str) -> Background:
    """Read the option.

    Raises:
        ValueError: it is none of what it may be.
        OSError: a mask cannot be read.

    """
    if text in ("plane", "none"):
        return Background.of(text)
    if user_path(text).is_file():
        return Background.of(read_mask(Path(text)))
    try:
        pairs = [[metres(word) for word in pair.split(",")] for pair in text.split()]
        if len(pairs) > 1:
            return Background.of(pairs)
        return Background.of(pairs[0] if len(pairs[0]) > 1 else pairs[0][0])
    except (ValueError, TypeError, IndexError) as error:
        said = str(error) if str(error).startswith("background must") else ""
        raise ValueError(f"{WANTED}, got {text!r}" + (f" ({said})" if said else "")) from None


def metres(word: str) -> float:
    """Read a length such as ``0.002``, ``0.002m`` or ``2mm``; ValueError where it is none."""
    for ending, scale in (("mm", 1e-3), ("m", 1.0)):
        if word.endswith(ending):
            return float(word.removesuffix(ending)) * scale
    return float(word)
