"""The steps of `cmad.synthesis` pixel by pixel: what they mean, for tests and as a baseline.

Everything that is drawn comes in; each function takes the place of the one of its name.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from cmad.synthesis import colour, paste, perlin

Floats = npt.NDArray[np.float64]
Points = npt.NDArray[np.float32]


def noise(drawn: perlin.Lattice, height: int, width: int) -> Floats:
    """Evaluate gradient noise: the slopes of the four corners, faded into each other."""
    value = np.zeros((height, width))
    side = max(height, width)
    cos, sin = math.cos(drawn.angle), math.sin(drawn.angle)
    for r in range(height):
        for c in range(width):
            x, y = (c + 0.5 - width / 2) / side, (r + 0.5 - height / 2) / side
            u = (cos * x - sin * y + 0.75) * drawn.cells[1]
            v = (sin * x + cos * y + 0.75) * drawn.cells[0]
            left, top = math.floor(u), math.floor(v)
            for i in (0, 1):
                for j in (0, 1):
                    slope = drawn.slope[:, top + i, left + j]
                    over = slope[0] * (u - left - j) + slope[1] * (v - top - i)
                    value[r, c] += over * _share(abs(u - left - j)) * _share(abs(v - top - i))
    return math.sqrt(2) * value


def _share(distance: float) -> float:
    return 1 - (6 * distance**5 - 15 * distance**4 + 10 * distance**3)


def corrupt(cut: Floats, changes: Sequence[colour.Corruption]) -> Floats:
    """Change a cut, a channel of a pixel at a time."""
    for change in changes:
        old, cut = cut, cut.copy()
        height, width = cut.shape[:2]
        if change.name == "distortion":
            down, right = (noise(field, height, width) for field in change.fields)
        for r in range(height):
            for c in range(width):
                for k in range(3):
                    was, amount = float(old[r, c, k]), change.amount
                    if change.name == "brightness":
                        now = was * amount[0] + amount[1]
                    elif change.name == "contrast":
                        now = 255 * (was / 255) ** amount[k]
                    elif change.name == "tint":
                        now = was + amount[k]
                    elif change.name == "sharpness":
                        now = was + amount[0] * (was - _mean_around(old, r, c, k, change.radius))
                    else:
                        at = r + amount[0] * down[r, c], c + amount[0] * right[r, c]
                        now = _between(old, *at, k)
                    cut[r, c, k] = min(max(now, 0), 255)
    return cut


def _mean_around(image: Floats, r: int, c: int, k: int, radius: int) -> float:
    """Return the mean over a square; beyond the border are the border's pixels."""
    reach = range(-radius, radius + 1)
    rows = [min(max(r + i, 0), len(image) - 1) for i in reach]
    columns = [min(max(c + j, 0), image.shape[1] - 1) for j in reach]
    return sum(float(image[i, j, k]) for i in rows for j in columns) / len(reach) ** 2


def _between(image: Floats, row: float, column: float, k: int) -> float:
    """Interpolate between the four pixels around a place, which is brought into the image."""
    row = min(max(row, 0), len(image) - 1)
    column = min(max(column, 0), image.shape[1] - 1)
    value = 0.0
    for i in range(int(row), min(len(image), int(row) + 2)):
        for j in range(int(column), min(image.shape[1], int(column) + 2)):
            value += image[i, j, k] * (1 - abs(row - i)) * (1 - abs(column - j))
    return value


def blend(old: npt.NDArray[np.uint8], cut: Floats, keep: float) -> npt.NDArray[np.uint8]:
    """Mix colours, a channel of a pixel at a time."""
    mixed = [
        [round(keep * int(a) + (1 - keep) * float(b)) for a, b in zip(was, now, strict=True)]
        for was, now in zip(old, cut, strict=True)
    ]
    return np.array(mixed, np.uint8)


def moved_depth(
    old: Points, relief: Points, amount: float, near: float, far: Points, least: float
) -> Points:
    """Move a relief to the old points' mean and along the line of sight, within the scene."""
    shift = math.fsum(old.tolist()) / len(old) - math.fsum(relief.tolist()) / len(relief)
    base = [z + shift for z in relief.tolist()]
    low = max(near - z for z in base)
    high = min(limit - z for z, limit in zip(base, far.tolist(), strict=True))
    if low > high:
        low = high = (low + high) / 2
    ways = [min(max(way, low), high) for way in (amount, -amount)]
    way = ways[abs(ways[0]) < least and abs(ways[1]) > abs(ways[0])]
    return np.array(
        [
            min(max(np.float32(z + way), np.float32(near)), limit)
            for z, limit in zip(base, far, strict=True)
        ],
        np.float32,
    )


def along_sight(old: Points, depth: Points, rays: bool) -> Points:
    """Move each point to its depth; along a ray the others scale with z."""
    new = old.copy()
    for i, z in enumerate(depth.tolist()):
        scale = z / float(old[i, 2]) if rays else 1.0
        new[i] = float(old[i, 0]) * scale, float(old[i, 1]) * scale, z
    return new


STEPS: tuple[tuple[object, Callable[..., object]], ...] = (
    (perlin, noise),
    (colour, corrupt),
    (paste, blend),
    (paste, moved_depth),
    (paste, along_sight),
)


@contextmanager
def pixel_by_pixel() -> Iterator[None]:
    """Let `cmad.synthesis` take these steps instead of its own while the body runs."""
    with ExitStack() as stack:
        for module, step in STEPS:
            stack.enter_context(patch.object(module, step.__name__, step))
        yield
