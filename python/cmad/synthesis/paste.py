"""One anomaly: where it is, where it is cut, and how colour and points are pasted."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from cmad import ops
from cmad.synthesis import colour, perlin
from cmad.synthesis.scenes import Bools, Limits, Points, Scene, nearest
from cmad.synthesis.settings import Synthesis

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FIELDS = 30
"""Noises that are drawn for a part, at most, until one has a region that fits."""
PLACES = 16
"""Places that are tried for a region on a part, and to cut it from."""
INSIDE = 2 / 3
"""Of a region's pixels, that must lie on the part; of fewer, the place with the most (code)."""
CUTS = 4
"""That are tried for a region, until one can be seen."""
SEEN_COLOUR = 5.0
"""Mean difference of 0 to 255 by which colours must change to be seen."""


@dataclass(frozen=True, eq=False)
class Donor:
    """What is cut from: the same scene for colour and points, or two, as large as the part."""

    colour: Scene | None
    """None where the colour is not changed."""
    shape: Scene | None
    """None where the points are not changed; one of both there is."""
    own: bool = False
    """Whether it is the part itself, so that it must be cut somewhere else."""

    @property
    def part(self) -> Bools:
        """(H, W), what can be cut."""
        if self.colour is None or self.shape is None:
            return next(s.part for s in (self.colour, self.shape) if s is not None)
        return self.shape.part & self.colour.part


class Canvas:
    """A copy of a part that anomalies are pasted on."""

    def __init__(self, scene: Scene, bounds: Limits | None) -> None:
        """Copy a scene; ``bounds`` are needed where points are pasted."""
        self.scene = scene
        self.bounds = bounds
        self.rgb = None if scene.rgb is None else scene.rgb.copy()
        self.xyz = None if scene.xyz is None else scene.xyz.copy()
        self.mask = np.zeros_like(scene.part)
        self.inside = np.argwhere(scene.part)
        """(P, 2), the pixels of the part."""


def regions(rng: np.random.Generator, shape: tuple[int, int], how: Synthesis) -> list[Ints]:
    """Draw a noise and return its regions of the right size, in an order that is drawn.

    Args:
        rng: what they are drawn by.
        shape: (H, W) of the image.
        how: cells, threshold and area.

    Returns:
        (P, 2) rows and columns of each region, relative to its middle.

    """
    low, high = how.cells
    exponent = rng.integers(low, high + 1, 2)
    field = perlin.lattice(rng, (2 ** int(exponent[0]), 2 ** int(exponent[1])))
    above = perlin.noise(field, *shape) > how.threshold
    if not above.any():
        return []
    label = ops.components(torch.from_numpy(above)).numpy()
    count = np.bincount(label)
    least, most = pixels_of(how, shape)
    fitting = np.flatnonzero((count >= least) & (count <= most))
    pixel = np.argwhere(above)
    found = []
    for i in rng.permutation(fitting):
        own = pixel[label == i]
        found.append(own - np.round(own.mean(0)).astype(np.int64))
    return found


def pixels_of(how: Synthesis, shape: tuple[int, int]) -> tuple[int, int]:
    """Return the fewest and the most pixels of a region on a raster; the fewest is at least 1."""
    square = max(shape) ** 2
    return max(1, round(how.area[0] * square)), max(1, round(how.area[1] * square))


def paste(
    rng: np.random.Generator, canvas: Canvas, region: Ints, donor: Donor, how: Synthesis
) -> bool:
    """Paste one region somewhere on a part.

    Args:
        rng: what everything is drawn by.
        canvas: changed where the region could be pasted.
        region: (P, 2), see `regions`.
        donor: what is cut from.
        how: the settings.

    Returns:
        Whether it could: there was a place on the part, one to cut from, and a change to be seen.

    """
    least, _ = pixels_of(how, canvas.mask.shape)
    free = canvas.scene.part & ~canvas.mask
    target = _placed(rng, canvas.inside, region, free)
    on_part = _within(target, free)
    if on_part.sum() < least:
        return False
    target = target[on_part]
    middle = target - region[on_part]
    source_part = donor.part
    places = np.argwhere(source_part)
    away = middle[0] if donor.own else None
    for _ in range(CUTS if len(places) else 0):
        source = _placed(rng, places, region[on_part], source_part, away)
        cut = _within(source, source_part)
        if cut.sum() < least:
            continue
        if _changed(rng, canvas, target[cut], source[cut], donor, how):
            canvas.mask[tuple(target[cut].T)] = True
            return True
    return False


def _placed(
    rng: np.random.Generator,
    inside: Ints,
    region: Ints,
    allowed: Bools,
    away: Ints | None = None,
) -> Ints:
    """Move a region to the first place drawn where it fits, or to that where it fits best.

    Places nearer to ``away`` than the region is wide count less the nearer they are.
    """
    best: Ints = region + inside[0]
    most = -1.0
    for middle in inside[rng.integers(len(inside), size=PLACES)]:
        moved = region + middle
        share = float(_within(moved, allowed).mean())
        if away is not None:
            width = float(np.ptp(region, axis=0).max()) + 1
            share *= min(1.0, float(np.abs(middle - away).max()) / width)
        if share > most:
            best, most = moved, share
        if share >= INSIDE:
            break
    return best


def _within(pixel: Ints, allowed: Bools) -> Bools:
    """Tell which pixels (P, 2) lie in the image and are allowed."""
    height, width = allowed.shape
    row, column = pixel.T
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    inside[inside] = allowed[row[inside], column[inside]]
    return np.asarray(inside)


def _changed(
    rng: np.random.Generator,
    canvas: Canvas,
    target: Ints,
    source: Ints,
    donor: Donor,
    how: Synthesis,
) -> bool:
    """Change colour and points, and tell whether it can be seen; else leave all as it was."""
    seen = False
    rgb, xyz = None, None
    if donor.colour is not None:
        rgb, at, difference = _pasted_colour(rng, canvas, target, source, donor.colour, how)
        seen |= difference >= SEEN_COLOUR
    if donor.shape is not None:
        xyz, where, difference = _pasted_shape(rng, canvas, target, source, donor.shape, how)
        seen |= difference >= how.displacement[0] / 2 and difference > 0
    if not seen:
        return False
    if rgb is not None and canvas.rgb is not None:
        canvas.rgb[at] = rgb
    if xyz is not None and canvas.xyz is not None:
        canvas.xyz[where] = xyz
    return True


def _pasted_colour(
    rng: np.random.Generator,
    canvas: Canvas,
    target: Ints,
    source: Ints,
    donor: Scene,
    how: Synthesis,
) -> tuple[npt.NDArray[np.uint8], tuple[Ints, Ints], float]:
    """Return the new colours, of which pixels, and the mean difference from what was there."""
    assert canvas.rgb is not None  # kinds are checked against what parts have
    assert donor.rgb is not None
    scale = len(canvas.rgb) / len(canvas.mask)
    pixel = _finer(target, canvas.mask.shape, canvas.rgb.shape[:2])
    step = source[0] - target[0]
    moved = pixel + np.round(step * scale).astype(np.int64)
    side = max(donor.rgb.shape[:2])
    changes = colour.draw(rng, how.corruptions, side)
    keep = float(rng.uniform(*how.blend))
    margin = int(np.ceil(colour.DISTORTION[1] * side))
    top, left = moved.min(0) - margin
    bottom, right = moved.max(0) + margin + 1
    rows = np.clip(np.arange(top, bottom), 0, donor.rgb.shape[0] - 1)
    columns = np.clip(np.arange(left, right), 0, donor.rgb.shape[1] - 1)
    cut = colour.corrupt(donor.rgb[rows[:, None], columns].astype(np.float64), changes)
    at = (pixel[:, 0], pixel[:, 1])
    old = canvas.rgb[at]
    new = blend(old, cut[moved[:, 0] - top, moved[:, 1] - left], keep)
    return new, at, float(np.abs(new.astype(np.float64) - old).mean())


def blend(old: npt.NDArray[np.uint8], cut: Floats, keep: float) -> npt.NDArray[np.uint8]:
    """Mix colours (P, 3): ``keep`` of the old ones, the rest of those that are cut."""
    return np.round(keep * old + (1 - keep) * cut).astype(np.uint8)


def _pasted_shape(
    rng: np.random.Generator,
    canvas: Canvas,
    target: Ints,
    source: Ints,
    donor: Scene,
    how: Synthesis,
) -> tuple[Points | None, tuple[Ints, Ints], float]:
    """Return the new points, of which pixels, and how far they are moved in the mean, metres."""
    assert canvas.xyz is not None  # kinds are checked against what parts have
    assert canvas.bounds is not None
    assert donor.xyz is not None
    amount = float(rng.uniform(*how.displacement)) * (1 if rng.random() < 0.5 else -1)
    # The sensor's holes stay, and where the donor has one there is nothing to cut.
    both = canvas.scene.valid[tuple(target.T)] & _within(source, donor.valid)
    target, source = target[both], source[both]
    at = (target[:, 0], target[:, 1])
    if len(target) == 0:
        return None, at, 0.0
    old = canvas.xyz[at]
    far = canvas.bounds.far[at]
    relief = donor.xyz[tuple(source.T)][:, 2]
    depth = moved_depth(old[:, 2], relief, amount, canvas.bounds.near, far, how.displacement[0])
    new = along_sight(old, depth, canvas.bounds.rays)
    return new, at, float(np.abs(depth.astype(np.float64) - old[:, 2]).mean())


def moved_depth(
    old: npt.NDArray[np.float32],
    relief: npt.NDArray[np.float32],
    amount: float,
    near: float,
    far: npt.NDArray[np.float32],
    least: float,
) -> npt.NDArray[np.float32]:
    """Put a cut relief where the old points are in the mean, and move it along the line of sight.

    It is moved by less than ``amount`` where the scene ends before, or the other way, where that
    leaves less than ``least`` and there is more room. What still is out of the scene is cut off.

    Args:
        old: (P,) z of the points, metres.
        relief: (P,) z of those cut.
        amount: to move by, metres; positive is away from the camera.
        near: smallest z of the scene.
        far: (P,) largest z.
        least: metres.

    Returns:
        (P,) z of the new points.

    """
    base = relief.astype(np.float64)
    base += old.astype(np.float64).mean() - base.mean()
    low, high = float((near - base).max()), float((far - base).min())
    if low > high:  # the relief is higher than the scene
        low = high = (low + high) / 2
    first, second = (min(max(way, low), high) for way in (amount, -amount))
    if abs(first) < least and abs(second) > abs(first):
        first = second
    return np.clip((base + first).astype(np.float32), np.float32(near), far)


def along_sight(old: Points, depth: npt.NDArray[np.float32], rays: bool) -> Points:
    """Move points (P, 3) to a new z (P,) so that their pixels still see them.

    Along rays through the camera, x and y scale with z; else they stay.
    """
    new = old.copy()
    if rays:
        scale = depth.astype(np.float64) / old[:, 2]
        new[:, :2] = old[:, :2] * scale[:, None]
    new[:, 2] = depth
    return new


def _finer(pixel: Ints, raster: tuple[int, ...], image: tuple[int, ...]) -> Ints:
    """Return the pixels of an image that lie in these pixels (P, 2) of another raster of it."""
    if raster == image:
        return pixel
    mask = np.zeros(raster, np.bool_)
    mask[tuple(pixel.T)] = True
    return np.argwhere(mask[np.ix_(*map(nearest, raster, image))])
