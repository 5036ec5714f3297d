"""Writes small data sets in the layout of Eyecandies: rendered candies on a conveyor.

Nothing of the data set is in them. Lengths are in its units; a candy is about one wide.
"""

import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.floating]

KINDS = ("bump", "dent", "colour")
FILES = {"bump": "bumps", "dent": "dents", "colour": "colors", "normal": "normals"}

FOCAL = 711.11 / 512  # image widths, as in the data set
DISTANCE = 2.8  # from the camera to the middle of the belt
ELEVATION = np.radians(66)  # of the camera above the belt
HALF_BELT = 1.03  # beside it are rails
RAIL = 0.12  # their height
HALF_LENGTH, HALF_WIDTH, HEIGHT = 0.46, 0.36, 0.27  # of a candy
LAMP = np.array([-0.7, 0.2, 0.7])  # the left spotlight, towards it: right, ahead, up


def write(
    root: Path,
    category: str = "Candy",
    *,
    train: int = 6,
    validation: int = 4,
    good: int = 3,
    kinds: tuple[str, ...] = KINDS,
    size: int = 128,
    seed: int = 0,
) -> Path:
    """Write one category.

    Args:
        root: folder that is to hold the category.
        category: name of its folder.
        train: how many parts in ``train``, all good.
        validation: how many in ``val``, all good.
        good: how many good parts in ``test_public``; they come first.
        kinds: of the defective parts in ``test_public``: ``"bump"``, ``"dent"``, ``"colour"``.
        size: of the images, pixels along each side.
        seed: of all that varies.

    Returns:
        The category's folder.

    """
    plan = {"train": ["good"] * train, "val": ["good"] * validation}
    plan["test_public"] = ["good"] * good + list(kinds)
    for split, wanted in plan.items():
        folder = root / category / split / "data"
        folder.mkdir(parents=True)
        digits = len(str(max(len(wanted) - 1, 0)))  # as in the data set: 000 of 1000, 00 of 50
        for i, kind in enumerate(wanted):
            rng = np.random.default_rng([seed, zlib.crc32(f"{category}/{split}".encode()), i])
            _write_part(folder / f"{i:0{digits}d}", *render(rng, kind, size), kind)
    return root / category


def render(rng: np.random.Generator, kind: str, size: int) -> tuple[Floats, Floats, Floats]:
    """Draw one part.

    Args:
        rng: of all that varies.
        kind: ``"good"`` or one of ``KINDS``.
        size: pixels along each side.

    Returns:
        Depth along the optical axis (S, S), colours in [0, 1] (S, S, 3), and how much of the defect
        is where (S, S), 0 outside.

    """
    part = _Part(rng, kind)
    # Rays in belt coordinates: right, ahead (up in the image), up; one unit of depth long.
    grid = (np.arange(size) - size / 2) / (FOCAL * size)
    rotation = pose()[:3, :3]
    camera = np.stack(np.broadcast_arrays(grid, grid[:, None], 1.0), -1)
    ray = camera @ rotation.T
    eye = pose()[:3, 3]
    height: Floats = np.zeros((size, size))
    for _ in range(30):  # the rays are steeper than the candy's flanks: the error shrinks each time
        depth = (height - eye[2]) / ray[..., 2]
        right, ahead = (eye[i] + depth * ray[..., i] for i in (0, 1))
        height = part.height(right, ahead)
    # The rails stand on the belt's edges; their flanks are not seen.
    over = (RAIL - eye[2]) / ray[..., 2]
    rail = np.abs(eye[0] + over * ray[..., 0]) > HALF_BELT
    depth = np.where(rail, over, depth)
    colour, amount = part.colour(right, ahead), part.amount(right, ahead)
    colour = np.where(rail[..., None], 0.55, colour)
    light = np.where(rail, 0.9, _lit(right, ahead, part))
    noise = 0.01 * rng.standard_normal((size, size, 1))
    return depth, np.clip(colour * light[..., None] + noise, 0, 1), np.where(rail, 0, amount)


def pose() -> npt.NDArray[np.float64]:
    """Return the camera in the belt's frame (right, ahead, up), (4, 4), columns x, y and z."""
    cos, sin = np.cos(ELEVATION), np.sin(ELEVATION)
    matrix = np.eye(4)
    matrix[:3, :3] = [[1, 0, 0], [0, -sin, cos], [0, -cos, -sin]]
    matrix[:3, 3] = [0, -DISTANCE * cos, DISTANCE * sin]
    return matrix


class _Part:
    """A domed candy with a swirl in colour and relief, and its defect."""

    def __init__(self, rng: np.random.Generator, kind: str) -> None:
        self.kind = kind
        self.at = rng.uniform(-0.04, 0.04, 2)
        self.turn = rng.uniform(-0.15, 0.15)
        self.scale, self.shade = rng.uniform(0.97, 1.03), rng.uniform(0.96, 1.04)
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.5)
        self.spot = far * HALF_LENGTH * np.cos(angle), far * HALF_WIDTH * np.sin(angle)
        self.radius = rng.uniform(0.09, 0.13)

    def amount(self, right: Floats, ahead: Floats) -> Floats:
        """Return how much of the defect is there: 0 outside, 1 in its middle."""
        if self.kind == "good":
            return np.zeros_like(right)
        u, v = self._on_part(right, ahead)
        inside = 1 - ((u - self.spot[0]) ** 2 + (v - self.spot[1]) ** 2) / self.radius**2
        amount: Floats = np.clip(inside, 0, 1) * (self._outline(u, v) < 1)
        return amount

    def height(self, right: Floats, ahead: Floats) -> Floats:
        u, v = self._on_part(right, ahead)
        dome = HEIGHT * np.clip(1 - self._outline(u, v), 0, None)
        relief = 0.012 * self._swirl(u, v) * np.clip(dome / 0.05, 0, 1)
        rise = {"bump": 0.06, "dent": -0.06}.get(self.kind, 0.0)
        total: Floats = dome + relief + rise * self.amount(right, ahead)
        return total

    def colour(self, right: Floats, ahead: Floats) -> Floats:
        u, v = self._on_part(right, ahead)
        stripe = (1 + self._swirl(u, v))[..., None] / 2
        sugar = stripe * np.array([0.9, 0.86, 0.8]) + (1 - stripe) * np.array([0.75, 0.12, 0.15])
        if self.kind == "colour":
            stained = np.clip(3 * self.amount(right, ahead), 0, 1)[..., None]
            sugar = sugar + stained * (np.array([0.15, 0.3, 0.5]) - sugar)
        belt = np.full(3, 0.16)
        shown: Floats = self.shade * np.where(self._outline(u, v)[..., None] < 1, sugar, belt)
        return shown

    def _on_part(self, right: Floats, ahead: Floats) -> tuple[Floats, Floats]:
        x, y = (right - self.at[0]) / self.scale, (ahead - self.at[1]) / self.scale
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return cos * x + sin * y, cos * y - sin * x

    def _outline(self, u: Floats, v: Floats) -> Floats:
        squared: Floats = (u / HALF_LENGTH) ** 2 + (v / HALF_WIDTH) ** 2
        return squared

    def _swirl(self, u: Floats, v: Floats) -> Floats:
        swirl: Floats = np.sin(6 * np.arctan2(v, u) + 9 * np.hypot(u, v))
        return swirl


def _lit(right: Floats, ahead: Floats, part: _Part) -> Floats:
    """Return the light on the surface, by the slopes of its height."""
    step = 1e-3
    across = (part.height(right + step, ahead) - part.height(right - step, ahead)) / (2 * step)
    along = (part.height(right, ahead + step) - part.height(right, ahead - step)) / (2 * step)
    facing = (LAMP[2] - across * LAMP[0] - along * LAMP[1]) / np.sqrt(1 + across**2 + along**2)
    light: Floats = 0.35 + 0.65 * np.clip(facing / np.linalg.norm(LAMP), 0, None)
    return light


def _write_part(stem: Path, depth: Floats, colour: Floats, amount: Floats, kind: str) -> None:
    low, high = float(depth.min()), float(depth.max())
    steps = np.round((depth - low) / (high - low) * 65535).astype(np.uint16)
    _save(stem, "image_4", np.round(255 * colour).astype(np.uint8))
    _save(stem, "depth", steps)
    mask = np.where(amount > 0, 255, 0).astype(np.uint8)
    _save(stem, "mask", mask)
    for one, file in FILES.items():
        _save(stem, f"{file}_mask", mask if one == kind else np.zeros_like(mask))
    _text(stem, "info_depth.yaml", f"normalization:\n  max: {high!r}\n  min: {low!r}\n")
    _text(stem, "metadata.yaml", f"anomalous: {int(kind != 'good')}\n")
    _text(stem, "pose.txt", "\n".join(" ".join(f"{n:.18e}" for n in row) for row in pose()) + "\n")


def _save(stem: Path, name: str, image: npt.NDArray[np.generic]) -> None:
    Image.fromarray(image).save(stem.with_name(f"{stem.name}_{name}.png"))


def _text(stem: Path, name: str, text: str) -> None:
    stem.with_name(f"{stem.name}_{name}").write_text(text, encoding="utf-8")
