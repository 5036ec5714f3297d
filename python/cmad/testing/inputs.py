"""Makers of arrays: clouds, surfaces, maps and masks that the cases of the ops are made of."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[np.generic]
Maker = Callable[[Generator], Array]


def lattice(rng: Generator, *shape: int, high: int = 8) -> Floats:
    """Draw integers in [-high, high): many duplicates and many equal distances."""
    return rng.integers(-high, high, shape).astype(np.float32)


def strided(x: Floats) -> Floats:
    """Return an equal array that is not contiguous: every second entry of a wider one."""
    return np.repeat(x, 2, axis=-1)[..., ::2]


def outlier(x: Floats, far: float) -> Floats:
    """Move the last point far away."""
    x[..., -1, :] = far
    return x


def line(n: int) -> Floats:
    """Return points on a line, equally spaced, in shuffled order where 7 does not divide n."""
    return np.stack([np.arange(n) * 7 % n, np.zeros(n), np.ones(n)], -1).astype(np.float32)


def two_sheets(x: Floats) -> Floats:
    """Flatten a cloud onto z = 9 and z = -9."""
    x[..., 2] = np.where(x[..., 2] < 0, -9, 9)
    return x


Clouds = tuple[Floats, list[int]]
"""Points of clouds, one after another, and how many each cloud has."""


def one(points: Callable[[Generator], Floats]) -> Callable[[Generator], Clouds]:
    """Return a maker of one cloud."""

    def make(rng: Generator) -> Clouds:
        xyz = points(rng)
        return xyz, [len(xyz)]

    return make


CLOUDS: dict[str, Callable[[Generator], Clouds]] = {
    "one_point": one(lambda rng: lattice(rng, 1, 3)),
    "odd_size": one(lambda rng: lattice(rng, 131, 3)),
    "batch": lambda rng: (lattice(rng, 201, 3), [67, 67, 67]),
    "ragged": lambda rng: (lattice(rng, 700, 3), [5, 90, 13, 592]),
    "empty_cloud": lambda rng: (lattice(rng, 37, 3), [7, 0, 30]),
    "ties": one(lambda rng: lattice(rng, 700, 3, high=3)),
    "duplicates": one(lambda rng: np.repeat(lattice(rng, 5, 3), 9, axis=0)),
    "same_point": one(lambda rng: np.full((40, 3), -3, np.float32)),
    "line": one(lambda rng: line(53)),
    "far_outlier": one(lambda rng: outlier(lattice(rng, 90, 3), 1024)),
    "offset": one(lambda rng: lattice(rng, 200, 3) + np.float32(1024)),
    "two_sheets": one(lambda rng: two_sheets(lattice(rng, 300, 3))),
    "non_contiguous": lambda rng: (lattice(rng, 3, 100).T, [50, 50]),
    "empty_batch": lambda rng: (lattice(rng, 0, 3), []),
}


def _scales(rng: Generator, n: int) -> Floats:
    """Draw points whose distances span many magnitudes."""
    signs = rng.choice([-1, 1], (n, 3))
    return (signs * np.exp2(rng.integers(-40, 40, (n, 1)) + rng.random((n, 3)))).astype(np.float32)


def _spot(rng: Generator, n: int) -> Floats:
    """Draw half the points within a millimetre, the others over ten metres."""
    xyz = rng.uniform(-5, 5, (n, 3))
    xyz[::2] = xyz[0] + rng.uniform(0, 1e-3, (len(xyz[::2]), 3))
    return xyz.astype(np.float32)


def _beside(xyz: Floats, centre: Floats) -> tuple[Floats, Floats]:
    return xyz, centre + np.array([0.5, 0, 0], np.float32)


UNEVEN: dict[str, Callable[[Generator], tuple[Floats, Floats]]] = {
    "points_50_m_away": lambda rng: (
        outlier(part_of(1999)(rng), 50),
        outlier(part_of(99)(rng), 50),
    ),
    "scales": lambda rng: (_scales(rng, 600), _scales(rng, 70)),
    "dense_spot": lambda rng: (_spot(rng, 1800), _spot(rng, 90)),
    "volume": lambda rng: (lattice(rng, 2500, 3, high=9), lattice(rng, 80, 3, high=9)),
    "millimetres": lambda rng: (
        part_of(2200)(rng).round(3),  # many equal distances that are not exact
        part_of(90)(rng).round(3),
    ),
    "cloud_beside_its_centres": lambda rng: _beside(part_of(700)(rng), part_of(90)(rng)),
    "shuffled": lambda rng: (rng.permutation(part_of(900)(rng)), part_of(99)(rng)),
    "more_equal_points_than_a_leaf": lambda rng: (
        np.repeat(lattice(rng, 4, 3), 400, 0),
        np.repeat(lattice(rng, 4, 3), 40, 0),
    ),
    "all_points_equal": lambda rng: (np.full((1500, 3), 0.3, np.float32), lattice(rng, 30, 3)),
}
"""Clouds and centres that a search with cells of one size is slow for."""


def starts(sizes: list[int]) -> npt.NDArray[np.int64]:
    """Return where each of so many things begins, one after another, and where the last ends."""
    return np.cumsum([0, *sizes])


def footprint(side: int, raster: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return `first` and `tap` of the published smoothing, 3×3 means pooled onto a raster."""
    at = np.arange(raster)
    first, end = at * (side - 2) // raster, -(-(at + 1) * (side - 2) // raster)
    tap = np.zeros((raster, (end - first).max() + 2), np.float32)
    for cell in range((end - first).max()):
        tap[:, cell : cell + 3] += np.where(first + cell < end, 1 / 3 / (end - first), 0)[:, None]
    return first, tap


def sheet(rng: Generator, n: int, noise: float, outliers: int) -> Floats:
    """Draw a tilted plane with Gaussian noise and uniform outliers, in metres."""
    xyz = rng.uniform(-0.2, 0.2, (n, 3))
    xyz[:, 2] = 0.5 + 0.2 * xyz[:, 0] - 0.1 * xyz[:, 1] + noise * rng.standard_normal(n)
    xyz[:outliers, 2] = rng.uniform(0.3, 0.7, outliers)
    return xyz.astype(np.float32)


def crossing(rng: Generator) -> Floats:
    """Draw two sheets that cross, the second with more points."""
    low, high = sheet(rng, 70, 1e-4, 0), sheet(rng, 90, 1e-4, 0)
    high[:, 2] = 1 - high[:, 2]
    return np.concatenate([low, high])


def bridge(rng: Generator) -> Floats:
    """Return two rows of points and between them one that is near a core point of each."""
    x = np.concatenate([np.arange(2, 8), [0], np.arange(-7, -1)])
    return np.stack([x, 0 * x, 0 * x], -1).astype(np.float32)


def bridges(rng: Generator) -> Floats:
    """Return pairs of rows, eps 1, with one point between that is near a core point of each.

    It lies close beside the second row's, in a place of its own in any grid: each pair is moved by
    another amount, and every second one is mirrored.
    """
    x = np.array([-0.9, -0.8, -0.7, 0, 0.95, 1.05, 2, 2.02])
    pairs = []
    for i in range(12):
        moved = (x if i % 2 else -x) + rng.random()
        pairs.append(np.stack([moved, np.full(len(x), 10.0 * i), 0 * x], -1))
    return np.concatenate(pairs).astype(np.float32)


def surface(rng: Generator, side: int, n: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the n points of a wavy part in row-major order, and the (side, side) pixels it fills.

    A camera 0.45 m away sees it, at 0.2 m to the frame, with 0.1 mm of noise in depth.
    """
    v, u = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    radius = u**4 + v**4
    seen = radius <= np.partition(radius, n - 1, axis=None)[n - 1]
    seen &= seen.cumsum().reshape(seen.shape) <= n
    z = 0.45 + 0.012 * np.sin(5 * u) * np.cos(4 * v) + 1e-4 * rng.standard_normal(u.shape)
    xyz = np.stack([u * z * 0.222, v * z * 0.222, z], -1)
    return xyz[seen].astype(np.float32), seen


def part_of(n: int, side: int = 224) -> Callable[[Generator], Floats]:
    """Return a maker of the n points of a surface."""
    return lambda rng: surface(rng, side, n)[0]


def border(rng: Generator) -> Floats:
    """Return the 16,000 points of the 10-pixel border strips of a 400×400 frame of a table."""
    return sheet(rng, 16000, 5e-4, 400)


def blobs(rng: Generator, height: int, width: int, count: int) -> npt.NDArray[np.bool_]:
    """Draw discs of up to a tenth of the height, some of which touch."""
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), np.bool_)
    for _ in range(count):
        v, u, radius = rng.uniform(0, (height, width, height / 10))
        mask |= (y - v) ** 2 + (x - u) ** 2 <= radius**2
    return mask


def snake(height: int, width: int) -> npt.NDArray[np.bool_]:
    """Draw one line along every other row, from end to end and back."""
    mask = np.zeros((height, width), np.bool_)
    mask[::2] = True
    mask[1::4, -1] = mask[3::4, 0] = True
    return mask


def noise(share: float, height: int = 19, width: int = 23) -> Maker:
    """Return a maker of a mask with so many of its pixels marked."""
    return lambda rng: rng.random((height, width)) < share


def normal(n: int) -> Maker:
    return lambda rng: rng.normal(size=n)


def runs(rng: Generator) -> Array:
    """Make scores of which up to 200 that follow each other are equal."""
    return np.repeat(rng.integers(0, 3000, 30), rng.integers(1, 200, 30))


def heavy_tailed(n: int) -> Maker:
    """Return a maker of scores as maps have them: half are 0, the others over many magnitudes."""
    return lambda rng: np.exp(4 * rng.normal(size=n)) * (rng.random(n) < 0.5)


def small_integers(n: int) -> Maker:
    return lambda rng: rng.integers(-3, 4, n)


SCORES: dict[str, tuple[Maker, Maker]] = {
    "normal": (normal(999), normal(57)),
    "heavy_tailed": (heavy_tailed(999), heavy_tailed(57)),
    "ties": (small_integers(500), lambda rng: np.arange(-2, 3)),
    "every_score_a_level": (lambda rng: np.arange(300), lambda rng: np.arange(300)),
    "crowded_levels": (
        lambda rng: 1 + rng.integers(-9, 99, 500) / 2**20,
        lambda rng: 1 + np.arange(70) / 2**20,
    ),
    "one_level": (small_integers(70), lambda rng: np.zeros(1)),
    "all_below": (small_integers(40), lambda rng: np.array([4, 9])),
    "all_above": (small_integers(40), lambda rng: np.array([-9, -4])),
    "infinite": (lambda rng: np.array([1, np.inf, -np.inf, 0, np.inf]), lambda rng: np.arange(3)),
    "signed_zeros": (
        lambda rng: np.array([-0.0, 0.0, 1e-40, -1e-40]),
        lambda rng: np.array([-0.0]),
    ),
    "negative_zero": (lambda rng: np.array([1, -0.0] * 9), lambda rng: np.zeros(1)),
    "no_score": (lambda rng: np.zeros(0), lambda rng: np.arange(3)),
    "non_contiguous": (lambda rng: rng.normal(size=90)[::2], normal(9)),
}


Rows = Callable[[Generator, int], Floats]


def grid(d: int, high: int = 4) -> Rows:
    """Make rows of small integers, so that many distances are equal."""
    return lambda rng, n: rng.integers(0, high, (n, d)).astype(np.float32)


def normal_rows(d: int) -> Rows:
    """Make rows of independent normal numbers."""
    return lambda rng, n: rng.standard_normal((n, d)).astype(np.float32)


def decaying(d: int) -> Rows:
    """Make rows like features: clusters whose deviations fall with the direction's number."""

    def make(rng: Generator, n: int) -> Floats:
        size = (np.arange(d) + 1.0) ** -0.7
        centre = rng.standard_normal((50, d))
        rows = centre[rng.integers(0, 50, n)] + 0.5 * rng.standard_normal((n, d))
        turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
        return np.asarray((rows * size) @ turn, np.float32)

    return make
