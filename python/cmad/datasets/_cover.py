"""The part that `Synthetic` shows: a moulded cover with relief, its colours, belt and defects."""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

KINDS = ("hole", "bump", "stain", "scratch")

# The design of the part, in millimetres; the same for every part of the class.
HALF_LENGTH, HALF_WIDTH = 39.0, 29.0
FLANK, CROWN = 13.0, 3.0  # height of the flank, and of the dome above it
BOSS_AT, BOSS_RADIUS = 10.0, 7.0  # along the part
RECESS_AT, RECESS_RADIUS = -13.0, 4.0
RIB_PITCH = 5.0

BODY = np.array([0.70, 0.45, 0.20], np.float32)
COATED = np.array([0.40, 0.28, 0.18], np.float32)  # the raised ring and the recess
PAINTED = np.array([0.76, 0.62, 0.42], np.float32)  # the boss
BELT = np.array([0.17, 0.20, 0.22], np.float32)
BARE = np.array([0.88, 0.84, 0.78], np.float32)  # where a scratch has taken the surface off
STAINS = np.array([[0.08, 0.07, 0.06], [0.14, 0.27, 0.45], [0.66, 0.68, 0.40]], np.float32)


def outline_of(u: Floats, v: Floats) -> Floats:
    """Return 0 in the middle of the part and 1 on its outline, a rounded rectangle."""
    x, y = (u / HALF_LENGTH) ** 2, (v / HALF_WIDTH) ** 2
    outline: Floats = np.sqrt(np.sqrt(x * x + y * y))
    return outline


def body_of(outline: Floats) -> Floats:
    """Return the height of the part without its relief, 0 on the belt."""
    edge = np.clip((1 - outline) / 0.22, 0, 1)
    body: Floats = FLANK * edge * (2 - edge) + CROWN * np.clip(1 - outline**2, 0, 1)
    return body


def relief_of(
    look: np.random.Generator, u: Floats, v: Floats, outline: Floats, body: Floats
) -> tuple[Floats, Floats]:
    """Return height and colour of the part: the same design each time, slightly varied."""
    ring = _step((0.075 - np.abs(outline - 0.70)) / 0.035)
    boss = _step(BOSS_RADIUS - np.sqrt((u - BOSS_AT) ** 2 + v**2))
    recess = _step(RECESS_RADIUS - np.sqrt((u - RECESS_AT) ** 2 + v**2))
    ribbed = _step((0.59 - outline) / 0.05) * (1 - boss) * (1 - recess)
    rib = (1 + np.cos(2 * math.pi / RIB_PITCH * u)) / 2
    grain = _waves(np.random.default_rng(1), u, v, 3.5, 7.0)  # part of the design, hence the seed

    press, size = look.uniform(0.94, 1.06), look.uniform(0.97, 1.03)
    warp = np.clip(body, 0, 1) * 0.12 * _waves(look, u, v, 25.0, 60.0)
    relief = 1.3 * ring + 1.5 * boss - 1.2 * recess
    relief += 0.8 * ribbed * rib + np.clip(body / 4, 0, 1) * 0.10 * grain

    coated = np.maximum(ring, recess)[..., None]
    albedo = BODY * (1 - 0.45 * ribbed * (1 - rib) + 0.07 * grain)[..., None]
    albedo = albedo + coated * (COATED - albedo)
    albedo = albedo + boss[..., None] * (PAINTED - albedo)
    cloud = 1 + 0.03 * _waves(look, u, v, 20.0, 60.0)
    return size * body + press * relief * (outline < 1) + warp, albedo * cloud[..., None]


def belt_colour(look: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """Return the colour of the woven belt, on which the part lies anywhere."""
    a, b = look.uniform(0, 7), look.uniform(0, 7)
    pitch = 2 * math.pi / 2.4
    weave = np.cos(pitch * u + a) * np.cos(pitch * v + b)
    colour: Floats = BELT * (1 + 0.10 * weave + 0.05 * _waves(look, u, v, 15, 60))[..., None]
    return colour


class Defect:
    """One defect: how much of it is at each place, and what it does there."""

    def __init__(self, chance: np.random.Generator, kind: str) -> None:
        self.kind = kind
        far, turn = 0.62 * chance.uniform() ** 0.5, chance.uniform(0, 2 * math.pi)
        self.at = far * HALF_LENGTH * math.cos(turn), far * HALF_WIDTH * math.sin(turn)
        self.turn = chance.uniform(0, math.pi)
        self.half = chance.uniform(3.5, 6.0), chance.uniform(3.0, 4.5)
        self.phase = chance.uniform(0, 7), chance.uniform(0, 7)
        self.bend = chance.uniform(-0.04, 0.04)
        self.paint = STAINS[chance.integers(len(STAINS))]
        strength = chance.uniform()
        if kind == "scratch":
            self.half = 5.0 + 2.0 * strength, 1.3 + 0.3 * strength
        self.rise = {
            "hole": -2.5 - 2 * strength,
            "bump": 2.5 + 1.5 * strength,
            "scratch": -1.2 - 0.8 * strength,
        }.get(kind, 0.0)  # millimetres

    def amount(self, u: Floats, v: Floats) -> Floats:
        """Return 0 outside the defect, up to 1 within."""
        if self.kind == "good":
            return np.zeros_like(u)
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        du, dv = u - self.at[0], v - self.at[1]
        p, q = cos * du + sin * dv, cos * dv - sin * du
        if self.kind == "scratch":
            q = q + self.bend * p**2
            groove: Floats = 1 - (p / self.half[0]) ** 4 - (q / self.half[1]) ** 2
            return groove.clip(0, 1)
        ragged = 1 + 0.25 * np.sin(0.9 * p + self.phase[0]) * np.sin(0.9 * q + self.phase[1])
        inside = 1 - ((p / self.half[0]) ** 2 + (q / self.half[1]) ** 2) * ragged
        return _step({"hole": 1.6, "bump": 1.0, "stain": 3.0}[self.kind] * inside)

    def colour(self, albedo: Floats, amount: Floats) -> Floats:
        """Return the colours of the part with the defect."""
        share = amount[..., None]
        new: Floats = albedo
        if self.kind == "hole":  # less light finds its way in
            new = albedo * (1 - 0.3 * share)
        elif self.kind == "stain":
            new = albedo + 0.75 * share * (self.paint - albedo)
        elif self.kind == "scratch":
            new = albedo + 0.6 * share * (BARE - albedo)
        return new


def _step(x: Floats) -> Floats:
    """Return 0 below 0, 1 above 1, and a smooth rise between."""
    x = x.clip(0, 1)
    return x * x * (3 - 2 * x)


def _waves(
    source: np.random.Generator, u: Floats, v: Floats, shortest: float, longest: float
) -> Floats:
    """Add six plane waves of random direction and of a length in this range, with variance 1."""
    total = np.zeros_like(u)
    for _ in range(6):
        frequency, turn = 2 * math.pi / source.uniform(shortest, longest), source.uniform(0, 7)
        along = (frequency * math.cos(turn)) * u + (frequency * math.sin(turn)) * v
        total += np.cos(along + source.uniform(0, 7))
    return total / math.sqrt(3)
