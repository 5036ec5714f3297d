"""What a case of an op is, and how the cases of each op are made."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from numpy.random import Generator
from torch import Tensor

from cmad.testing.inputs import (
    CLOUDS,
    UNEVEN,
    footprint,
    lattice,
    outlier,
    part_of,
    starts,
    strided,
    surface,
)

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[np.generic]
Value = Array | int | float | str | tuple[int, ...] | None
Inputs = dict[str, Value]


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


def to_torch(
    inputs: Inputs, device: str
) -> dict[str, Tensor | int | float | str | tuple[int, ...] | None]:
    """Turn the arrays among an op's arguments into tensors of the same strides.

    `device` is one of `devices.DEVICES`; the emulated one's tensors are the CPU's.
    """
    where = "cpu" if device == "emulated" else device
    return {
        name: torch.from_numpy(value).to(where) if isinstance(value, np.ndarray) else value
        for name, value in inputs.items()
    }


def moved(inputs: Inputs, outputs: tuple[Array, ...]) -> int:
    """Count the bytes that an op cannot avoid: each input read once, each output written once."""
    arrays = [value for value in inputs.values() if isinstance(value, np.ndarray)]
    return sum(array.nbytes for array in (*arrays, *outputs))


def fps_case(name: str, k: int | None = None, **more: Value) -> Case:
    """Make a case of `k` picks of each cloud, by default all points of the smallest."""

    def make(rng: Generator) -> Inputs:
        xyz, sizes = CLOUDS[name](rng)
        return {"xyz": xyz, "ptr": starts(sizes), "k": k or min(sizes, default=9), **more}

    picks = f"{k}_picks" if k else "all_points"
    return Case("fps", "_".join([name, picks, *(f"{a}_{v}" for a, v in more.items())]), make)


def group_case(name: str, k: int | None, centres: int = 17) -> Case:
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


def three_nn_case(name: str, centres: int) -> Case:
    def make(rng: Generator) -> Inputs:
        xyz, sizes = CLOUDS[name](rng)
        each = [(centres + b) * (size > 0) for b, size in enumerate(sizes)]
        centre = lattice(rng, sum(each), 3)
        return {"xyz": xyz, "ptr": starts(sizes), "centre": centre, "centre_ptr": starts(each)}

    return Case("three_nn", f"{name}_{centres}_centres", make, atol=1e-7)  # weights in [0, 1]


def uneven_case(op: str, name: str, **more: Value) -> Case:
    """Make a case of an uneven cloud or of centres away from it."""

    def make(rng: Generator) -> Inputs:
        xyz, centre = UNEVEN[name](rng)
        if op == "fps":
            return {"xyz": xyz, "ptr": starts([len(xyz)]), **more}
        ends = {"ptr": starts([len(xyz)]), "centre_ptr": starts([len(centre)])}
        return {"xyz": xyz, "centre": centre, **ends, **more}

    return Case(op, "_".join([name, *(f"{a}_{v}" for a, v in more.items())]), make, atol=1e-7)


def sparse_case(
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


def spread_case(
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


def plane_case(name: str, points: Callable[[Generator], Floats], **more: Value) -> Case:
    def make(rng: Generator) -> Inputs:
        return {"xyz": points(rng), **more}

    # Tolerance: float64 eigenvectors by two methods.
    return Case("plane", name, make, atol=1e-12, timed=name.startswith("border"))


def clusters_case(name: str, points: Callable[[Generator], Floats], eps: float, m: int) -> Case:
    def make(rng: Generator) -> Inputs:
        return {"xyz": points(rng), "eps": eps, "min_points": m}

    return Case("clusters", name, make, timed=name.startswith("surface"))


def maps_case(op: str, name: str, shape: tuple[int, int, int], **more: Value) -> Case:
    def make(rng: Generator) -> Inputs:
        return {"maps": rng.random(shape).astype(np.float32), **more}

    return Case(
        op, name, make, atol=1e-6, timed=name[0].isdigit()
    )  # sums of 33 or 76 float32 products


def rows_case(
    name: str, a: Callable[[Generator], Array], b: Callable[[Floats], Array], atol: float = 5e-7
) -> Case:
    """Make a case of rows `a` and of rows derived from them; the values are unit vectors'."""

    def make(rng: Generator) -> Inputs:
        left = a(rng).astype(np.float32)
        return {"a": left, "b": b(left).astype(np.float32)}

    return Case("discrepancy", name, make, atol, timed=name[0].isdigit())


def on_surface_case(op: str, n: int, k: int | None = None, name: str = "", x: float = 0) -> Case:
    """Make a timed case of n points and, for ops that take them, 1024 centres among them.

    `name` may say that the last point is 50 m away, or that all points are equal, or the centres
    are moved by `x` metres.
    """

    def make(rng: Generator) -> Inputs:
        xyz = part_of(n, 224 if n <= 50_000 else round((1.25 * n) ** 0.5))(rng)
        if name == "_one_50_m_away":
            xyz = outlier(xyz, 50)
        if name == "_all_equal":
            xyz[:] = xyz[0]
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


def components_case(name: str, mask: Callable[[Generator], Array]) -> Case:
    return Case("components", name, lambda rng: {"mask": mask(rng)}, timed=name[0].isdigit())


def counts_case(
    name: str,
    score: Callable[[Generator], Array],
    level: Callable[[Generator], Array],
    dtype: str = "f4",
    skipped: float = 1 / 3,
) -> Case:
    """Make a case of which a share of the scores is not counted."""

    def make(rng: Generator) -> Inputs:
        scores = np.asarray(score(rng), dtype)
        skip = rng.random(len(scores)) < skipped
        return {"score": scores, "skip": skip, "level": np.unique(level(rng).astype(dtype))}

    return Case("count_between", f"{name}_{dtype}", make, timed=name[0].isdigit())


def knn_case(
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


def coreset_case(name: str, rows: Callable[[Generator], Array], count: int, **more: Value) -> Case:
    def make(rng: Generator) -> Inputs:
        return {"rows": rows(rng).astype(np.float32), "count": count, **more}

    return Case("coreset", name, make, timed=name[0].isdigit())
