"""What a frame looks like in some hundred numbers, to be compared with training's."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor

from cmad.types import Frame

Floats = npt.NDArray[np.float64]

CELLS = 32
"""Along each side: what images and points are averaged in, to see whether they belong together."""
COARSE = 16
"""Along each side: the same, to be compared with other parts."""
REACH = 2.0
"""Deviations of the part's pixels from their mean that pictures of its shape reach."""
LEAST = 16
"""Points below which nothing is said of how they lie."""

TURNS = tuple((t, r, c) for t in (False, True) for r in (False, True) for c in (False, True))
"""The eight ways to turn and mirror a square: transpose, then reverse rows, then columns. The first
leaves it as it is."""


@dataclass(frozen=True, eq=False)
class Look:
    """Of one frame; what needs an image or points is empty where there are none."""

    numbers: dict[str, float]
    """``brightness`` and ``contrast``, mean and deviation of the image's luminance, 0 to 255;
    ``share`` of the grid's pixels that are the part's; ``pitch``, metres from one of these to the
    next; ``distance`` of their mean from the origin, and ``extent`` around it, metres."""
    directions: dict[str, Floats] = field(default_factory=dict)
    """(3,) unit vectors: where points lead along a row (``column``) and down a column (``row``) of
    the grid, where their mean is from the origin (``centre``), and the background plane's normal
    (``plane``)."""
    chroma: dict[str, Floats] = field(default_factory=dict)
    """Mean red minus blue, 0 to 255: (1,) of the ``image``; and where there are points (2,) of the
    part and of the rest (``apart``), 0 for what is empty."""
    pictures: dict[str, Floats] = field(default_factory=dict)
    """(COARSE, COARSE): the image's luminance (``rgb``), the share of valid pixels (``cover``), and
    what stands out of the part's mean plane (``relief``)."""
    registered: Floats | None = None
    """(8,) for each turn of the image, how much of it the points explain: R squared."""


def look(frame: Frame) -> Look:
    """Look at a frame; takes 1 to 3 ms for 224 pixels.

    Args:
        frame: its image, points that the sensor gave, and plane are looked at.

    """
    numbers: dict[str, float] = {}
    pictures: dict[str, Floats] = {}
    directions: dict[str, Floats] = {}
    cover = relief = rgb = registered = None
    chroma: dict[str, Floats] = {}
    if frame.xyz is not None and (seen := frame.seen) is not None:
        rows, columns = torch.nonzero(seen, as_tuple=True)
        numbers["share"] = len(rows) / seen.numel()
        cover = _cells(seen.float()[None])[0]
        if len(rows) >= LEAST:
            at = np.stack([columns.numpy(), rows.numpy()], 1).astype(np.float64)
            at -= at.mean(0)
            standing = _measure(frame.xyz[rows, columns], at, numbers, directions)
            pictures |= _centred(at, standing)
            image = torch.zeros(seen.shape, dtype=torch.float32)
            image[rows, columns] = torch.from_numpy(standing).float()
            relief = _cells(image[None])[0]
        if frame.plane is not None:
            directions["plane"] = np.array(frame.plane[:3])
    if frame.rgb is not None:
        rgb = _cells(frame.rgb.float())
        light = frame.rgb.float().mean(0)
        numbers["brightness"] = float(light.mean())
        numbers["contrast"] = float(light.std(correction=0))
        pictures["rgb"] = _coarse(rgb.mean(0))
        chroma["image"] = np.array([(rgb[0] - rgb[2]).mean()])
        if cover is not None:
            chroma["apart"] = _inside_and_outside(rgb[0] - rgb[2], cover)
    if rgb is not None and cover is not None and relief is not None:
        registered = _registered(rgb.mean(0), cover, relief)
    return Look(numbers, directions, chroma, pictures, registered)


def turned(array: Floats, turn: tuple[bool, bool, bool]) -> Floats:
    """Turn a square array (N, N)."""
    transpose, rows, columns = turn
    array = array.T if transpose else array
    return array[:: -1 if rows else 1, :: -1 if columns else 1]


def likeness(a: Floats, b: Floats) -> float:
    """Return the correlation of two arrays, 0 where one is constant."""
    a, b = a - a.mean(), b - b.mean()
    length = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / length if length > 0 else 0.0


def angle(a: Floats, b: Floats) -> float:
    """Return the angle between two unit vectors in degrees."""
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


def _measure(
    points: Tensor, at: Floats, numbers: dict[str, float], directions: dict[str, Floats]
) -> Floats:
    """Put down how the points lie; returns by how many pixels each (N,) stands out of their plane.

    That is of their distances from the origin, which no exchange or sign of coordinates changes.
    """
    p = points.double().numpy()
    centre = p.mean(0)
    away = np.sqrt((p * p).sum(1))
    values = np.column_stack([p - centre, away - away.mean()])
    gram = at.T @ at
    slope = np.linalg.lstsq(gram, at.T @ values, rcond=None)[0]  # (2, 4)
    length = np.linalg.norm(slope[:, :3], axis=1)
    numbers["distance"] = float(np.linalg.norm(centre))
    numbers["extent"] = float(np.sqrt((values[:, :3] ** 2).sum(1).mean()))
    if numbers["distance"] > 0:
        directions["centre"] = centre / numbers["distance"]
    pitch = float(np.sqrt(length.prod()))
    if not pitch > 0:
        return np.zeros(len(p))
    numbers["pitch"] = pitch
    directions["column"], directions["row"] = slope[:, :3] / length[:, None]
    standing: Floats = (values[:, 3] - at @ slope[:, 3]) / pitch
    return standing


def _centred(at: Floats, standing: Floats) -> dict[str, Floats]:
    """Draw where the part's pixels are, and how they stand out, whatever its place and size."""
    scale = COARSE / (2 * REACH * max(float(np.sqrt((at * at).sum(1).mean() / 2)), 1e-9))
    cell = np.clip(np.floor(at * scale + COARSE / 2), 0, COARSE - 1).astype(np.intp)
    place, shape = cell[:, 1] * COARSE + cell[:, 0], (COARSE, COARSE)
    cover: Floats = np.bincount(place, minlength=COARSE**2) * np.float64(scale**2)
    relief: Floats = np.bincount(place, standing, minlength=COARSE**2) * np.float64(scale**2)
    return {"cover": cover.reshape(shape), "relief": relief.reshape(shape)}


def _cells(image: Tensor) -> Floats:
    """Average (C, H, W) in cells; (C, CELLS, CELLS)."""
    return functional.adaptive_avg_pool2d(image, CELLS).double().numpy()


def _coarse(cells: Floats) -> Floats:
    """Average (CELLS, CELLS) further; (COARSE, COARSE)."""
    step = CELLS // COARSE
    coarse: Floats = cells.reshape(COARSE, step, COARSE, step).mean((1, 3))
    return coarse


def _inside_and_outside(values: Floats, weight: Floats) -> Floats:
    weights = np.stack([weight, 1 - weight])
    total = weights.sum((1, 2))
    means: Floats = (weights * values).sum((1, 2)) / np.maximum(total, 1e-9)
    return np.where(total >= 1, means, 0.0)


def _registered(light: Floats, cover: Floats, relief: Floats) -> Floats:
    """Explain an image by the points: where the part is, how it stands out, how it slopes."""
    down, along = np.gradient(relief)
    rest = [np.clip(a, -9, 9) * cover for a in (relief, down, along)]
    basis, _ = np.linalg.qr(np.stack([np.ones_like(cover), cover, *rest], -1).reshape(-1, 5))
    images = np.stack([turned(light, turn).ravel() for turn in TURNS], 1)
    images -= images.mean(0)
    total = np.maximum((images**2).sum(0), 1e-9)
    explained: Floats = ((basis.T @ images) ** 2).sum(0) / total
    return explained
