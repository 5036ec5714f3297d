"""What makes a part unlike training's, by name."""

from dataclasses import replace

import numpy as np

from cmad.ranges.axes import exchanges, undone
from cmad.ranges.looks import Look, angle, look
from cmad.ranges.training import FEW, Ranges
from cmad.types import Frame, Note

SEEN = 0.6
"""Share of the training parts' fewest pixels below which too little of a part is seen."""
MORE = 2.0
"""Times their most pixels above which something else is taken for the part."""
DARK = 0.5
"""Times the darkest training image, and its least contrast."""
BRIGHT = 0.5
"""Of the way from the brightest training image to white; or twice as bright."""
SWAPPED = 0.5
"""Of the smallest chroma of a training part, which with red and blue exchanged is negative."""
SCALES = {
    1000.0: 'millimetres for metres, or metres taken for another unit: see unit="mm"',
    0.001: 'metres passed as unit="mm"',
    100.0: "centimetres for metres",
    0.01: "metres taken for centimetres",
    10.0: "millimetres for centimetres",
    0.1: "centimetres taken for millimetres",
}
"""What points are, by how many times too large they are."""
ROUGHLY = 1.6
"""Factor by which distance and pitch may be off such a scale."""
TIMES = 1.5
"""Factor that the pitch of the points may be out of training's range."""
TILT = 5.0
"""Degrees beyond `TILTS` spreads of training's, from which on the camera stands otherwise."""
TILTS = 1.5
FARTHER = 0.1
"""Of training's mean distance, beyond `FARTHERS` of their range, likewise."""
FARTHERS = 1.5
LITTLE_SEEN = "unlike training: too little seen"
"""Kind of the note of a part that counts as not inspected."""
NO_BACKGROUND = "unlike training: no background"
"""Likewise: what was looked at may be something else, and how much of the part is not known."""


def suspicions(frame: Frame, ranges: Ranges) -> tuple[Note, ...]:
    """Compare a part with training's.

    Args:
        frame: of the part.
        ranges: of the training parts.

    Returns:
        A note for each suspicion; none for parts like these.

    """
    seen = look(frame)
    return tuple(
        Note(kind, text)
        for kind, text in (
            *_seen(seen, ranges),
            *_background(seen, ranges),
            *_light(seen, ranges),
            *_colours(seen, ranges),
            *_points(seen, ranges),
        )
    )


def scale_of(seen: Look, ranges: Ranges) -> float | None:
    """Return by how many times points are too large: a number of `SCALES`, 1, or None for others.

    None also where that is not known, for lack of points here or in training.
    """
    names = [n for n in ("pitch", "distance", "extent") if n in seen.numbers and n in ranges.spans]
    # A cloud around its own middle has no distance.
    if ranges.spans.get("distance", (0, 0))[0] < ranges.spans.get("extent", (0, 0))[1]:
        names = [n for n in names if n != "distance"]
    if not names:
        return None
    for scale in (1.0, *SCALES):
        if all(
            ranges.spans[n][0] / ROUGHLY <= seen.numbers[n] / scale <= ranges.spans[n][1] * ROUGHLY
            for n in names
        ):
            return scale
    return None


Found = list[tuple[str, str]]


def _seen(seen: Look, ranges: Ranges) -> Found:
    if "share" not in seen.numbers or "share" not in ranges.spans:
        return []
    share, (low, high) = seen.numbers["share"], ranges.spans["share"]
    compared = (
        f"{share:.2%} of the grid's pixels, where {_parts(ranges)} had {low:.2%} to {high:.2%}"
    )
    if share < SEEN * low:
        return [(LITTLE_SEEN, f"too little of the part is seen: its points are on {compared}")]
    if share > MORE * high:
        return [
            (
                "unlike training: more seen",
                f"more than the part is seen, such as its background: points are on {compared}",
            )
        ]
    return []


def _background(seen: Look, ranges: Ranges) -> Found:
    if ranges.parts < FEW or "plane" not in ranges.directions or "share" not in seen.numbers:
        return []
    if "plane" in seen.directions:
        return []
    return [
        (
            NO_BACKGROUND,
            f"no background plane is found, though each of {_parts(ranges)} had one: points of the "
            "background are missing, or taken for the part",
        )
    ]


def _light(seen: Look, ranges: Ranges) -> Found:
    if not {"brightness", "contrast"} <= seen.numbers.keys() & ranges.spans.keys():
        return []
    light, (low, high) = seen.numbers["brightness"], ranges.spans["brightness"]
    compared = f"mean {light:.3g} of 255, where {_parts(ranges)} had {low:.3g} to {high:.3g}"
    if light < DARK * low:
        return [("unlike training: dark", f"the image is far darker than in training: {compared}")]
    if light > min(2 * high, high + BRIGHT * (255 - high)):
        return [
            ("unlike training: bright", f"the image is far brighter than in training: {compared}")
        ]
    contrast, least = seen.numbers["contrast"], ranges.spans["contrast"][0]
    if contrast < DARK * least:
        return [
            (
                "unlike training: contrast",
                "the image has far less contrast than in training: its deviation is "
                f"{contrast:.3g}, where {_parts(ranges)} had {least:.3g} or more",
            )
        ]
    return []


def _colours(seen: Look, ranges: Ranges) -> Found:
    # Of the part and of the rest where there are points: they may be opposite, and the image grey.
    name = "apart" if "apart" in seen.chroma else "image"
    if name not in seen.chroma or name not in ranges.chroma:
        return []
    *means, least = ranges.chroma[name]
    own, mean = seen.chroma[name], np.array(means)
    if not float(own @ mean / (mean @ mean)) < -SWAPPED * least < 0:
        return []
    i = int(np.abs(mean).argmax())
    where = ("on the part", "around the part")[i] if name == "apart" else "in the image"
    return [
        (
            "unlike training: BGR",
            f"the channels of the image look like BGR for RGB: red minus blue is {own[i]:.3g} "
            f"{where}, where {_parts(ranges)} had {mean[i]:.3g} (mean)",
        )
    ]


def _points(seen: Look, ranges: Ranges) -> Found:
    found: Found = []
    scale = scale_of(seen, ranges)
    if scale is not None and scale != 1:
        found = [
            (
                f"unlike training: scale {scale:g}",
                f"the points are {scale:g} times as large as in training: {SCALES[scale]}",
            )
        ]
        numbers = {
            n: v / scale if n in ("pitch", "distance", "extent") else v
            for n, v in seen.numbers.items()
        }
        seen = replace(seen, numbers=numbers)
    exchanged = exchanges(seen, ranges)
    if exchanged is None:
        kind = "unlike training: axes"
        return [
            *found,
            (kind, f"the points lie otherwise than in training: {_directions(seen, ranges)}"),
        ]
    if exchanged:
        said = list(dict.fromkeys(e.describe() for e in exchanged))
        found.append(
            (
                f"unlike training: {said[0]}",
                f"the axes are otherwise than in training: it looks as if {_either(said)}",
            )
        )
        seen = replace(seen, directions=undone(seen.directions, exchanged[0]))
    return found + _pose(seen, ranges)


def _pose(seen: Look, ranges: Ranges) -> Found:
    """Compare where the camera is; a few parts do not tell how much that varies."""
    said = []
    numbers, spans = seen.numbers, ranges.spans
    if ranges.parts >= FEW and "plane" in seen.directions and "plane" in ranges.directions:
        known = ranges.directions["plane"]
        tilt = angle(seen.directions["plane"], np.array(known.mean))
        if tilt > TILT + TILTS * known.spread:
            said.append(f"the background plane is tilted by {tilt:.0f} degrees")
    if ranges.parts >= FEW and "distance" in numbers and "distance" in spans:
        low, high = spans["distance"]
        room = FARTHER * (low + high) / 2 + FARTHERS * (high - low) + spans["extent"][1]
        if not low - room <= numbers["distance"] <= high + room:
            said.append(
                f"the points are {numbers['distance']:.3g} m away, where {_parts(ranges)} were "
                f"{low:.3g} to {high:.3g}"
            )
    if "pitch" in numbers and "pitch" in spans:
        low, high = spans["pitch"]
        if not low / TIMES <= numbers["pitch"] <= high * TIMES:
            said.append(
                f"from pixel to pixel it is {1e3 * numbers['pitch']:.3g} mm, where "
                f"{_parts(ranges)} had {1e3 * low:.3g} to {1e3 * high:.3g}"
            )
    if not said:
        return []
    return [("unlike training: pose", f"another camera pose than in training: {', '.join(said)}")]


def _directions(seen: Look, ranges: Ranges) -> str:
    said = []
    words = {
        "column": "from column to column they go",
        "row": "from row to row they go",
        "centre": "they lie",
        "plane": "their background faces",
    }
    for name, word in words.items():
        if name in seen.directions and name in ranges.directions:
            own, mean = seen.directions[name], ranges.directions[name].mean
            said.append(f"{word} along {_vector(own)}, not {_vector(mean)}")
    return "; ".join(said)


def _vector(values: object) -> str:
    return "(" + ", ".join(f"{v:.2f}" for v in np.asarray(values)) + ")"


def _either(said: list[str]) -> str:
    return said[0] if len(said) == 1 else f"{', or '.join(said)}: which of them cannot be told"


def _parts(ranges: Ranges) -> str:
    return f"the {ranges.parts} training parts" if ranges.parts > 1 else "the training part"
