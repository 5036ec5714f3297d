"""Organised grids for `local_geometry`: gaps, borders, several tiles, squares without a plane."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from cmad.testing.case import Case, Floats, Inputs
from cmad.testing.inputs import strided, surface


def wavy(shape: tuple[int, int, int], gaps: float = 0.1) -> Callable[[Generator], Floats]:
    """Return a maker of wavy surfaces, a millimetre between pixels, some of which lack."""

    def make(rng: Generator) -> Floats:
        _, v, u = (side * 1e-3 for side in np.indices(shape))
        z = 0.5 + 0.3 * u + 2e-3 * np.sin(300 * v) + 1e-4 * rng.standard_normal(shape)
        xyz = np.stack([u, v, z], -1)
        xyz[rng.random(shape) < gaps] = np.nan
        return xyz.astype(np.float32)

    return make


def flat(rng: Generator) -> Floats:
    """Return a tilted plane, exact in float32, with a hole."""
    v, u = np.mgrid[:24, :24] / 1024
    xyz = np.stack([u, v, 0.5 + 0.5 * u - 0.25 * v], -1)[None]
    xyz[0, 5:9, 6] = np.nan
    return xyz.astype(np.float32)


def lines(rng: Generator) -> Floats:
    """Return a single point, a row, a column, a diagonal, equal points, and a coordinate lost."""
    xyz = wavy((1, 40, 40), 0)(rng)
    kept = np.full((1, 40, 40), False)
    kept[0, 1, 1] = kept[0, 1, 10:18] = kept[0, 20:30, 3] = kept[0, 30, 30:33] = True
    kept[0, range(12, 18), range(20, 26)] = True
    xyz[0, 30, 30:33] = xyz[0, 30, 30]
    xyz[0, 12, 20, 1] = np.nan
    xyz[~kept] = np.nan
    return xyz


def far_off(rng: Generator) -> Floats:
    """Return a surface with a point 50 m away."""
    xyz = wavy((1, 20, 20))(rng)
    xyz[0, 3, 4] = 50
    return xyz


def part(rng: Generator) -> Floats:
    """Return 30,000 points of a part in a grid of 224 pixels."""
    points, seen = surface(rng, 224, 30_000)
    xyz = np.full((1, 224, 224, 3), np.nan, np.float32)
    xyz[0, seen] = points
    return xyz


def _case(name: str, xyz: Callable[[Generator], Floats], *radii: int) -> Case:
    def make(rng: Generator) -> Inputs:
        return {"xyz": xyz(rng), "radii": radii}

    # Sums in float64 in another order and around another point: a deviation that is 0 is the root
    # of a difference.
    return Case("local_geometry", name, make, atol=1e-6, timed=name[0].isdigit())


GEOMETRY_CASES = [
    _case("batch", wavy((2, 19, 35)), 2, 5),
    _case("several_tiles", wavy((1, 37, 40)), 3),
    _case("wider_than_a_tile", wavy((1, 3, 140)), 1),
    _case("larger_than_the_grid", wavy((1, 6, 5)), 1, 4, 9),
    _case("plane", flat, 2, 4),
    _case("lines", lines, 2),
    _case("far_off", far_off, 2),
    _case("non_contiguous", lambda rng: strided(wavy((1, 9, 8))(rng)), 2),
    _case("no_point", wavy((1, 5, 6), 1.1), 2),
    _case("one_pixel", wavy((1, 1, 1), 0), 2),
    _case("no_radius", wavy((1, 4, 4))),
    _case("empty_batch", wavy((0, 4, 4)), 2),
    _case("224x224", part, 2, 4, 8, 16),
]
