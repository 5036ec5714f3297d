"""Inputs for every native op: one list that feeds the agreement tests and the benchmarks.

Operations that return indices get small-integer coordinates: squared distances are then exact in
float32, so ties are real and every device must give the same index. The timed cases are synthetic
surfaces in metres, as an organised camera sees them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
import torch
from numpy.random import Generator
from torch import Tensor

from cmad.testing.inputs import (
    CLOUDS,
    SCORES,
    UNEVEN,
    blobs,
    border,
    bridge,
    crossing,
    decaying,
    footprint,
    grid,
    heavy_tailed,
    lattice,
    line,
    noise,
    normal,
    normal_rows,
    outlier,
    part_of,
    sheet,
    starts,
    strided,
    surface,
)

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[np.generic]
Value = Array | int | float | str | None
Inputs = dict[str, Value]

HAS_CUDA = find_spec("cmad._native._cuda") is not None and torch.cuda.is_available()
DEVICES = ["cpu", "cuda"] if HAS_CUDA else ["cpu"]


@dataclass(frozen=True)
class Case:
    """One input of an op."""

    op: str
    name: str
    make: Callable[[Generator], Inputs]
    """The op's arguments."""
    atol: float = 0.0
    """Largest difference from the reference, absolute; indices must be equal in any case."""
    timed: bool = False

    def __str__(self) -> str:
        """Return a name for messages: the op and the case."""
        return f"{self.op}-{self.name}"


def to_torch(inputs: Inputs, device: str) -> dict[str, Tensor | int | float | str | None]:
    """Turn the arrays among an op's arguments into tensors of the same strides."""
    return {
        name: torch.from_numpy(value).to(device) if isinstance(value, np.ndarray) else value
        for name, value in inputs.items()
    }


def moved(inputs: Inputs, outputs: tuple[Array, ...]) -> int:
    """Count the bytes that an op cannot avoid: each input read once, each output written once."""
    arrays = [value for value in inputs.values() if isinstance(value, np.ndarray)]
    return sum(array.nbytes for array in (*arrays, *outputs))


def _fps(name: str, k: int | None = None, **more: Value) -> Case:
    """Make a case of `k` picks of each cloud, by default all points of the smallest."""

    def make(rng: Generator) -> Inputs:
        xyz, sizes = CLOUDS[name](rng)
        return {"xyz": xyz, "ptr": starts(sizes), "k": k or min(sizes, default=9), **more}

    picks = f"{k}_picks" if k else "all_points"
    return Case("fps", "_".join([name, picks, *(f"{a}_{v}" for a, v in more.items())]), make)


def _group(name: str, k: int | None, centres: int = 17) -> Case:
    """Make a case of centres of which every other one is a point of the cloud."""

    def make(rng: Generator) -> Inputs:
        xyz, sizes = CLOUDS[name](rng)
        ptr = starts(sizes)
        each = [centres + b for b in range(len(sizes))]  # not as many for each cloud
        centre = lattice(rng, sum(each), 3, high=10)
        for b, at in enumerate(starts(each)[:-1]):
            some = np.arange(0, each[b], 2)
            centre[at + some] = xyz[ptr[b] + some // 2 % sizes[b]]
        smallest = min(sizes, default=9)
        return {
            "xyz": xyz,
            "ptr": ptr,
            "centre": centre,
            "centre_ptr": starts(each),
            "k": k or smallest,
        }

    return Case("group", f"{name}_{k or 'all_points'}_of_{centres}_centres", make)


def _three_nn(name: str, centres: int) -> Case:
    def make(rng: Generator) -> Inputs:
        xyz, sizes = CLOUDS[name](rng)
        each = [(centres + b) * (size > 0) for b, size in enumerate(sizes)]
        centre = lattice(rng, sum(each), 3)
        return {"xyz": xyz, "ptr": starts(sizes), "centre": centre, "centre_ptr": starts(each)}

    return Case("three_nn", f"{name}_{centres}_centres", make, atol=1e-7)  # weights in [0, 1]


def _uneven(op: str, name: str, **more: Value) -> Case:
    """Make a case of an uneven cloud or of centres away from it."""

    def make(rng: Generator) -> Inputs:
        xyz, centre = UNEVEN[name](rng)
        ends = {"ptr": starts([len(xyz)]), "centre_ptr": starts([len(centre)])}
        return {"xyz": xyz, "centre": centre, **ends, **more}

    return Case(op, name, make, atol=1e-7)


def _sparse(
    rows: int, m: int, d: int, per_row: int, gaps: bool = False, timed: bool = False
) -> Case:
    """Make a case of rows that name up to `2 * per_row` features near each other."""

    def make(rng: Generator) -> Inputs:
        entries = rng.integers(0, 2 * per_row + 1, rows)
        near = np.repeat(np.arange(rows) * m // max(rows, 1), entries)
        feature = rng.standard_normal((m, d)).astype(np.float32)
        return {
            "feature": strided(feature) if gaps else feature,
            "start": np.concatenate([[0], np.cumsum(entries)]).astype(np.int64),
            "index": ((near + rng.integers(0, 40, len(near))) % m).astype(np.int32),
            "weight": rng.random(len(near)).astype(np.float32),
        }

    name = f"{rows}_rows_of_{m}x{d}" + ("_non_contiguous" if gaps else "")
    return Case("interpolate", name, make, atol=5e-6, timed=timed)  # sums of 12 terms of size 1


def _spread(
    name: str,
    side: int,
    taps: int | None,
    seen: float | int,
    raster: int | None = None,
    every: int = 1,
    timed: bool = False,
) -> Case:
    """Make a case of points at a share of the pixels, or of a surface of so many points.

    `taps` None is the published footprint, else so many random ones at random places; `raster` None
    is the frame's own.
    """
    out = raster or side

    def make(rng: Generator) -> Inputs:
        whole = isinstance(seen, int)
        mask = surface(rng, side, int(seen))[1] if whole else rng.random((side, side)) < seen
        n, cell = int(mask.sum()), np.stack(np.nonzero(mask), -1) * 32 // side
        corner = np.array([[0, 0], [0, 1], [1, 0]])
        near = np.minimum(cell[:, None] + corner, 31) @ np.array([32, 1])
        weight = rng.random((n, 3)) * (rng.random((n, 3)) < 0.9)
        if taps is None:
            first, tap = footprint(side, out)
        else:
            first = rng.integers(-taps, side, out)
            tap = rng.standard_normal((out, taps)).astype(np.float32)
        return {
            "neighbour": near.astype(np.int64),
            "neighbour_weight": weight.astype(np.float32),
            "point": np.where(mask, mask.cumsum().reshape(mask.shape) - 1, -1),
            "first": first,
            "tap": tap,
            "pixel": np.arange(0, out * out, every)[::-1].copy(),
            "centres": 1024,
        }

    return Case("pixel_weights", name, make, atol=5e-7, timed=timed)  # sums up to about 5


def _plane(name: str, points: Callable[[Generator], Floats], **more: Value) -> Case:
    def make(rng: Generator) -> Inputs:
        return {"xyz": points(rng), **more}

    # Tolerance: float64 eigenvectors by two methods.
    return Case("plane", name, make, atol=1e-12, timed=name.startswith("border"))


def _clusters(name: str, points: Callable[[Generator], Floats], eps: float, m: int) -> Case:
    def make(rng: Generator) -> Inputs:
        return {"xyz": points(rng), "eps": eps, "min_points": m}

    return Case("clusters", name, make, timed=name.startswith("surface"))


def _maps(op: str, name: str, shape: tuple[int, int, int], **more: Value) -> Case:
    def make(rng: Generator) -> Inputs:
        return {"maps": rng.random(shape).astype(np.float32), **more}

    return Case(
        op, name, make, atol=1e-6, timed=name[0].isdigit()
    )  # sums of 33 or 76 float32 products


def _rows(
    name: str, a: Callable[[Generator], Array], b: Callable[[Floats], Array], atol: float = 5e-7
) -> Case:
    """Make a case of rows `a` and of rows derived from them; the values are unit vectors'."""

    def make(rng: Generator) -> Inputs:
        left = a(rng).astype(np.float32)
        return {"a": left, "b": b(left).astype(np.float32)}

    return Case("discrepancy", name, make, atol, timed=name[0].isdigit())


def _on_surface(op: str, n: int, k: int | None = None, name: str = "", x: float = 0) -> Case:
    """Make a timed case of n points and, for ops that take them, 1024 centres among them.

    With a name, the last point is 50 m away, or the centres are moved by `x` metres.
    """

    def make(rng: Generator) -> Inputs:
        xyz = part_of(n)(rng)
        if name and not x:
            xyz = outlier(xyz, 50)
        centre = xyz[np.linspace(0, n - 1, 1024).astype(np.int64)]
        centre[:, 0] += np.float32(x)
        return {
            "xyz": xyz,
            "ptr": starts([n]),
            **({} if op == "fps" else {"centre": centre, "centre_ptr": starts([1024])}),
            **({"k": k} if k else {}),
        }

    # Tolerance: the last bit of a weight.
    kind = f"surface_{n}" + (f"_k{k}" if k else "") + name
    return Case(op, kind, make, atol=1e-7, timed=True)


def _components(name: str, mask: Callable[[Generator], Array]) -> Case:
    return Case("components", name, lambda rng: {"mask": mask(rng)}, timed=name[0].isdigit())


def _counts(
    name: str,
    score: Callable[[Generator], Array],
    level: Callable[[Generator], Array],
    dtype: str = "f4",
) -> Case:
    """Make a case of which a third of the scores is not counted."""

    def make(rng: Generator) -> Inputs:
        scores = np.asarray(score(rng), dtype)
        skip = rng.random(len(scores)) < 1 / 3
        return {"score": scores, "skip": skip, "level": np.unique(level(rng).astype(dtype))}

    return Case("count_between", f"{name}_{dtype}", make, timed=name[0].isdigit())


def _knn(
    name: str,
    rows: Callable[[Generator, int], Array],
    sizes: tuple[int, int, int],
    atol: float = 0.0,
    gaps: bool = False,
    dtype: str = "f4",
) -> Case:
    """Make a case of `sizes` queries, rows and neighbours, all from one distribution."""

    def make(rng: Generator) -> Inputs:
        queries, m, k = sizes
        both = np.asarray(rows(rng, queries + m), dtype)
        query, bank = both[:queries], both[queries:]
        bank = strided(bank) if gaps else bank.copy()
        return {"query": query.copy(), "bank": bank, "k": k}

    return Case("knn", name, make, atol, timed=name[0].isdigit())


def _coreset(name: str, rows: Callable[[Generator], Array], count: int, **more: Value) -> Case:
    def make(rng: Generator) -> Inputs:
        return {"rows": rows(rng).astype(np.float32), "count": count, **more}

    return Case("coreset", name, make, timed=name[0].isdigit())


SIZES = (10_000, 30_000, 50_000)
FULL = [name for name in CLOUDS if name != "empty_cloud"]  # of which k points can be taken

CASES = [
    *[_fps(name) for name in FULL],
    *[_fps(name, ties="published") for name in FULL],
    _fps("ties", 1),
    _fps("ties", 60, skip=4.0),
    _fps("ties", 60, ties="published", skip=9.0),
    _fps("batch", 9, skip=1e9),
    *[_on_surface("fps", n, 1024) for n in SIZES],
    *[_group(name, None) for name in FULL],
    *[_group(name, 5) for name in FULL if name != "one_point"],
    *[_group("ties", 32, centres) for centres in (0, 1)],
    *[_uneven("group", name, k=100) for name in UNEVEN],
    *[_on_surface("group", n, 128) for n in SIZES],
    _on_surface("group", 30_000, 32),
    _on_surface("group", 30_000, 128, "_one_50_m_away"),
    _on_surface("group", 30_000, 128, "_beside", x=0.5),
    *[_three_nn(name, centres) for name in CLOUDS for centres in (1, 2, 3, 60)],
    *[_uneven("three_nn", name) for name in UNEVEN],
    *[_on_surface("three_nn", n) for n in SIZES],
    _on_surface("three_nn", 30_000, name="_one_50_m_away"),
    _on_surface("three_nn", 30_000, name="_beside", x=0.5),
    _sparse(1, 1, 1, 1),
    _sparse(0, 4, 8, 3),
    _sparse(33, 7, 1, 2),
    _sparse(300, 20, 67, 6),
    _sparse(9, 5, 0, 3),
    _sparse(57, 20, 16, 4, gaps=True),
    *[_sparse(n, 1024, 1152, 3, timed=True) for n in SIZES],
    _spread("published", 17, None, 0.6),
    _spread("published_even", 12, None, 0.6),
    _spread("one_pixel_image", 1, 1, 1.0),
    _spread("no_point", 6, 3, 0.0),
    _spread("all_points", 9, 3, 1.0),
    _spread("footprint_beyond_the_edge", 8, 7, 0.5),
    _spread("some_pixels", 30, 4, 0.4, every=7),
    _spread("published_patches", 26, None, 0.6, raster=4),
    _spread("published_patches_that_do_not_divide", 23, None, 0.6, raster=5),
    _spread("one_patch", 12, 12, 0.6, raster=1),
    _spread("raster_finer_than_the_frame", 7, 3, 0.6, raster=12),
    _spread("all_centres_in_a_pixel", 60, 60, 1.0, raster=2),
    *[_spread(f"surface_{n}", 224, None, n, timed=True) for n in SIZES],
    *[_spread(f"surface_50000_on_{r}", 224, None, 50_000, r, timed=True) for r in (28, 56)],
    _plane("noisy", lambda rng: sheet(rng, 501, 5e-4, 100), threshold=0.004, tries=200),
    _plane("fifty_samples", lambda rng: sheet(rng, 400, 5e-4, 4), threshold=0.005, samples=50),
    _plane("three_points", lambda rng: sheet(rng, 3, 0, 0), threshold=0.004),
    _plane("one_try", lambda rng: sheet(rng, 90, 1e-3, 10), threshold=0.01, tries=1, seed=3),
    _plane("large_seed", lambda rng: sheet(rng, 90, 1e-3, 30), threshold=0.01, seed=2**64 - 1),
    _plane("two_sheets", crossing, threshold=0.002, tries=100),
    _plane("non_contiguous", lambda rng: strided(sheet(rng, 60, 1e-4, 9)), threshold=0.002),
    _plane("duplicates", lambda rng: np.repeat(sheet(rng, 5, 0, 1), 9, 0), threshold=0.002),
    _plane("tight_threshold", lambda rng: sheet(rng, 80, 1e-2, 0), threshold=1e-6, tries=50),
    _plane("border_16000", border, threshold=0.005),
    _plane("border_16000_samples_50", border, threshold=0.004, samples=50),
    _clusters("odd_size", lambda rng: lattice(rng, 301, 3, high=12), 3, 4),
    _clusters("ties_at_eps", lambda rng: lattice(rng, 200, 3, high=9), 2, 3),
    _clusters("negative_coordinates", lambda rng: lattice(rng, 150, 3) - np.float32(50), 2, 4),
    _clusters("min_points_1", lambda rng: lattice(rng, 80, 3, high=9), 1, 1),
    _clusters("all_noise", lambda rng: 10 * line(60), 9, 2),
    _clusters("single_cluster", lambda rng: lattice(rng, 99, 3, high=2), 2, 3),
    _clusters("one_point", lambda rng: lattice(rng, 1, 3), 1, 1),
    _clusters("no_point", lambda rng: lattice(rng, 0, 3), 1, 1),
    _clusters("duplicates", lambda rng: np.repeat(lattice(rng, 30, 3), 4, 0), 1, 5),
    _clusters("border_between_two_clusters", bridge, 2, 4),
    _clusters("border_in_reverse", lambda rng: bridge(rng)[::-1].copy(), 2, 4),
    _clusters("line", lambda rng: line(90), 1, 3),
    _clusters("far_outlier", lambda rng: outlier(lattice(rng, 90, 3), 1e6), 4, 3),
    _clusters("non_contiguous", lambda rng: strided(lattice(rng, 90, 3)), 3, 3),
    _clusters("large_eps", lambda rng: lattice(rng, 70, 3), 1000, 70),
    *[_clusters(f"surface_{n}", part_of(n), 0.006, 30) for n in SIZES],
    _clusters("surface_30000_of_400x400", part_of(30_000, 400), 0.006, 30),
    _maps("smooth", "odd_size", (1, 31, 45)),
    _maps("smooth", "batch", (3, 20, 50), sigma=1.3),
    _maps("smooth", "one_pixel", (1, 1, 1)),
    _maps("smooth", "one_row", (2, 1, 40), sigma=2.0),
    _maps("smooth", "kernel_wider_than_the_map", (1, 3, 5), sigma=6.0),
    _maps("smooth", "kernel_of_one_tap", (1, 9, 8), sigma=0.1),
    _maps("smooth", "empty_batch", (0, 9, 8)),
    _maps("smooth", "224x224", (1, 224, 224)),
    _maps("smooth", "400x400", (1, 400, 400)),
    _maps("box_cascade", "odd_size", (1, 31, 45)),
    _maps("box_cascade", "batch", (3, 40, 33)),
    _maps("box_cascade", "one_pixel", (1, 1, 1)),
    _maps("box_cascade", "smaller_than_a_box", (2, 2, 5)),
    _maps("box_cascade", "empty_batch", (0, 9, 8)),
    _maps("box_cascade", "224x224", (1, 224, 224)),
    _rows("odd_size", lambda rng: rng.normal(size=(37, 67)), lambda a: np.roll(a, 1, 0)),
    _rows("one_wide", lambda rng: rng.normal(size=(9, 1)), lambda a: -a[::-1]),
    _rows("zero_rows", lambda rng: rng.normal(size=(9, 40)), lambda a: np.eye(9, 40) * a),
    _rows("both_zero", lambda rng: np.zeros((4, 33)), lambda a: a),
    _rows("some_zero", lambda rng: rng.normal(size=(2, 33)) * [[0], [1]], np.flipud),
    _rows("shorter_than_1e-12", lambda rng: 1e-14 * rng.normal(size=(9, 40)), np.flipud),
    _rows("opposite", lambda rng: rng.normal(size=(9, 768)), lambda a: a * np.float32(-3)),
    _rows("nearly_equal", lambda rng: rng.normal(size=(50, 768)), lambda a: a + 1e-4 * a**2, 2e-8),
    _rows("large_values", lambda rng: 1e12 * rng.normal(size=(9, 1152)), np.flipud),
    _rows("overflowing_squares", lambda rng: 1e20 * rng.normal(size=(9, 40)), np.flipud),
    _rows("one_overflows", lambda rng: 1e20 * rng.normal(size=(9, 40)), lambda a: a[::-1] * 1e-20),
    _rows("largest_values", lambda rng: rng.choice([-3.4e38, 3.4e38], (9, 1200)), np.flipud),
    _rows("vanishing_squares", lambda rng: 1e-30 * rng.normal(size=(9, 40)), np.flipud),
    _rows("wide", lambda rng: rng.normal(size=(5, 4099)), np.flipud, 2e-6),  # longer float32 sums
    _rows("non_contiguous", lambda rng: rng.normal(size=(31, 9)).T, np.flipud),
    _rows("no_row", lambda rng: np.zeros((0, 16)), lambda a: a),
    _rows("no_column", lambda rng: np.zeros((5, 0)), lambda a: a),
    _rows("10000x1152", lambda rng: rng.normal(size=(10_000, 1152)), np.flipud),
    _rows("50000x768", lambda rng: rng.normal(size=(50_000, 768)), np.flipud),
    *[_components(f"noise_{share}", noise(share / 100)) for share in (5, 30, 50, 80)],
    _components("diagonal", lambda rng: np.eye(9, 7, dtype=bool)),
    _components("chessboard", lambda rng: np.indices((8, 9)).sum(0) % 2 == 0),
    _components("rows", lambda rng: np.repeat(np.arange(9)[:, None] % 2 == 0, 11, 1)),
    _components("comb", lambda rng: (np.arange(13) % 2 == 0) | (np.arange(8) == 7)[:, None]),
    _components("one_pixel", lambda rng: np.ones((1, 1), bool)),
    _components("one_column", lambda rng: rng.random((40, 1)) < 0.5),
    _components("nothing_marked", lambda rng: np.zeros((5, 6), bool)),
    _components("all_marked", lambda rng: np.ones((6, 5), bool)),
    _components("no_row", lambda rng: np.zeros((0, 4), bool)),
    _components("non_contiguous", lambda rng: (rng.random((9, 14)) < 0.4).T),
    _components("224x224", lambda rng: blobs(rng, 224, 224, 4)),
    _components("800x800", lambda rng: blobs(rng, 800, 800, 30)),
    *[_counts(name, *makers, dtype) for name, makers in SCORES.items() for dtype in ("f4", "f8")],
    _knn("ties", grid(7), (40, 700, 9)),
    _knn("ties_in_half", grid(40, 5), (30, 500, 32), dtype="f2"),
    _knn("one_wide", normal_rows(1), (50, 3000, 3), 1e-6),  # values up to 10
    _knn("two_wide", normal_rows(2), (50, 3000, 1), 1e-6),
    _knn("three_wide", normal_rows(3), (50, 3000, 2), 1e-6),
    _knn("decaying", decaying(200), (33, 2500, 11), 1e-6),
    _knn("shifted", lambda rng, n: 1000 + decaying(150)(rng, n), (20, 2100, 5), 1e-6),
    _knn("half", decaying(150), (9, 2100, 4), 1e-6, dtype="f2"),
    _knn("one_row", grid(5), (8, 1, 1)),
    _knn("all_rows", grid(5), (8, 32, 32)),
    _knn("one_query", grid(9), (1, 300, 4)),
    _knn("no_query", grid(5), (0, 40, 2)),
    _knn(
        "duplicates", lambda rng, n: np.repeat(grid(6)(rng, -(-n // 20)), 20, 0)[:n], (20, 400, 25)
    ),
    _knn("all_the_same", lambda rng, n: np.full((n, 8), 3.0), (8, 130, 7)),
    _knn("non_contiguous", grid(5), (9, 90, 3), gaps=True),
    _knn("784x768_of_20800", decaying(768), (784, 20_800, 3), 1e-6),
    _knn("3136x1152_of_90000", decaying(1152), (3136, 90_000, 11), 1e-6),
    _coreset("ties", lambda rng: grid(5)(rng, 300), 200),
    _coreset("normal", lambda rng: rng.normal(size=(500, 33)), 300),
    _coreset("all_rows", lambda rng: grid(40)(rng, 90), 90),
    _coreset("duplicates", lambda rng: np.repeat(grid(3)(rng, 30), 4, 0), 120),
    _coreset("all_the_same", lambda rng: np.ones((70, 3)), 9, start=5),
    _coreset("one_row", lambda rng: np.ones((1, 3)), 1),
    _coreset("one_pick", lambda rng: grid(3)(rng, 9), 1, start=8),
    _coreset("one_wide", lambda rng: rng.normal(size=(700, 1)), 300),
    _coreset("no_column", lambda rng: np.ones((7, 0)), 4),
    _coreset("non_contiguous", lambda rng: strided(grid(17)(rng, 80)), 60),
    _coreset("20000x128", lambda rng: rng.normal(size=(20_000, 128)), 2000),
    _counts("5000000_normal", normal(5_000_000), normal(50_000)),
    _counts("5000000_heavy_tailed", heavy_tailed(5_000_000), heavy_tailed(50_000)),
]
"""Every case of every op."""
