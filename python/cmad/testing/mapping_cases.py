"""Cases of `mapping_discrepancy`: networks and features, far from each other and close together."""

import math

import numpy as np
from numpy.random import Generator

from cmad.testing import reference
from cmad.testing.case import Array, Case, Floats, Inputs
from cmad.testing.inputs import strided

NETWORK = ("first", "bias1", "middle", "bias2", "last", "bias3")


def linear(rng: Generator, features_in: int, features_out: int) -> tuple[Floats, Floats]:
    """Draw a layer as torch initialises it."""
    limit = 1 / math.sqrt(features_in)
    weight = rng.uniform(-limit, limit, (features_out, features_in)).astype(np.float32)
    return weight, rng.uniform(-limit, limit, features_out).astype(np.float32)


def network(rng: Generator, d1: int, d2: int, spread: float = 0) -> dict[str, Floats]:
    """Draw a mapping network of CFM, mean width between.

    With `spread`, the singular values of its last layer fall by that many powers of ten.
    """
    middle = (d1 + d2) // 2
    sizes = (d1, middle), (middle, middle), (middle, d2)
    layers = dict(zip(NETWORK, [w for size in sizes for w in linear(rng, *size)], strict=True))
    if spread:
        u, s, v = np.linalg.svd(layers["last"], full_matrices=False)
        falling = s * np.logspace(0, -spread, len(s), dtype=np.float32)
        layers["last"] = ((u * falling) @ v).astype(np.float32)
    return layers


def weights(rng: Generator, pixels: int, rows: int, most: int) -> dict[str, Array]:
    """Draw up to `most` entries per pixel; they add up to less than one, as beside a hole."""
    count = rng.integers(0, most + 1, pixels) if most > 1 else np.ones(pixels, np.int64)
    start = np.concatenate([[0], count.cumsum()]).astype(np.int64)
    weight = rng.random(start[-1]) + 0.05
    total = np.add.reduceat(np.append(weight, 0), start[:-1]) if pixels else np.zeros(0)
    share = np.ones(pixels) if most == 1 else rng.uniform(0.3, 1, pixels)
    weight *= np.repeat(share / np.maximum(total, 1e-9), count)
    return {
        "start": start,
        "index": rng.integers(0, rows, start[-1]).astype(np.int32),
        "weight": weight.astype(np.float32),
    }


def mapping_case(
    name: str,
    dims: tuple[int, int],
    pixels: int,
    most: tuple[int, int] = (4, 7),
    *,
    rows: tuple[int, int] = (30, 20),
    near: float | None = None,
    spread: float = 0,
    gaps: bool = False,
    atol: float = 1e-5,
    **more: str,
) -> Case:
    """Make a case of features of `dims`; `most` entries per pixel of source and target.

    With `near` the target is what the network predicts, but for so much noise: every pixel then
    takes one row of both, with weight one.
    """

    def make(rng: Generator) -> Inputs:
        layers = network(rng, *dims, spread)
        source = rng.standard_normal((rows[0], dims[0])).astype(np.float32)
        target = rng.standard_normal((rows[1], dims[1])).astype(np.float32)
        to_pixels = [weights(rng, pixels, r, m) for r, m in zip(rows, most, strict=True)]
        if near is not None:
            exact = reference.mapping(source, *layers.values())
            noise = rng.standard_normal(exact.shape)
            noise *= np.linalg.norm(exact, axis=1, keepdims=True) / np.linalg.norm(
                noise, axis=1, keepdims=True
            )
            target = (3 * (exact + near * noise)).astype(np.float32)
            same = np.arange(pixels, dtype=np.int32) % rows[0]
            ones = np.ones(pixels, np.float32)
            start = np.arange(pixels + 1, dtype=np.int64)
            entries: dict[str, Array] = {"start": start, "index": same, "weight": ones}
            to_pixels = [entries, entries]
        made: Inputs = {}
        for role, features, entries in zip(
            ("source", "target"), (source, target), to_pixels, strict=True
        ):
            made[role] = strided(features) if gaps else features
            made |= {f"{role}_{k}": v for k, v in entries.items()}
        return {**made, **layers, **more}

    return Case("mapping_discrepancy", name, make, atol, timed=name[0].isdigit())


MAPPING_CASES = [
    mapping_case("widths_of_no_vector", (5, 7), 101),
    mapping_case("one_feature_each", (1, 1), 9),
    mapping_case("wider_source", (97, 33), 150),
    mapping_case("wider_target", (33, 192), 150),
    mapping_case("wider_than_a_tile", (150, 200), 40),
    mapping_case("off_by_0.05_wider_than_a_tile", (200, 150), 40, near=0.05),
    mapping_case("no_pixel", (6, 8), 0),
    mapping_case("one_pixel_of_one_row", (70, 90), 1, (1, 1)),
    mapping_case("one_row_per_pixel", (64, 128), 65, (1, 1)),
    mapping_case("non_contiguous", (40, 24), 30, gaps=True),
    mapping_case("falling_last_layer", (64, 96), 100, spread=7),
    *[mapping_case(f"off_by_{near}", (80, 120), 60, near=near) for near in (0, 1e-4, 1e-2, 0.07)],
    mapping_case("off_by_0.1_falling", (80, 120), 60, near=0.1, spread=5),
    mapping_case("off_by_0_wider_source", (120, 48), 60, near=0),
    # Weights and activations with eight binary digits: off by 2e-3 to 6e-3.
    mapping_case("bfloat16", (96, 160), 120, precision="bf16", atol=6e-3),
    mapping_case("bfloat16_off_by_0", (96, 160), 60, near=0, precision="bf16", atol=6e-3),
    # Eleven binary digits, where the device has such products: off by 1e-4 to 5e-4.
    mapping_case("float16", (96, 160), 120, precision="fp16", atol=1e-3),
    mapping_case("float16_off_by_0", (96, 160), 60, near=0, precision="fp16", atol=1e-3),
    mapping_case("float16_falling", (80, 120), 60, spread=5, precision="fp16", atol=1e-3),
    # A quarter of a 224 x 224 frame, features of ViT-B and Point-MAE.
    mapping_case("12500_pixels_768_to_1152", (768, 1152), 12_500, rows=(784, 1024)),
    mapping_case("12500_pixels_1152_to_768", (1152, 768), 12_500, (7, 4), rows=(1024, 784)),
]
