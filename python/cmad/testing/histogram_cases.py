"""Clouds for `fpfh`: surfaces, few points, duplicates, points out of reach.

No exact planes: their normals may point either way, and the angle between opposite ones is the
smallest or the largest, as rounding has it.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator

from cmad import ops
from cmad.testing.case import Case, Floats, Inputs
from cmad.testing.inputs import starts, surface

Clouds = Callable[[Generator], list[Floats]]


def wavy(rng: Generator, n: int, spread: float = 0.15) -> Floats:
    """Return points of a wavy surface, metres."""
    x, y = rng.uniform(-spread, spread, (2, n))
    z = 0.5 + 0.02 * np.sin(20 * x) + 0.01 * np.cos(30 * y) + 1e-4 * rng.standard_normal(n)
    return np.stack([x, y, z], -1).astype(np.float32)


def twice(rng: Generator) -> list[Floats]:
    """Return points each of which is there twice, and one 50 m away."""
    xyz = np.repeat(wavy(rng, 40), 2, axis=0)
    xyz[-1] = 50
    return [xyz]


def part(rng: Generator) -> list[Floats]:
    """Return the points of a part."""
    return [surface(rng, 224, 16_000)[0]]


def _case(name: str, clouds: Clouds, k: int, timed: bool = False, **sizes: float) -> Case:
    def make(rng: Generator) -> Inputs:
        made = clouds(rng)
        xyz = np.concatenate(made) if made else np.zeros((0, 3), np.float32)
        ptr = starts([len(cloud) for cloud in made])
        points, begin = torch.from_numpy(xyz), torch.from_numpy(ptr)
        near = ops.group(points, begin, points, begin, k) if made else torch.zeros(0, k).long()
        return {"xyz": xyz, "ptr": ptr, "index": near.numpy(), **sizes}

    # Of numbers up to 200, rounded in another order.
    return Case("fpfh", name, make, atol=1e-9, timed=timed)


HISTOGRAM_CASES = [
    _case("surface", lambda rng: [wavy(rng, 90)], 40),
    _case("batch", lambda rng: [wavy(rng, n) for n in (30, 7, 45)], 7, normal_neighbours=5),
    _case("twice", twice, 12),
    _case("two_points", lambda rng: [wavy(rng, 2)], 2),
    _case("one_point", lambda rng: [wavy(rng, 1)], 1),
    _case("none", lambda rng: [], 3),
    _case("out_of_reach", lambda rng: [wavy(rng, 40)], 15, normal_radius=0.03, radius=0.05),
    _case("more_than_a_block", lambda rng: [wavy(rng, 300)], 10),
    _case("16000_points_of_100", part, 100, timed=True),
]
