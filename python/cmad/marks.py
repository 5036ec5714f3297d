"""What sensors put where they saw nothing: spots and depths that many pixels share exactly.

Of an image of some million points nearly all are unlike each other, and most of what is here finds
that out quickly.
"""

import numpy as np
import numpy.typing as npt

MANY = 16
"""Pixels that share one value, from which on it may be a mark for missing points."""
COMMON = 10
"""Times as many pixels as values usually have; also times coarser numbers or larger images."""
GAP = 0.05
"""Metres between a mark near zero and the nearest surface."""


def marks(
    points: npt.NDArray[np.float32], present: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_] | None:
    """Tell which of the points that are there are marks; see `cmad.checks.no_point`.

    Args:
        points: (H, W, 3).
        present: (H, W), finite ones, N of them.

    Returns:
        (N,), or None where none is.

    """
    z = points[..., 2][present]
    value, count = _counted(z)
    shared = value[count >= MANY]
    if len(shared) == 0:  # as for floats that a sensor measured: only the sorting is paid for
        return None
    marked = _crowded(points, present, z, shared, int(count[count >= MANY].sum()))
    if marked is not None:
        value, count = _counted(z[~marked])
    impossible = _impossible(value, count)
    if not impossible:
        return marked
    marked = np.zeros(len(z), np.bool_) if marked is None else marked
    marked[~marked] = np.isin(z[~marked], impossible)
    return marked


def _counted(z: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """Return the values of z, ascending, and how often each comes."""
    ordered = np.sort(z)
    first = np.append(np.zeros(min(1, len(z)), np.intp), np.flatnonzero(np.diff(ordered)) + 1)
    return ordered[first], np.diff(first, append=len(z))


def _crowded(
    points: npt.NDArray[np.float32],
    present: npt.NDArray[np.bool_],
    z: npt.NDArray[np.float32],
    shared: npt.NDArray[np.float32],
    sharing: int,
) -> npt.NDArray[np.bool_] | None:
    """Tell which points lie exactly where many others do, and many more than usual.

    Args:
        points: (H, W, 3).
        present: (H, W), N of them.
        z: (N,), theirs.
        shared: those values of z that many have.
        sharing: points that have one of these.

    Returns:
        (N,), or None where none does.

    """
    # Equal points have equal buckets; where all buckets are small, no point has many others.
    bucket = _buckets(points)[present]
    size = np.bincount(bucket)
    if size.max() < MANY:
        return None
    among = np.flatnonzero(size[bucket] >= MANY)
    words = _words(points[present][among])
    _, group, count = np.unique(words, return_inverse=True, return_counts=True)
    # Those alone in their buckets are alone; where most are, that is usual.
    alone = np.count_nonzero(size == 1) - (len(z) - sharing)
    usual = 1.0
    if 2 * alone <= sharing:
        of_shared = points[present][np.isin(z, shared)]
        counts = np.unique(_words(of_shared), return_counts=True)[1]
        usual = float(np.median(counts)) if len(counts) > 2 else 1.0
    marked = np.zeros(len(z), np.bool_)
    marked[among] = (count >= max(MANY, COMMON * usual))[group.ravel()]
    return marked if marked.any() else None


def _buckets(points: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Return a number for each of N points (H, W, 3), some 2 N there are: the same for the same."""
    x, y, z = (points[..., axis].view(np.uint32) for axis in range(3))
    # Even factors drop the sign, which 0 has none of.
    word = (x * np.uint32(0x9E3779B2) ^ y * np.uint32(0x85EBCA78)) + z * np.uint32(0xC2B2AE3E)
    return np.asarray(word >> np.uint32(max(10, 31 - z.size.bit_length())))


def _words(points: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """Return a number (N,) for each point (N, 3), another for another point.

    96 bits become 64: of a million points, two share one by chance once in 10^7 images.
    """
    # Adding 0 makes one number of 0 and -0.
    x, y, z = (points + np.float32(0)).view(np.uint32).astype(np.uint64).T
    word = x * np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(29))) + y * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(32))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(word + z)


def _impossible(value: npt.NDArray[np.float32], count: npt.NDArray[np.intp]) -> list[float]:
    """Return those of many equal values of z, ascending with their counts, that no surface has."""
    found: list[float] = []
    zero = value == 0
    if zero.any() and count[zero][0] >= MANY:
        others = count[~zero]
        # Among measured floats it stands out; among the steps of a coarse camera it does not.
        if len(others) == 0 or count[zero][0] >= COMMON * others.max():
            found.append(0.0)
            value, count = value[~zero], others
    while len(value) > 1:
        # Only the ends, and what is nearest to the camera, may be apart from all surfaces.
        ends = dict.fromkeys((0, len(value) - 1, int(np.abs(value).argmin())))
        wrong = next((i for i in ends if count[i] >= MANY and _apart(value, count, i)), None)
        if wrong is None:
            break
        found.append(float(value[wrong]))
        value, count = np.delete(value, wrong), np.delete(count, wrong)
    return found


def _apart(value: npt.NDArray[np.float32], count: npt.NDArray[np.intp], i: int) -> bool:
    """Tell whether a z is at the camera, behind it, or far behind all others."""
    z, others = float(value[i]), np.delete(value, i).astype(np.float64)
    total = np.delete(count, i).cumsum()
    usual = float(others[np.searchsorted(total, total[-1] / 2)])
    gap = float(np.abs(others - z).min())
    at_camera = abs(z) <= 0.01 * abs(usual)
    behind = z * usual < 0 and bool((others * usual > 0).all())
    beyond = abs(z) > np.abs(others).max() and gap >= max(1.0, abs(usual))
    return gap >= GAP and (at_camera or behind or beyond)
