"""Gradient noise (Perlin, 1985), the shape of the masks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lattice:
    """All that is drawn of a noise: it has a value at every place, so at every resolution."""

    cells: tuple[int, int]
    """Along the vertical and the horizontal axis of the square, before the turn."""
    angle: float
    """That the lattice is turned by, radians."""
    slope: Floats
    """(2, rows, columns), unit vectors (x, y) at the corners of the cells."""


def lattice(rng: np.random.Generator, cells: tuple[int, int]) -> Lattice:
    """Draw a noise.

    Args:
        rng: what it is drawn by.
        cells: vertical and horizontal, each at least 1.

    """
    angle = float(rng.uniform(-np.pi / 2, np.pi / 2))
    # The turned square spans up to sqrt(2) of the axes: half as many cells more, and a corner.
    direction = rng.uniform(0, 2 * np.pi, [int(1.5 * n) + 2 for n in cells])
    return Lattice(cells, angle, np.stack([np.cos(direction), np.sin(direction)]))


def noise(drawn: Lattice, height: int, width: int) -> Floats:
    """Evaluate a noise at the pixel centres of an image in the middle of its square.

    Args:
        drawn: the noise.
        height: H.
        width: W.

    Returns:
        (H, W), in about [-1, 1], 0 at the corners of the cells.

    """
    side = max(height, width)
    y = ((np.arange(height) + 0.5 - height / 2) / side)[:, None]
    x = ((np.arange(width) + 0.5 - width / 2) / side)[None]
    cos, sin = np.cos(drawn.angle), np.sin(drawn.angle)
    u = (cos * x - sin * y + 0.75) * drawn.cells[1]
    v = (sin * x + cos * y + 0.75) * drawn.cells[0]
    column, row = u.astype(np.int64), v.astype(np.int64)  # both are positive
    u -= column
    v -= row
    across = drawn.slope.shape[2]
    first = row * across + column
    slope_x, slope_y = drawn.slope.reshape(2, -1)

    def corner(down: int, right: int) -> Floats:
        at = first + (down * across + right)
        value: Floats = slope_x[at] * (u - right) + slope_y[at] * (v - down)
        return value

    along, down = _fade(u), _fade(v)
    top, bottom = corner(0, 0), corner(1, 0)
    top += along * (corner(0, 1) - top)
    bottom += along * (corner(1, 1) - bottom)
    value: Floats = np.sqrt(2) * (top + down * (bottom - top))
    return value


def _fade(share: Floats) -> Floats:
    """Go from 0 to 1 with no slope and no curvature at either end."""
    return share * share * share * (share * (share * 6 - 15) + 10)
