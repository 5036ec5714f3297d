"""Draws small parts for the writers of data sets: an embossed plate on a table, with a defect."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

KINDS = ("bulge", "hole", "stain")

WIDTH = 80.0  # of the view, millimetres
DISTANCE = 400.0  # from the camera to the table, millimetres
THICKNESS = 14.0  # of the plate
HALF = 0.30, 0.36  # its size across and along, in parts of the view


@dataclass(frozen=True)
class Plate:
    """What the cameras see of one part."""

    rgb: npt.NDArray[np.uint8]
    """(S, S, 3)."""
    xyz: npt.NDArray[np.float32]
    """(S, S, 3), millimetres, x to the right, y down, z forward; NaN where there is no point."""
    mask: npt.NDArray[np.bool_]
    """(S, S), the defect."""


def render(rng: np.random.Generator, kind: str, size: int) -> Plate:
    """Draw one part.

    Args:
        rng: of all that varies.
        kind: ``"good"`` or one of ``KINDS``.
        size: pixels along each side.

    Returns:
        The part.

    """
    at = (np.arange(size) + 0.5) / size - 0.5
    shift, turn = rng.uniform(-0.02, 0.02, 2), rng.uniform(-0.1, 0.1)
    u, v = at - shift[0], at[:, None] - shift[1]
    across, along = np.cos(turn) * u + np.sin(turn) * v, np.cos(turn) * v - np.sin(turn) * u
    edge = np.maximum(np.abs(across) / HALF[0], np.abs(along) / HALF[1])
    plate = np.clip((1 - edge) / 0.04, 0, 1)
    pattern = np.cos(40 * across) * np.cos(32 * along)
    height = plate * (THICKNESS + 1.5 * pattern)
    spot = rng.uniform(-0.6, 0.6, 2) * HALF
    distance = np.hypot(across - spot[0], along - spot[1]) / rng.uniform(0.05, 0.07)
    amount = np.clip(1 - distance**2, 0, 1) * (kind != "good")
    height = height + {"bulge": 6.0, "hole": -8.0}.get(kind, 0.0) * amount
    colour = (0.45 + 0.2 * pattern)[..., None] * np.array([0.9, 0.7, 0.5])
    if kind == "stain":
        colour += np.clip(3 * amount, 0, 1)[..., None] * (np.array([0.1, 0.15, 0.4]) - colour)
    slope = np.gradient(height, WIDTH / size, axis=1)
    shown = np.where(plate[..., None] > 0, colour, 0.15) * (1 - 0.25 * np.tanh(slope))[..., None]
    shown = shown + 0.01 * rng.standard_normal((size, size, 3))
    z = DISTANCE - height + 0.02 * rng.standard_normal((size, size))
    column, row = np.broadcast_arrays(at, at[:, None])
    xyz = np.stack([WIDTH * column * z / DISTANCE, WIDTH * row * z / DISTANCE, z], -1)
    xyz[rng.random((size, size)) < 0.01] = np.nan
    rgb = np.round(255 * np.clip(shown, 0, 1)).astype(np.uint8)
    return Plate(rgb, xyz.astype(np.float32), amount > 0)
