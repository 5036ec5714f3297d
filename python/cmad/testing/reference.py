"""What each native op means, in NumPy: plain, slow, and sharing no code with the op.

Each function takes the arguments of the op of the same name as arrays, but `check`, and returns
what it returns.
Squared distances are float32 sums of squared differences, x first, as the ops are defined on them.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from cmad.testing import histograms

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]


def fps(xyz: Floats, ptr: Ints, k: int, *, ties: str = "lowest", skip: float | None = None) -> Ints:
    """Pick the eligible point farthest from those picked so far, k times, from point 0 on."""
    index = np.zeros((len(ptr) - 1, k), np.int64)
    for begin, end, picked in zip(ptr, ptr[1:], index, strict=False):
        points = xyz[begin:end]
        digits = min(9, len(points).bit_length() - 1)
        slot = [int(f"{i % 2**digits:0{digits}b}"[::-1], 2) for i in range(len(points))]
        order = np.argsort(slot if ties == "published" else range(len(slot)), kind="stable")
        norm2 = (points**2).sum(-1).astype(np.float64)
        nearest = np.where(norm2 > (-1 if skip is None else skip), np.inf, -np.inf)
        for i in range(1, k):
            nearest = np.minimum(nearest, ((points - points[picked[i - 1]]) ** 2).sum(-1))
            picked[i] = order[nearest[order].argmax()]
    return index


def group(xyz: Floats, ptr: Ints, centre: Floats, centre_ptr: Ints, k: int) -> Ints:
    """Sort the points of its cloud by distance from each centre, ties by index, and keep k."""
    index = np.zeros((len(centre), k), np.int64)
    for g in range(len(centre)):
        b = np.searchsorted(centre_ptr, g, side="right") - 1
        d2 = ((xyz[ptr[b] : ptr[b + 1]] - centre[g]) ** 2).sum(-1)
        index[g] = np.argsort(d2, kind="stable")[:k]
    return index


def three_nn(xyz: Floats, ptr: Ints, centre: Floats, centre_ptr: Ints) -> tuple[Ints, Floats]:
    """Sort its cloud's centres by distance from each point, keep 3, weight by 1 / (d2 + 1e-8)."""
    index = np.zeros(xyz.shape, np.int64)
    weight = np.zeros(xyz.shape, np.float32)
    for n in range(len(xyz)):
        b = np.searchsorted(ptr, n, side="right") - 1
        d2 = ((centre[centre_ptr[b] : centre_ptr[b + 1]] - xyz[n]) ** 2).sum(-1)
        near = np.argsort(d2, kind="stable")[:3]
        w = 1 / (d2[near].astype(np.float64) + 1e-8)
        index[n, : len(near)], weight[n, : len(near)] = near, w / w.sum()
    return index, weight


def fpfh(
    xyz: Floats,
    ptr: Ints,
    index: Ints,
    normal_neighbours: int = 30,
    normal_radius: float = 0.10,
    radius: float = 0.25,
) -> Doubles:
    """Bin three angles of each point and its neighbours, and add the neighbours' bins."""
    points = xyz.astype(np.float64)
    first = ptr[np.searchsorted(ptr, np.arange(len(xyz)), "right") - 1]
    near = [begin + some for begin, some in zip(first, index, strict=True)]
    d2 = [((points[n] - own) ** 2).sum(1) for n, own in zip(near, points, strict=True)]
    few = [n[d < normal_radius**2][:normal_neighbours] for n, d in zip(near, d2, strict=True)]
    near = [n[d < radius**2] for n, d in zip(near, d2, strict=True)]
    normals = [histograms.normal(points[n]) for n in few]
    simple = [histograms.simple(i, n, points, normals) for i, n in enumerate(near)]
    full = [histograms.full(i, n, points, simple) for i, n in enumerate(near)]
    return np.array(full, np.float64).reshape(-1, 33)


def interpolate(feature: Floats, start: Ints, index: Ints32, weight: Floats) -> Floats:
    """Add the weighted features that each row names."""
    return _interpolated(feature, start, index, weight).astype(np.float32)


def _interpolated(feature: Floats, start: Ints, index: Ints32, weight: Floats) -> Doubles:
    out = np.zeros((len(start) - 1, feature.shape[1]))
    for row, total in enumerate(out):
        for i in range(start[row], start[row + 1]):
            total += weight[i] * feature[index[i]].astype(np.float64)
    return out


def local_geometry(xyz: Floats, radii: Sequence[int]) -> Floats:
    """Fit a plane to the points of each square around each pixel."""
    out = np.zeros((*xyz.shape[:3], len(radii), 5), np.float32)
    for b, v, u in np.argwhere(~np.isnan(xyz).any(-1)):
        rows, columns = (slice(max(at - 1, 0), at + 2) for at in (v, u))
        near = xyz[b, rows, columns].reshape(-1, 3)
        middle = near[~np.isnan(near).any(-1)].astype(np.float64).mean(0)
        for i, r in enumerate(radii):
            p = xyz[b, max(v - r, 0) : v + r + 1, max(u - r, 0) : u + r + 1].reshape(-1, 3)
            out[b, v, u, i] = _plane_channels(p[~np.isnan(p).any(-1)].astype(np.float64), middle)
    return out.reshape(*xyz.shape[:3], 5 * len(radii))


def _plane_channels(points: Doubles, middle: Doubles) -> Doubles:
    """Return normal, bend and roughness of the plane through points, by solving for its slopes."""
    away = points - points.mean(0)
    moment = away.T @ away / len(away)
    size, area = moment[0, 0] + moment[1, 1], np.linalg.det(moment[:2, :2])
    flat = area > 1e-6 * size**2 and size > 1e-12
    slope = np.linalg.solve(moment[:2, :2], moment[:2, 2]) if flat else np.zeros(2)
    normal = np.append(slope, -1) / np.sqrt(1 + slope @ slope)
    off = [(middle - points.mean(0)) @ normal, np.sqrt(((away @ normal) ** 2).mean())]
    return np.array([*normal, *np.array(off) / np.sqrt(max(size, 1e-12))])


def pixel_weights(
    neighbour: Ints,
    neighbour_weight: Floats,
    point: Ints,
    first: Ints,
    tap: Floats,
    pixel: Ints,
    *,
    centres: int,
) -> tuple[Ints, Ints32, Floats]:
    """Spread the weights of each seen point's centres over the pixels that read it."""
    start, index, weight = [0], list[int](), list[float]()
    for r, c in zip(*divmod(pixel, len(tap)), strict=True):
        row: dict[int, float] = {}
        for i, j in np.ndindex(tap.shape[1], tap.shape[1]):
            y, x = first[r] + i, first[c] + j
            n = point[y, x] if 0 <= y < len(point) and 0 <= x < len(point) else -1
            for m, w in zip(neighbour[n], neighbour_weight[n], strict=True) if n >= 0 else ():
                if product := float(tap[r, i]) * float(tap[c, j]) * float(w):
                    row[int(m)] = row.get(int(m), 0.0) + product
        index.extend(sorted(row))
        weight.extend(row[m] for m in sorted(row))
        start.append(len(index))
    return np.array(start), np.array(index, np.int32), np.array(weight, np.float32)


def _hash64(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble a counter by the splitmix64 finaliser."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _plane_through(points: Floats) -> tuple[Doubles, bool]:
    """Fit (n, d) by least squares, d >= 0, and say whether the points span a plane."""
    mean = points.mean(0, dtype=np.float64)
    spread, axis = np.linalg.eigh((points - mean).T @ (points - mean))
    plane = np.append(axis[:, 0], -axis[:, 0] @ mean)
    return plane * (-1 if plane[3] < 0 else 1), bool(spread[1] > 1e-10 * spread[2])


def _near(xyz: Floats, plane: Doubles, threshold: float) -> npt.NDArray[np.bool_]:
    a, b, c, d = plane.astype(np.float32)
    distance = ((a * xyz[:, 0] + b * xyz[:, 1]) + c * xyz[:, 2]) + d
    return np.asarray(np.abs(distance) < np.float32(threshold))


def plane(
    xyz: Floats, threshold: float, *, samples: int = 3, tries: int = 1000, seed: int = 0
) -> tuple[Doubles, int]:
    """Try the planes through hashed draws, keep the first of the best supported, refit it."""
    first = _hash64(np.array([seed], np.uint64))
    with np.errstate(over="ignore"):
        counter = np.arange(tries * samples, dtype=np.uint64) + first
    draws = _hash64(counter) % np.uint64(len(xyz))
    best, support = np.zeros(4), -1
    for draw in draws.reshape(tries, samples):
        candidate, spans = _plane_through(xyz[draw])
        count = int(_near(xyz, candidate, threshold).sum())
        if spans and count > support:
            best, support = candidate, count
    refitted, spans = _plane_through(xyz[_near(xyz, best, threshold)])
    return refitted if spans else best, support


def clusters(xyz: Floats, eps: float, min_points: int) -> Ints:
    """Grow a cluster from each unlabelled core point, lowest first, through core points."""
    eps2 = np.float32(eps) * np.float32(eps)
    near = [np.flatnonzero(((xyz - p) ** 2).sum(-1) <= eps2) for p in xyz]
    core = np.array([len(n) >= min_points for n in near], bool)
    label = np.full(len(xyz), -1, np.int64)
    for first in np.flatnonzero(core):
        todo, number = [first] if label[first] < 0 else [], label.max() + 1
        while todo:
            point = todo.pop()
            if label[point] < 0:
                label[point] = number
                todo.extend(near[point] if core[point] else [])
    return label


def smooth(maps: Floats, sigma: float = 4.0) -> Floats:
    """Weight the pixels around each by a Gaussian cut at 4 sigma, the map mirrored at its edges."""
    radius = int(4 * sigma + 0.5)
    tap = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    pad = ((0, 0), (radius, radius), (radius, radius))
    padded = np.pad(maps.astype(np.float64), pad, mode="symmetric")
    for axis in (1, 2):
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(tap), axis)
        padded = windows @ (tap / tap.sum())
    return padded.astype(np.float32)


def box_cascade(maps: Floats) -> Floats:
    """Average over 5×5 pixels five times, then over 7×7 three times, zeros outside."""
    out = maps.astype(np.float64)
    for size in (5, 5, 5, 5, 5, 7, 7, 7):
        out = np.pad(out, ((0, 0), (size // 2, size // 2), (size // 2, size // 2)))
        windows = np.lib.stride_tricks.sliding_window_view(out, (size, size), (1, 2))
        out = windows.mean((-1, -2))
    return out.astype(np.float32)


def discrepancy(a: Numbers, b: Numbers) -> tuple[Floats, Floats]:
    """Divide each row by its length, at least 1e-12, and compare."""
    u, v = a.astype(np.float64), b.astype(np.float64)
    u /= np.maximum(np.sqrt((u**2).sum(-1, keepdims=True)), 1e-12)
    v /= np.maximum(np.sqrt((v**2).sum(-1, keepdims=True)), 1e-12)
    euclidean = np.sqrt(((u - v) ** 2).sum(-1))
    return euclidean.astype(np.float32), (1 - (u * v).sum(-1)).astype(np.float32)


def mapping(
    x: Numbers,
    first: Floats,
    bias1: Floats,
    middle: Floats,
    bias2: Floats,
    last: Floats,
    bias3: Floats,
) -> Doubles:
    """Apply three layers with GELU between, in float64."""
    gelu = np.vectorize(lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2, otypes=[float])
    for weight, bias in ((first, bias1), (middle, bias2)):
        x = gelu(x @ weight.astype(np.float64).T + bias)
    return np.asarray(x @ last.astype(np.float64).T + bias3, np.float64)


def mapping_discrepancy(
    source: Floats,
    source_start: Ints,
    source_index: Ints32,
    source_weight: Floats,
    target: Floats,
    target_start: Ints,
    target_index: Ints32,
    target_weight: Floats,
    first: Floats,
    bias1: Floats,
    middle: Floats,
    bias2: Floats,
    last: Floats,
    bias3: Floats,
    *,
    precision: str = "fp32",
) -> Floats:
    """Interpolate both modalities, map the source, and compare; in float64 in any case."""
    del precision
    seen = _interpolated(source, source_start, source_index, source_weight)
    observed = _interpolated(target, target_start, target_index, target_weight)
    predicted = mapping(seen, first, bias1, middle, bias2, last, bias3)
    return discrepancy(predicted, observed)[0]


def components(mask: npt.NDArray[np.bool_]) -> Ints:
    """Flood each component from its first pixel."""
    label = np.full(np.add(mask.shape, 2), -1, np.int64)
    label[1:-1, 1:-1][mask] = -2  # marked, not reached yet
    number = 0
    for first in np.argwhere(label == -2):
        todo = [tuple(first)]
        while todo:
            y, x = todo.pop()
            if label[y, x] == -2:
                label[y, x] = number
                todo += [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        number = label.max() + 1
    return label[1:-1, 1:-1][mask]


def knn(query: Numbers, bank: Numbers, k: int) -> tuple[Floats, Ints]:
    """Sort the rows of the bank by their distance from each query in float64 and keep k."""
    index = np.zeros((len(query), k), np.int64)
    distance = np.zeros((len(query), k), np.float32)
    rows = bank.astype(np.float64)
    for i, q in enumerate(query.astype(np.float64)):
        d2 = ((rows - q) ** 2).sum(-1)
        index[i] = np.argsort(d2, kind="stable")[:k]
        distance[i] = d2[index[i]]
    return distance, index


def coreset(
    rows: Floats,
    count: int,
    *,
    start: int = 0,
    progress: Callable[[], None] | None = None,
) -> Ints:
    """Pick the row farthest from those picked so far; distances are added up in 16 lanes."""
    x = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 16)))
    nearest, index = np.full(len(x), np.inf, np.float32), [start]
    while len(index) < count:
        lane = np.zeros((len(x), 16), np.float32)
        for d in range(0, x.shape[1], 16):
            lane += (x[:, d : d + 16] - x[index[-1], d : d + 16]) ** 2
        while lane.shape[1] > 1:
            lane = lane[:, : lane.shape[1] // 2] + lane[:, lane.shape[1] // 2 :]
        nearest = np.minimum(nearest, lane[:, 0])
        nearest[index] = -1
        index.append(int(nearest.argmax()))
    return np.array(index)


def count_between(
    score: Doubles,
    skip: npt.NDArray[np.bool_],
    level: Doubles,
    so_far: tuple[Ints, Ints] | None = None,
) -> tuple[Ints, Ints]:
    """Find each score's interval; count its scores, and those that equal its level."""
    kept = score[~skip]
    at = np.searchsorted(level, kept, side="right")
    count = np.bincount(at, minlength=len(level) + 1)
    tied = np.array([(kept == one).sum() for one in level], np.int64)
    return (count, tied) if so_far is None else (count + so_far[0], tied + so_far[1])


def pro_curve(
    maps: list[Doubles], masks: list[npt.NDArray[np.bool_]], thresholds: int | None = None
) -> tuple[Doubles, Doubles]:
    """Mark the pixels from each score on, or those above T scores of good pixels; count both."""
    pairs, labels = list(zip(maps, masks, strict=True)), [components(t) for t in masks]
    regions = [m[t][n == i] for (m, t), n in zip(pairs, labels, strict=True) for i in np.unique(n)]
    good = np.sort(np.concatenate([m[~t] for m, t in pairs]))
    if thresholds is None:
        level = np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]
        pro = [np.mean([(region >= v).mean() for region in regions]) for v in level]
        return np.append(0.0, [(good >= v).mean() for v in level]), np.append(0.0, pro)
    place = np.linspace(0, len(good) - 1, thresholds, dtype=int)[::-1]
    pro = [np.mean([(region > v).mean() for region in regions]) for v in good[place]]
    return np.append(1 - (place + 1) / len(good), 1.0), np.append(pro, 1.0)


def aupro(
    maps: list[Doubles],
    masks: list[npt.NDArray[np.bool_]],
    limits: tuple[float, ...] = (0.3, 0.1, 0.05, 0.01),
    thresholds: int | None = None,
) -> list[float]:
    """Add up the trapezoids below the curve, cut at the limit."""
    fpr, pro = pro_curve(maps, masks, thresholds)
    areas = np.zeros(len(limits))
    for x, y, end, top in zip(fpr[:-1], pro[:-1], fpr[1:], pro[1:], strict=True):
        for i, limit in enumerate(limits):
            width = min(end, limit) - x
            if width > 0:
                areas[i] += width * (y + (top - y) * width / (end - x) / 2)
    return list(areas / limits)
