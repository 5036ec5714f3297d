"""Photometric corruption of what is cut from an image."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmad.synthesis import perlin

Floats = npt.NDArray[np.float64]

CORRUPTIONS = ("brightness", "contrast", "tint", "sharpness", "distortion")
"""The paper names distortion, brightness and sharpness (III-G); the published code has the others,
too."""
FACTOR, OFFSET = (0.75, 1.7), (-50, 50)
"""Of the brightness: 0 to 255 is multiplied by one, and the other added."""
GAMMA = (0.5, 2.0)
"""Exponent of the contrast, of each channel."""
TINT = (-50, 50)
"""Added to each channel."""
SHARPNESS = (-1.0, 3.0)
"""Times the difference from the blurred image that is added; -1 blurs."""
RADIUS = 1 / 224
"""Of that blur, as a share of the image's longer side."""
DISTORTION = (0.005, 0.02)
"""Largest shift, likewise."""
CELLS = 3
"""Of the distortion's noise, along each side of the cut."""


@dataclass(frozen=True, eq=False)
class Corruption:
    """One change of a cut, with all that is drawn for it."""

    name: str
    """One of `CORRUPTIONS`."""
    amount: Floats
    """What it takes: (2,) factor and offset, (3,) per channel, or (1,)."""
    radius: int = 0
    """Of the blur, pixels."""
    fields: tuple[perlin.Lattice, ...] = ()
    """Of a distortion: shifts down and to the right, times ``amount`` pixels."""


def draw(rng: np.random.Generator, count: int, side: int) -> list[Corruption]:
    """Draw different changes, in the order in which they are made.

    Args:
        rng: what they are drawn by.
        count: how many, 0 to 5.
        side: longer side of the image in pixels.

    """
    chosen = []
    for i in rng.permutation(len(CORRUPTIONS))[:count]:
        name = CORRUPTIONS[i]
        if name == "brightness":
            amount = np.array([rng.uniform(*FACTOR), rng.uniform(*OFFSET)])
            chosen.append(Corruption(name, amount))
        elif name == "contrast":
            chosen.append(Corruption(name, rng.uniform(*GAMMA, 3)))
        elif name == "tint":
            chosen.append(Corruption(name, rng.uniform(*TINT, 3)))
        elif name == "sharpness":
            radius = max(1, round(side * RADIUS))
            chosen.append(Corruption(name, rng.uniform(*SHARPNESS, 1), radius))
        else:
            amount = side * rng.uniform(*DISTORTION, 1)
            fields = tuple(perlin.lattice(rng, (CELLS, CELLS)) for _ in range(2))
            chosen.append(Corruption(name, amount, fields=fields))
    return chosen


def corrupt(cut: Floats, changes: list[Corruption]) -> Floats:
    """Make the changes one after the other, each clipped to the range of colours.

    Args:
        cut: (h, w, 3), 0 to 255.
        changes: as drawn.

    Returns:
        (h, w, 3), 0 to 255.

    """
    for change in changes:
        amount = change.amount
        if change.name == "brightness":
            cut = cut * amount[0] + amount[1]
        elif change.name == "contrast":
            cut = 255 * (cut / 255) ** amount
        elif change.name == "tint":
            cut = cut + amount
        elif change.name == "sharpness":
            cut = cut + amount * (cut - _blurred(cut, change.radius))
        else:
            cut = _distorted(cut, change.fields, float(amount[0]))
        cut = np.clip(cut, 0, 255)
    return cut


def _blurred(cut: Floats, radius: int) -> Floats:
    """Return the mean over the square around each pixel; the border is repeated."""
    for axis in (0, 1):
        padded = np.pad(cut, [(radius, radius) if a == axis else (0, 0) for a in range(3)], "edge")
        length = cut.shape[axis]
        parts = [padded.take(range(i, i + length), axis) for i in range(2 * radius + 1)]
        cut = sum(parts[1:], parts[0]) / len(parts)
    return cut


def _distorted(cut: Floats, fields: tuple[perlin.Lattice, ...], shift: float) -> Floats:
    """Take each pixel from a place up to ``shift`` pixels away, bilinearly."""
    height, width = cut.shape[:2]
    down, right = (perlin.noise(field, height, width) for field in fields)
    row = np.clip(np.arange(height)[:, None] + shift * down, 0, height - 1)
    column = np.clip(np.arange(width)[None] + shift * right, 0, width - 1)
    top, left = row.astype(np.int64), column.astype(np.int64)
    bottom, last = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    row, column = (row - top)[..., None], (column - left)[..., None]
    above = cut[top, left] * (1 - column) + cut[top, last] * column
    below = cut[bottom, left] * (1 - column) + cut[bottom, last] * column
    distorted: Floats = above * (1 - row) + below * row
    return distorted
