"""What the readers of points share: numbers from text and bytes, and the order of the pixels."""

import re
import warnings

import numpy as np
import numpy.typing as npt

Size = tuple[int, int]
Points = npt.NDArray[np.generic]
Structured = npt.NDArray[np.void]

# What C libraries on Windows write for numbers that are none: 1.#QNAN, -1.#IND00, nan(snan). All
# but infinity are NaN, also where rounding has cut the word, as in 1.#R.
_NO_NUMBER = re.compile(rb"[+-]?(?:\d\.#(?P<word>\w*)|nan\(\w*\))", re.I)
_MEASURED = 16384
"""Pairs of pixels that the order is judged by."""
_ENOUGH = 256
"""Of them with points, below which nothing is said."""


def numbers(words: list[bytes]) -> npt.NDArray[np.float64]:
    """Read words as numbers; also Windows' spellings of NaN and infinity."""
    try:
        return np.array(words, np.float64)
    except ValueError:
        pass
    try:
        return np.array([_plain(word) for word in words], np.float64)
    except ValueError as error:
        raise ValueError(f"points must be numbers: {error}") from error


def _plain(word: bytes) -> bytes:
    if not (found := _NO_NUMBER.fullmatch(word)):
        return word
    infinite = (found["word"] or b"").upper().startswith(b"INF")
    return (b"-inf" if word.startswith(b"-") else b"inf") if infinite else b"nan"


def from_words(words: list[bytes], layout: np.dtype[np.void], count: int) -> Structured:
    """Parse the rows of a table in text.

    Args:
        words: of the table, and of nothing else.
        layout: fields of a row; their types do not matter, all become doubles.
        count: rows.

    Raises:
        ValueError: too few words, or a word that is no number.

    """
    lengths = lengths_of(layout)
    width = sum(lengths.values())
    if len(words) < count * width:
        raise ValueError(f"cut short: must hold {count} points, got {len(words) // width}")
    table = numbers(words)
    return table.view([(name, np.float64, (n,)) for name, n in lengths.items()])


def from_bytes(body: bytes, layout: np.dtype[np.void], count: int, at: int = 0) -> Structured:
    """Read the rows of a table from bytes, beginning at ``at``; raise ValueError on too few."""
    there = len(body) - at
    if there < count * layout.itemsize:
        raise ValueError(f"cut short: must hold {count} points, got {there // layout.itemsize}")
    return np.frombuffer(body, layout, count, at)


def lengths_of(layout: np.dtype[np.void]) -> dict[str, int]:
    """Return how many numbers each field holds."""
    return {name: int(np.prod(layout[name].shape)) for name in layout.names or ()}


def expect_end(left: int, what: str, body: bytes) -> None:
    """Raise ValueError where something is left over behind the last point.

    Args:
        left: how much is.
        what: is left, ``"bytes"`` or ``"numbers"``.
        body: everything behind the header.

    """
    if left:
        cause = (
            "it went through a transfer or program in text mode, which put a byte before each 0A"
            if through_text_mode(body)
            else "the header tells less than there is, or bytes were added on the way"
        )
        raise ValueError(f"{left} {what} are left over behind the last point: {cause}")


def through_text_mode(data: bytes) -> bool:
    """Tell whether each byte 0A has a 0D before it, which in binary data is no chance."""
    ends = data.count(b"\n")
    return ends >= 3 and data.count(b"\r\n") == ends


def xyz_of(points: Structured) -> Points:
    """Take the coordinates out of a structured array, (N, 3)."""
    names = points.dtype.names or ()
    if missing := [axis for axis in "xyz" if axis not in names]:
        raise ValueError(f"must have x, y and z, got no {', '.join(missing)}")
    return np.stack([points[axis].reshape(len(points)) for axis in "xyz"], -1)


def expect_row_order(points: Points) -> None:
    """Raise ValueError where points are surely stored column by column.

    In the wrong order the pixels one below the other are farther apart than those that the right
    order would put there. That their distance is not that of so many steps along a line excludes
    frames with a few long rows. Says nothing where there are few points, or as many rows as
    columns: then both orders have the same neighbours, see `warn_of_square`.

    Args:
        points: (H, W, 3) floats.

    """
    rows, columns = points.shape[:2]
    if rows == columns or min(rows, columns) < 2:
        return
    flat = points.reshape(-1, 3)
    near, across, below = (_steps(flat, step) for step in (1, rows, columns))
    if min(map(len, (near, across, below))) < _ENOUGH:
        return
    along, wrong, right = (
        float(np.median(np.linalg.norm(steps, axis=1))) for steps in (near, across, below)
    )
    if wrong < 0.8 * right and wrong < rows / 4 * along:
        raise ValueError(
            f"the points are stored column by column (pixels one below the other are {right:.3g} "
            f"apart, and {wrong:.3g} in that order); store them row by row, as the image's pixels"
        )


def warn_of_square(points: Points) -> None:
    """Warn where a square of points that names no order looks as if stored column by column.

    A sensor's x runs along the rows. Where it runs down the columns and y along the rows, the
    sensor is turned, or the points are the wrong way.

    Args:
        points: (H, W, 3) floats.

    """
    rows, columns = points.shape[:2]
    if rows != columns or rows < 2:
        return
    flat = points.reshape(-1, 3)
    across, below = _steps(flat, 1), _steps(flat, columns)
    if min(len(across), len(below)) < _ENOUGH:
        return
    (x_across, y_across, _), (x_below, y_below, _) = (
        np.median(np.abs(steps), axis=0) for steps in (across, below)
    )
    if x_below > 2 * x_across and y_across > 2 * y_below:
        warnings.warn(
            "points may be stored column by column: x runs down the image and y along its rows, "
            "and the file gives no width and height; if the sensor is not turned, store the points "
            "row by row",
            RuntimeWarning,
            stacklevel=2,
        )


def _steps(flat: Points, step: int) -> npt.NDArray[np.float64]:
    """Return the differences of points that lie so many places apart, drawn; (n, 3)."""
    if step >= len(flat):
        return np.zeros((0, 3))
    start = np.arange(len(flat) - step)
    if len(start) > _MEASURED:
        start = np.random.default_rng(0).choice(start, _MEASURED, replace=True)
    ends = np.asarray([flat[start], flat[start + step]], np.float64)
    there = np.isfinite(ends).all(axis=(0, 2)) & ends.any(axis=2).all(axis=0)
    steps: npt.NDArray[np.float64] = ends[1, there] - ends[0, there]
    # Places that a sensor fills with one value are no neighbours.
    return steps[steps.any(axis=1)]
