"""What a page keeps of each part until it is opened: pictures, map, truth, cloud, regions."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from cmad.report.page import packing
from cmad.report.page.parts import Part
from cmad.report.page.scale import Scale
from cmad.report.pictures import depth, outline, overlay

Values = dict[str, object]
Box = tuple[int, int, int, int]
MARGIN = 12
"""Pixels around the part where a picture is cut out around it."""
THUMB = 112
"""Pixels along the longer side of the small picture in the table."""


@dataclass(frozen=True, eq=False)
class Small:
    """The small picture of a part, before the colour scale of all parts is known."""

    rgb: npt.NDArray[np.uint8] | None
    map: npt.NDArray[np.float32] | None
    """Both (h, w), cut out around the part."""

    def drawn(self, scale: Scale) -> str | None:
        """Draw the map over the image, with a line around what is marked; a data URL."""
        if self.rgb is None:
            return None
        image = Image.fromarray(self.rgb)
        if self.map is not None:
            image = overlay(self.rgb, self.map, scale.low, scale.high)
            if scale.mark is not None:
                mask = ~(self.map <= scale.mark)
                image = outline(image, mask, line=(255, 255, 255), width=1)
        return packing.picture(image, THUMB)


def payload(part: Part, unit: float) -> Values:
    """Pack what is shown of a part once it is opened.

    Args:
        part: with what there is of it.
        unit: that its map is quantised by, see `cmad.report.page.packing.codes`; the pixel
            threshold where there is one.

    Returns:
        Values for JSON: ``size`` (H, W) of the input, ``part`` (top, left, bottom, right) around
        what was looked at, the pictures ``rgb`` and ``depth``, ``map``, ``truth`` and ``cloud``
        packed (None where not known), ``regions`` and ``missing``.

    """
    missing = list(part.missing)
    size = size_of(part)
    found: Values = {
        "size": size,
        "part": None if size is None else around(part, size),
        "rgb": None if part.rgb is None else packing.picture(Image.fromarray(part.rgb)),
        "depth": None,
        "map": None,
        "truth": None,
        "cloud": None,
        "regions": [asdict(region) for region in part.regions or ()],
        "warnings": list(part.warnings),
        "missing": missing,
    }
    if part.map is not None:
        small = packing.reduced(packing.codes(part.map, unit))
        found["map"] = {"size": small.shape, "unit": unit, "codes": packing.packed(small)}
    if part.mask is not None:
        truth = packing.reduced(part.mask.astype(np.uint8))
        found["truth"] = {"size": truth.shape, "bits": packing.packed(truth)}
    if part.xyz is not None:
        found["depth"] = packing.picture(depth(part.xyz).convert("L"))
        points = packing.cloud(part.xyz)
        if points is not None:
            found["cloud"] = {
                "size": points.xyz.shape[:2],
                "step": points.step,
                "unit": points.unit,
                "origin": points.origin,
                "xyz": packing.packed(points.xyz),
            }
    return found


def small(part: Part) -> Small:
    """Cut out and reduce what the small picture of a part is drawn from."""
    size = size_of(part)
    if size is None or part.rgb is None:
        return Small(None, None)
    top, left, bottom, right = around(part, size)
    image = Image.fromarray(part.rgb[top:bottom, left:right])
    image.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    rgb = np.asarray(image)
    if part.map is None:
        return Small(rgb, None)
    height, width = rgb.shape[:2]
    cut = packing.reduced(part.map[top:bottom, left:right], THUMB).astype(np.float32)
    map_ = Image.fromarray(cut).resize((width, height), Image.Resampling.NEAREST)
    return Small(rgb, np.asarray(map_))


def size_of(part: Part) -> tuple[int, int] | None:
    """Return (H, W) of a part's input; None where nothing of it can be shown."""
    for array in (part.rgb, part.xyz, part.map):
        if array is not None:
            return int(array.shape[0]), int(array.shape[1])
    return None


def around(part: Part, size: tuple[int, int]) -> Box:
    """Return the box around where a part's map is above 0, what was looked at, with a margin."""
    height, width = size
    if part.map is None or not (part.map > 0).any():
        return 0, 0, height, width
    row, column = np.nonzero(part.map > 0)
    return (
        max(int(row.min()) - MARGIN, 0),
        max(int(column.min()) - MARGIN, 0),
        min(int(row.max()) + 1 + MARGIN, height),
        min(int(column.max()) + 1 + MARGIN, width),
    )
