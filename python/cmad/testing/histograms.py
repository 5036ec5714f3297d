"""The steps of `reference.fpfh`, for one point each."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BINS = 11


def normal(points: Doubles) -> Doubles:
    """Return the direction of the smallest spread, (0, 0, 1) of fewer than three points."""
    if len(points) < 3:
        return np.array([0.0, 0.0, 1.0])
    mean = points.mean(0)
    vector = smallest_vector(points.T @ points / len(points) - np.outer(mean, mean))
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length > 0 else [0.0, 0.0, 1.0])


def smallest_vector(a: Doubles) -> Doubles:
    """Return the eigenvector of the smallest eigenvalue, in closed form, with its sign."""
    largest = np.abs(a).max()
    if largest == 0:
        return np.zeros(3)
    a = a / largest
    beside = a[0, 1] ** 2 + a[0, 2] ** 2 + a[1, 2] ** 2
    if beside == 0:
        least = [i for i in (0, 1) if all(a[i, i] < a[j, j] for j in range(3) if j != i)]
        return np.asarray(np.eye(3)[least[0] if least else 2], np.float64)
    q = np.trace(a) / 3
    b = a - q * np.eye(3)
    p = math.sqrt((np.square(b).sum()) / 6)
    half = min(max(float(np.linalg.det(b / p)) / 2, -1), 1)
    angle = math.acos(half) / 3
    high, low = 2 * math.cos(angle), 2 * math.cos(angle + 2 * math.pi / 3)
    value = q + p * np.array([low, -(low + high), high])
    if half < 0:
        return _across(a, value[0])
    last = _across(a, value[2])
    return np.asarray(np.cross(_middle(a, last, value[1]), last))


def _across(a: Doubles, value: float) -> Doubles:
    """Cross the rows of a - value; the longest of three, of length 1."""
    rows = a - value * np.eye(3)
    crossed = np.array([np.cross(rows[i], rows[j]) for i, j in ((0, 1), (0, 2), (1, 2))])
    longest = crossed[int(np.argmax((crossed**2).sum(1)))]
    return np.asarray(longest / np.linalg.norm(longest))


def _middle(a: Doubles, other: Doubles, value: float) -> Doubles:
    """Return an eigenvector in the plane across another."""
    x, y, z = other
    u = np.array([-z, 0, x] if abs(x) > abs(y) else [0, z, -y])
    u = u / np.linalg.norm(u)
    v = np.cross(other, u)
    uu, uv, vv = u @ a @ u - value, u @ a @ v, v @ a @ v - value
    # In that plane a - value has rank 1; the vector is across its longer row.
    by_u = abs(uu) >= abs(vv)
    own = uu if by_u else vv
    lead = own if abs(own) >= abs(uv) else uv
    if lead == 0:
        return np.asarray(u, np.float64)
    own, uv = np.array([own, uv]) / lead / math.hypot(own / lead, uv / lead)
    found: Doubles = uv * u - own * v if by_u else own * u - uv * v
    return found


def simple(i: int, near: Ints, points: Doubles, normals: Sequence[Doubles]) -> Doubles:
    """Count the bins of a point and its neighbours but the first, in per cent."""
    count = np.zeros((3, BINS))
    for j in near[1:]:
        for angle, share in enumerate(shares(points[i], normals[i], points[j], normals[j])):
            count[angle, min(max(math.floor(BINS * share), 0), BINS - 1)] += 1
    return count.ravel() * (100 / max(len(near) - 1, 1))


def shares(p1: Doubles, n1: Doubles, p2: Doubles, n2: Doubles) -> tuple[float, float, float]:
    """Return three angles of a pair, each as a share of its range."""
    line = p2 - p1
    length = float(np.linalg.norm(line))
    if length == 0:
        return 0.5, 0.5, 0.5
    along = [n1 @ line / length, n2 @ line / length]
    if abs(along[0]) < abs(along[1]):
        n1, n2, line, along = n2, n1, -line, [-along[1]]
    v = np.cross(line, n1)
    if not v.any():
        return 0.5, 0.5, 0.5
    v /= np.linalg.norm(v)
    turn = math.atan2(np.cross(n1, v) @ n2, n1 @ n2)
    across = float(v @ n2)
    return (turn + math.pi) / (2 * math.pi), (across + 1) / 2, (float(along[0]) + 1) / 2


def full(i: int, near: Ints, points: Doubles, histogram: Sequence[Doubles]) -> Doubles:
    """Add the neighbours' bins, weighted by 1 / distance², scaled to 100 for each angle."""
    total = np.zeros((3, BINS))
    for j in near[1:]:
        d2 = float(((points[j] - points[i]) ** 2).sum())
        total += histogram[j].reshape(3, BINS) / d2 if d2 else 0
    sums = total.sum(1, keepdims=True)
    return (100 * total / np.where(sums, sums, 1)).ravel() + histogram[i]
