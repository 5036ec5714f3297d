"""The picture of docs/training.md: losses and areas under the PRO curve against epochs.

A panel for each, side by side; a colour for each number of pixels, a circle for each seed, lines
through the means.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from _shapes import GRID, line, save, text

SIZE = WIDTH, HEIGHT = 960, 350
LEFT, RIGHT, TOP, BOTTOM, BETWEEN = 44, 16, 84, 46, 56
COLOURS = ("#0b6e99", "#c8501e", "#3a7d44", "#8e44ad", "#b7950b", "#566573")
TRAINING, HELD_OUT = 0, 1
AUPRO_30, AUPRO_1, AUPRO_1_GRID = 2, 5, 6
"""Places in the rows' lists: of `losses`, and of `found`, which is as `surfaces.NAMES`."""


@dataclass(frozen=True)
class Panel:
    """What is drawn: a thick line, and perhaps a thin one beside it."""

    title: str
    of: str
    thick: int
    thin: int | None = None


PANELS = (
    Panel("loss of held-out parts; thin: of the training", "losses", HELD_OUT, TRAINING),
    Panel("AUPRO@30%", "found", AUPRO_30),
    Panel("AUPRO@1%; thin: on the grid", "found", AUPRO_1, AUPRO_1_GRID),
)


def shapes(rows, title):
    """Draw the rows of `epochs.py`.

    Raises:
        ValueError: all are of one length, or the rows are none of `epochs.py`.

    """
    try:
        lengths = sorted({row["epochs"] for row in rows})
        pixels = sorted({row["pixels"] for row in rows})
        curves = [{p: _curves(rows, panel, p) for p in pixels} for panel in PANELS]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"these are no results of epochs.py: {error!r}") from None
    if len(lengths) < 2:
        raise ValueError(f"needs trainings of two lengths, got {lengths}")
    if len(pixels) > len(COLOURS):
        raise ValueError(f"needs at most {len(COLOURS)} numbers of pixels, got {len(pixels)}")
    found = [text(LEFT, 22, title)]
    for i, count in enumerate(pixels):
        begin = LEFT + 150 * i
        found.append(line(begin, 44, begin + 22, 44, COLOURS[i], 2))
        found.append(text(begin + 28, 48, f"{count} pixels a frame"))
    width = (WIDTH - LEFT - RIGHT - BETWEEN * (len(PANELS) - 1)) / len(PANELS)
    for i, (panel, of_pixels) in enumerate(zip(PANELS, curves, strict=True)):
        left = LEFT + i * (width + BETWEEN)
        found += _panel(panel.title, of_pixels, lengths, left, left + width)
    return found


def draw(rows, title, stem):
    """Write the picture as .svg and .png; ``stem`` is their path without an ending."""
    save(shapes(rows, title), SIZE, stem)


def _curves(rows, panel, pixels):
    """Return the thick and the thin curve of some pixels: by epochs, the values of the seeds."""
    places = [panel.thick] if panel.thin is None else [panel.thick, panel.thin]
    return [
        {r["epochs"]: [s[place] for s in r[panel.of]] for r in rows if r["pixels"] == pixels}
        for place in places
    ]


def _panel(title, of_pixels, lengths, left, right):
    values = [
        v
        for curves in of_pixels.values()
        for curve in curves
        for seeds in curve.values()
        for v in seeds
    ]
    step = _step(max(values) - min(values))
    low, high = math.floor(min(values) / step), math.ceil(max(values) / step)
    high += high == low
    base = HEIGHT - BOTTOM

    def x(epochs):
        return (
            left
            + 14
            + math.log(epochs / lengths[0])
            / math.log(lengths[-1] / lengths[0])
            * (right - left - 28)
        )

    def y(value):
        return base - (value / step - low) / (high - low) * (base - TOP)

    found = [text(left, TOP - 12, title)]
    for tick in range(low, high + 1):
        found.append(line(left, y(tick * step), right, y(tick * step), GRID))
        found.append(text(left - 6, y(tick * step) + 4, f"{tick * step:.2f}", "end"))
    for epochs in lengths:
        found.append(line(x(epochs), base, x(epochs), base + 4))
        found.append(text(x(epochs), base + 18, f"{epochs}", "middle"))
    found += [line(left, base, right, base), line(left, TOP, left, base)]
    found.append(text((left + right) / 2, base + 36, "epochs", "middle"))
    for colour, curves in zip(COLOURS, of_pixels.values(), strict=False):
        for curve, thick in zip(curves, (2, 0.8), strict=False):
            means = [(x(e), y(sum(v) / len(v))) for e, v in sorted(curve.items())]
            for (x0, y0), (x1, y1) in pairwise(means):
                found.append(line(x0, y0, x1, y1, colour, thick))
            for epochs, seeds in curve.items():
                found += [("circle", x(epochs), y(v), 1 + thick, colour) for v in seeds]
    return found


def _step(span):
    """Return a round distance of ticks: five to ten of them, two digits behind the point."""
    return next((s for s in (0.01, 0.02, 0.05) if span / s <= 8), 0.1)
