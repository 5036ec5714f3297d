"""Synthetic parts: a moulded cover on a conveyor, seen by a camera with registered 3D points."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from cmad.datasets._cover import KINDS, Defect, Floats, belt_colour, body_of, outline_of, relief_of
from cmad.datasets.files import LazySamples
from cmad.types import Sample

SPLITS = ("train", "validation", "test")

DISTANCE = 0.5  # metres from the camera to the belt
NOISE = 1e-4  # metres, standard deviation along the optical axis
STEP = 2.0**-16  # metres, resolution of the depth


class Synthetic(LazySamples):
    """Parts of one class, made when they are asked for, with planted defects of four kinds.

    A moulded cover, about 8 x 6 cm and 17 mm high, lies on a matte belt half a metre below the
    camera, with a raised dark ring, a painted boss, ribs and a leather grain: colour follows
    relief, the same way on every part. Pose, lighting, shade and height vary a little from part to
    part. Colour and depth are noisy, and points are missing singly, in spots, on steep flanks and
    where the part hides the belt from the projector.

    Defects, 6 to 14 mm across (a scratch is as long and about 2 mm wide): ``"hole"`` and ``"bump"``
    change the points, and the colour by their shading; ``"stain"`` changes the colour only;
    ``"scratch"`` is a thin bright groove in both. The mask is where the defect was planted.

    A part depends on seed, split, kind and its number only: not on the others asked for, and no
    part occurs in two splits.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        good: int = 24,
        defective: int = 0,
        size: tuple[int, int] = (400, 400),
        seed: int = 0,
    ) -> None:
        """Describe the parts; makes none of them.

        Args:
            split: ``"train"``, ``"validation"`` or ``"test"``.
            good: how many parts without defect; they come first.
            defective: how many parts with one defect each, its kinds in turn.
            size: (H, W) in pixels, each at least 64.
            seed: of all that varies, 0 or more.

        Raises:
            ValueError: an argument is out of range.

        """
        if split not in SPLITS:
            raise ValueError(f"Synthetic: split must be one of {', '.join(SPLITS)}, got {split!r}")
        if good < 0 or defective < 0 or seed < 0:
            raise ValueError(
                f"Synthetic: needs good, defective and seed >= 0, got {good}, {defective}, {seed}"
            )
        if len(size) != 2 or min(size) < 64:
            raise ValueError(f"Synthetic: size must be (H, W), each at least 64, got {size}")
        self._size = size
        kinds = [(i, "good", i) for i in range(good)]
        kinds += [(i, KINDS[i % len(KINDS)], i // len(KINDS)) for i in range(defective)]
        entropy = (seed, SPLITS.index(split))
        names = [f"{split}/{kind}/{n:03d}" for _, kind, n in kinds]
        sources = [
            partial(make, (*entropy, int(kind != "good"), i), kind, size, name)
            for (i, kind, _), name in zip(kinds, names, strict=True)
        ]
        super().__init__(sources, names)
        self.source = f"synthetic parts, {split}"

    @property
    def intrinsics(self) -> Floats:
        """The camera's (3, 3) matrix [[f, 0, cx], [0, f, cy], [0, 0, 1]], in pixels.

        The point at row r and column c is z * ((c - cx) / f, (r - cy) / f, 1).
        """
        return camera(self._size)


def camera(size: tuple[int, int]) -> Floats:
    """Return the intrinsics that show the part on about a fifth of a frame of this size."""
    height, width = size
    # At the belt the frame has the area of a 14 cm square, but no side under 10.5 cm.
    pixel = max(0.140 / (height * width) ** 0.5, 0.105 / min(size))
    focal = DISTANCE / pixel
    # Off the pixel raster, so that no ray has a coordinate of exactly 0.
    return np.array([[focal, 0, width / 2 - 0.2], [0, focal, height / 2 - 0.8], [0, 0, 1]])


def make(entropy: Sequence[int], kind: str, size: tuple[int, int], name: str = "") -> Sample:
    """Make one part; with the same entropy, kinds differ by the defect alone.

    Args:
        entropy: seeds of the random generators.
        kind: one of ``KINDS``, or ``"good"``.
        size: (H, W) pixels.
        name: of the sample.

    """
    look, chance, noise = (np.random.default_rng([*entropy, stream]) for stream in range(3))
    scene = _Scene(look, size)
    u, v, on_part = scene.u, scene.v, scene.outline < 1
    height, albedo = relief_of(look, u, v, scene.outline, scene.body)
    albedo = np.where(on_part[..., None], albedo, belt_colour(look, u, v))

    defect = Defect(chance, kind)
    amount = defect.amount(u, v) * on_part
    z = scene.depth(height + defect.rise * amount)
    normal = scene.normals(z)
    rgb = scene.shade(defect.colour(albedo, amount), normal)

    grain = noise.standard_normal((4, *size), dtype=np.float32)
    z = np.round((z + NOISE * grain[3]) / STEP) * STEP
    z[scene.unseen(normal) | _dropouts(noise, size, scene.focal / DISTANCE * 1e-3)] = 0
    xyz = np.stack([scene.x * z, scene.y * z, z], -1).astype(np.float32)
    rgb = np.clip(rgb + 0.012 * np.moveaxis(grain[:3], 0, -1), 0, 1)
    return Sample(np.round(255 * rgb).astype(np.uint8), xyz, amount > 0, kind, name)


class _Scene:
    """Where camera, belt, part, lamp and projector are; u, v and heights are in millimetres."""

    PROJECTOR = np.array([-0.33, 0.05, -1.0])  # towards it, in camera coordinates
    LAMP = np.array([-0.5, -0.6, -1.0])

    def __init__(self, look: np.random.Generator, size: tuple[int, int]) -> None:
        intrinsics = camera(size)
        self.focal = float(intrinsics[0, 0])
        self.x = (np.arange(size[1]) - intrinsics[0, 2]) / self.focal
        self.y = ((np.arange(size[0]) - intrinsics[1, 2]) / self.focal)[:, None]

        # As a gripper or a fixture places parts: a few degrees and millimetres apart.
        tilt, turn = look.uniform(-0.03, 0.03, 2), look.uniform(-0.08, 0.08)
        up = np.array([*tilt, -1.0]) / np.linalg.norm([*tilt, 1.0])
        along = np.cross([np.sin(turn), -np.cos(turn), 0.0], up)
        along /= np.linalg.norm(along)
        # Rows: the directions of the part's u, v and height in camera coordinates.
        self.axes = np.stack([along, np.cross(up, along), up])
        middle = np.array([0, 0, DISTANCE]) + look.uniform(-1, 1, 3) * [4e-3, 4e-3, 3e-3]
        self.origin = self.axes @ middle
        self.lamp = self.LAMP + look.uniform(-0.06, 0.06, 3)
        self.tint = look.uniform(0.96, 1.04) * look.uniform(0.985, 1.015, 3)
        stretch = look.uniform(0.985, 1.015)

        # Each ray as seen along u, v and height, and where it meets the part's smooth body: each
        # step takes the height of the last. As the rays are steep to the belt, the error falls to
        # a third or less each time.
        u, v, self.fall = (a[0] * self.x + a[1] * self.y + a[2] for a in self.axes)
        self.body: Floats = np.zeros(size, np.float32)
        for _ in range(4):
            z = self.depth(self.body)
            self.u = ((u * z - self.origin[0]) * (1e3 / stretch)).astype(np.float32)
            self.v = ((v * z - self.origin[1]) * (1e3 / stretch)).astype(np.float32)
            self.outline = outline_of(self.u, self.v)
            self.body = body_of(self.outline)

    def depth(self, height: Floats) -> Floats:
        """Return z in metres where each ray is at this height over the belt."""
        z: Floats = (self.origin[2] + 1e-3 * height) / self.fall
        return z

    def normals(self, z: Floats) -> Floats:
        """Return (3, H, W) unit normals, towards the camera, of the surface at depth z."""
        by_row, by_column = np.gradient(z)
        inward = z / self.focal + self.x * by_column + self.y * by_row
        length = np.sqrt(by_column**2 + by_row**2 + inward**2)
        unit = np.stack([by_column / length, by_row / length, -inward / length])
        return unit.astype(np.float32)

    def shade(self, albedo: Floats, normal: Floats) -> Floats:
        """Return the colours under the lamp, with its cast shadow and a faint gloss."""
        lit = 1 - 0.75 * np.clip(self._cover(self.lamp) / 2, 0, 1)
        diffuse = lit * np.clip(_facing(normal, self.lamp), 0, None)
        halfway = self.lamp / np.linalg.norm(self.lamp) + [0, 0, -1]
        gloss = lit * np.clip(_facing(normal, halfway), 0, None) ** 24
        light = (0.34 + 0.92 * diffuse)[..., None] * self.tint.astype(np.float32)
        colour: Floats = albedo * light + (0.07 * gloss)[..., None]
        return colour

    def unseen(self, normal: Floats) -> npt.NDArray[np.bool_]:
        """Tell where the projector gives no point: grazing light, or the part is in its way."""
        return (_facing(normal, self.PROJECTOR) < 0.22) | (self._cover(self.PROJECTOR) > 0)

    def _cover(self, towards: Floats) -> Floats:
        """Return by how much the part's body rises above the way to a light, negative for free."""
        du, dv, rise = (self.axes @ towards).tolist()
        highest = np.full_like(self.body, -np.inf)
        for up in (2, 4, 6, 9, 12):
            there = outline_of(self.u + up * du / rise, self.v + up * dv / rise)
            np.maximum(highest, body_of(there) - up, out=highest)
        return highest - self.body


def _facing(normal: Floats, towards: Floats) -> Floats:
    """Return the cosine between the normals and a direction."""
    x, y, z = (towards / np.linalg.norm(towards)).tolist()
    cosine: Floats = x * normal[0] + y * normal[1] + z * normal[2]
    return cosine


def _dropouts(
    noise: np.random.Generator, size: tuple[int, int], scale: float
) -> npt.NDArray[np.bool_]:
    """Tell where points are missing by chance: single pixels and small spots."""
    lost = noise.random(size, dtype=np.float32) < 0.006
    row, column = np.arange(size[0])[:, None], np.arange(size[1])
    for _ in range(int(noise.integers(3, 7))):
        r, c, radius = noise.uniform(0, 1, 3) * (*size, 1.0)
        lost |= (row - r) ** 2 + (column - c) ** 2 < (scale * (0.5 + radius)) ** 2
    return lost
