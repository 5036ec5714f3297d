"""A contact sheet of what of each part is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cmad.report.pictures import captioned, depth, outline

Rgb = npt.NDArray[np.uint8]
_DIMMED = 0.3
_GAP, _HEAD = 8, 30


@dataclass(frozen=True, eq=False)
class Looked:
    """A part, and which of its pixels are looked at."""

    name: str
    rgb: Rgb
    """(H, W, 3) uint8."""
    xyz: npt.NDArray[np.float32]
    """(H, W, 3) metres; 0 where there is no point."""
    keep: npt.NDArray[np.bool_]
    """(H, W) bool, the pixels that are looked at."""
    notes: tuple[str, ...] = ()
    """What is to be known of it; an error where it cannot be used."""

    def describe(self) -> str:
        """Say how much is looked at, of what size, and from where."""
        valid = (self.xyz != 0).any(-1)
        said = f"{self.name}: {self.keep.mean():.0%} of the pixels, {valid.mean():.0%} have a point"
        if self.keep.any():
            points = self.xyz[self.keep]
            sides = 1e3 * (points.max(0) - points.min(0))
            said += f"; {sides[0]:.3g} x {sides[1]:.3g} x {sides[2]:.3g} mm"
            said += f" at {np.median(points[:, 2]):.3g} m"
        return said


def looked_at(part: Looked, width: int = 320) -> Image.Image:
    """Draw one part: its image and its relief, dark where nothing is looked at, with a caption.

    Args:
        part: the part.
        width: of each of the two pictures, pixels.

    Returns:
        RGB, ``2 * width`` wide.

    """
    height = max(1, round(width * part.keep.shape[0] / part.keep.shape[1]))
    pictures = []
    for image in (part.rgb, np.asarray(depth(part.xyz))):
        dimmed = np.where(part.keep[..., None], image, _DIMMED * image).astype(np.uint8)
        pictures.append(outline(dimmed, part.keep))
    pair = Image.new("RGB", (2 * width, height))
    for i, picture in enumerate(pictures):
        pair.paste(picture.resize((width, height), Image.Resampling.BOX), (i * width, 0))
    text = part.describe() + "".join(f" ! {note}" for note in part.notes)
    return captioned(pair, text)


def contact_sheet(cells: Sequence[Image.Image], title: str, columns: int = 2) -> Image.Image:
    """Arrange pictures of equal width in columns below a title.

    Args:
        cells: the pictures, one or more, of any height.
        title: one line.
        columns: how many, at least 1.

    Returns:
        RGB.

    """
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    columns = min(columns, len(cells))
    width = _GAP + columns * (cells[0].width + _GAP)
    sheet = Image.new("RGB", (width, _HEAD + sum(heights) + _GAP * len(rows)), (255, 255, 255))
    ImageDraw.Draw(sheet).text((_GAP, 6), title, (20, 20, 20), ImageFont.load_default(16))
    top = _HEAD
    for row, height in zip(rows, heights, strict=True):
        for i, cell in enumerate(row):
            sheet.paste(cell, (_GAP + i * (cell.width + _GAP), top))
        top += height + _GAP
    return sheet
