"""Arrays as text within a page: small, exact where they are numbers, decoded by any browser.

Numbers are compressed by zlib, which browsers undo by themselves (DecompressionStream), pictures
are WebP, both in base64.
"""

import base64
import io
import math
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, features

LONGEST = 800
"""Pixels along the longer side of a picture in a page, at most."""
POINTS = 40_000
"""Of a cloud in a page, about, at most: as many as a canvas of 600 x 600 pixels tells apart."""
MARKED = 128
"""First code of a map above its unit; below stand the codes of what is not."""
LEVEL = 6
"""Of zlib: 9 takes ten times as long for 1 % less."""
QUALITY = 82
NOWHERE = -32768
"""Coordinate of a pixel without a point."""

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points of every ``step``-th row and column, as whole numbers."""

    xyz: npt.NDArray[np.int16]
    """(h, w, 3); ``NOWHERE`` where there is no point."""
    step: int
    unit: float
    """Metres per step of the numbers."""
    origin: tuple[float, float, float]
    """Metres, of the number 0."""


def text_of(data: bytes) -> str:
    """Return bytes in base64."""
    return base64.b64encode(data).decode("ascii")


def packed(numbers: npt.NDArray[np.generic]) -> str:
    """Compress whole numbers of 8 or 16 bits, (H, W) or (H, W, C).

    Written are the differences to the left neighbour of each row, modulo their range, channel by
    channel; of 16 bits first all low bytes, then all high ones.
    """
    planes = np.moveaxis(numbers[..., None] if numbers.ndim == 2 else numbers, -1, 0)
    unsigned = np.ascontiguousarray(planes).view(f"u{planes.dtype.itemsize}")
    differences = np.diff(unsigned, axis=-1, prepend=unsigned.dtype.type(0))
    if differences.dtype.itemsize == 1:
        return text_of(zlib.compress(differences.tobytes(), LEVEL))
    low, high = differences & 0xFF, differences >> 8
    return text_of(zlib.compress(np.stack([low, high]).astype(np.uint8).tobytes(), LEVEL))


def unpacked(
    text: str, shape: tuple[int, ...], kind: type[np.generic] = np.uint8
) -> npt.NDArray[np.generic]:
    """Undo `packed`, as the page does."""
    data = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    channels = shape[2] if len(shape) == 3 else 1
    planes = data.reshape(-1, channels, *shape[:2])
    wide = planes[0].astype(f"u{np.dtype(kind).itemsize}")
    if len(planes) == 2:
        wide |= planes[1].astype(np.uint16) << 8
    whole = np.cumsum(wide, axis=-1, dtype=wide.dtype).view(kind)
    return np.moveaxis(whole, 0, -1).reshape(shape)


def picture(image: Image.Image, longest: int = LONGEST) -> str:
    """Return a picture as a data URL, reduced where it is larger."""
    image = image.copy()
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    kind = "WEBP" if features.check("webp") else "JPEG"
    written = io.BytesIO()
    image.save(written, kind, quality=QUALITY)
    return f"data:image/{kind.lower()};base64,{text_of(written.getvalue())}"


def reduced(values: npt.NDArray[np.generic], longest: int = LONGEST) -> npt.NDArray[np.generic]:
    """Take the largest value of blocks (H, W), so that the longer side is at most ``longest``."""
    step = math.ceil(max(values.shape) / longest)
    if step == 1:
        return values
    for axis in (0, 1):
        values = np.maximum.reduceat(values, np.arange(0, values.shape[axis], step), axis)
    return values


def codes(map_: Floats, unit: float) -> npt.NDArray[np.uint8]:
    """Quantise a map: 0 to 127 for values of 0 to ``unit``, 128 to 255 above it to twice that.

    A code is 128 or more if and only if the value is above ``unit``, so that what is marked is the
    same in the page to the last pixel.
    """
    share = np.nan_to_num(np.asarray(map_, np.float64) / unit, nan=2.0, posinf=2.0)
    steps = np.floor(np.clip(share, 0, 2) * MARKED).astype(np.int64)
    # Compared as `regions.find` does: rounding of the quotient must not move a pixel across.
    above = ~(map_ <= unit)
    return np.where(above, np.clip(steps, MARKED, 255), np.minimum(steps, MARKED - 1)).astype(
        np.uint8
    )


def cloud(xyz: Floats, points: int = POINTS) -> Cloud | None:
    """Thin organised points (H, W, 3), metres, and make them whole numbers; None of none.

    Stray points, farther out than half the extent of all but the outermost thousandth, are left
    out: a single one must not take the precision from the others.
    """
    every = np.asarray(xyz, np.float64)
    valid = np.isfinite(every).all(-1) & (np.where(np.isfinite(every), every, 0) != 0).any(-1)
    if not valid.any():
        return None
    step = max(1, math.ceil(math.sqrt(valid.sum() / points)))
    some, there = every[::step, ::step], valid[::step, ::step].copy()
    if not there.any():  # a few single points
        step, some, there = 1, every, valid.copy()
    low, high = np.quantile(some[there], [0.001, 0.999], axis=0)
    margin = (high - low).max() / 2 + 1e-6
    there &= ((some >= low - margin) & (some <= high + margin)).all(-1)
    middle = (low + high) / 2
    unit = float(((high - low).max() / 2 + margin) / 32000)
    numbers = np.round((np.where(there[..., None], some, middle) - middle) / unit)
    x, y, z = middle.tolist()
    whole = np.where(there[..., None], numbers, NOWHERE).astype(np.int16)
    return Cloud(whole, step, unit, (x, y, z))
