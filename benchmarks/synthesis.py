"""Time `cmad.synthesis` on prepared parts, beside the same steps in Python loops over the pixels.

The loops (`cmad.testing.synthesis`) take the same draws, so the parts they make are compared: the
same masks, colours within 1 of 255, points within a micrometre.

    python benchmarks/synthesis.py                                  synthetic parts
    python benchmarks/synthesis.py --data mvtec3d --category bagel  MVTec 3D-AD, 224 x 224
"""

import argparse
import time

import numpy as np
import torch
from _environment import environment, one_line

from cmad.datasets import Synthetic
from cmad.datasets import open as open_data
from cmad.preprocess import Preprocessing, prepare
from cmad.synthesis import Synthesis, SyntheticFrame, synthesise
from cmad.testing.synthesis import pixel_by_pixel

ALLOWED = 120.0
"""Seconds that 800 parts may take."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="root of a data set; without it synthetic parts")
    parser.add_argument("--category")
    parser.add_argument("--parts", type=int, default=24, help="good parts, at most")
    parser.add_argument("--count", type=int, default=800, help="to make")
    parser.add_argument("--loops", type=int, default=8, help="to make pixel by pixel")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.data:
        with one_line():
            data = open_data(given.data)
            samples = data.split(given.category or data.categories[0], "train")[: given.parts]
    else:
        samples = Synthetic(good=given.parts)
    frames = [prepare(sample, Preprocessing()) for sample in samples]
    print(environment())
    print(f"{len(frames)} frames of {tuple(frames[0].valid.shape)}; {Synthesis().describe()}")

    def made(count: int) -> tuple[list[SyntheticFrame], float]:
        start = time.perf_counter()
        parts = list(synthesise(frames, seed=0, count=count))
        return parts, time.perf_counter() - start

    made(given.loops)  # warm up
    with pixel_by_pixel():
        slow, slow_seconds = made(given.loops)
    fast, fast_seconds = made(given.loops)
    compare(fast, slow)
    parts, seconds = made(given.count)
    share = np.mean([part.mask.float().mean().item() for part in parts])
    per_loop = 1e3 * slow_seconds / given.loops
    print(f"pixel by pixel  {per_loop:9.1f} ms a part   (plain Python loops, {given.loops} parts)")
    per = 1e3 * fast_seconds / given.loops
    print(f"vectorised      {per:9.1f} ms a part   {per_loop / per:.0f} times as fast, same parts")
    print(
        f"{given.count} parts in {seconds:.1f} s ({1e3 * seconds / given.count:.1f} ms each), ",
        end="",
    )
    print(f"{share:.2%} of the pixels anomalous; one thread; allowed {ALLOWED:g} s for 800")


def compare(fast: list[SyntheticFrame], slow: list[SyntheticFrame]) -> None:
    for a, b in zip(fast, slow, strict=True):
        assert torch.equal(a.mask, b.mask), a.frame.name
        colour = (a.frame.rgb.int() - b.frame.rgb.int()).abs().max()
        point = (a.frame.xyz - b.frame.xyz).abs().max()
        assert colour <= 1, (a.frame.name, colour)
        assert point <= 1e-6, (a.frame.name, point)


if __name__ == "__main__":
    main()
