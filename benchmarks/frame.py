"""Where the time of `predict` goes, stage by stage, beside what its arithmetic alone would take.

    python benchmarks/frame.py [--method cfm] [--size 400x400] [--threads 1] [--precision auto]
        [--variant full] [--rgb NAME] [--xyz point_mae] [--repeats 5] [--json FILE]

A part as a sensor of that size sees it, judged by a detector with random weights that is trained
and calibrated on a few small parts. The floor of a stage is the longer of two times: that of its
matrix products, counted in a run of their own, at the rate of the machine's own product of such a
size; and that of the bytes that go in and out of it, at the rate of a copy. Both rates are measured
here, with the same threads. What a native op computes is in its floor for the mapping only. Times
are medians, without those of stages within; profiling must not change the result, which is checked.
"""
# ruff: noqa: E402

import os
import sys

_THREADS = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv[:-1] else "1"
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = _THREADS  # read when the libraries load, so before they are imported

import argparse
import functools
import importlib
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from _environment import environment, one_line
from torch.utils._python_dispatch import TorchDispatchMode

import cmad
from cmad.datasets import Synthetic
from cmad.detectors import METHODS
from cmad.linear import linear

MAPPING = "mapping and discrepancy"
STAGES = {
    "cmad.preprocess.checked": "check the arrays",
    "cmad.preprocess.find_part": "find the part",
    "cmad.preprocess._resize_rgb": "resize the image",
    "cmad.preprocess.prepare": "the rest of the frame",
    "cmad.detectors._unlike.suspicions": "compare with training",
    "cmad.extractors.rgb.ViT.tokens": "2D extractor",
    "cmad.extractors.point_mae.PointMAE.batch": "Point-MAE: groups, neighbours",
    "cmad.extractors.point_mae_network.Encoder.forward": "Point-MAE: encoder of the groups",
    "cmad.extractors.point_mae_network.Network.forward": "Point-MAE: blocks",
    "cmad.extractors.fpfh.FPFH.batch": "FPFH",
    "cmad.rasters.rows": "rows of features",
    "cmad.nn.folded.FoldedMappings.__call__": MAPPING,
    "cmad.bank.Bank.search": "search in the bank",
    "cmad.maps.scored": "smooth and score",
    "cmad.maps.smoothed": "smooth",
    "cmad.detectors.method.Method.all_maps": "the rest of the method",
    "cmad.preprocess.to_input": "to the input's pixels",
    "cmad.regions.find": "regions",
    "cmad.detectors.judging.Judge.decide": "the rest of the decision",
    "cmad.detectors.judging.Judge.predict": "everything else",
}
"""By the function that is timed. One that is not there is counted to what calls it."""
TRAINING = {"epochs": 1, "pixels_per_image": 50, "synthetic_parts": 2}
"""As little as a method takes: of these, the arguments that it has."""


class Profile:
    """Times stages, without those within, and counts products and bytes of them."""

    def __init__(self) -> None:
        self.runs: list[dict[str, float]] = []
        self.products: dict[str, float] = defaultdict(float)
        self.moved: dict[str, float] = defaultdict(float)
        self.counting = False
        self._open: list[list] = []  # of the stages that run: name, and seconds within

    def timed(self, stage, function):
        @functools.wraps(function)
        def run(*arguments, **named):
            self._open.append([stage, 0.0])
            begin = time.perf_counter()
            try:
                result = function(*arguments, **named)
            finally:
                took = time.perf_counter() - begin
                _, within = self._open.pop()
                self.runs[-1][stage] = self.runs[-1].get(stage, 0.0) + took - within
                if self._open:
                    self._open[-1][1] += took
            if self.counting:
                self.moved[stage] += moved((arguments, named, result))
                if stage == MAPPING:
                    self.products[stage] += mapped(*arguments)
            return result

        return run

    def product(self, flop):
        self.products[self._open[-1][0] if self._open else ""] += flop

    @contextmanager
    def watching(self):
        """Replace the functions wherever a module of the package has them."""
        with ExitStack() as stack:
            for path, stage in {**STAGES, **ops()}.items():
                owner, name, function = found(path)
                if function is None:
                    continue
                timed = self.timed(stage, function)
                for place in [owner] if isinstance(owner, type) else having(name, function):
                    stack.enter_context(mock.patch.object(place, name, timed))
            yield


class Products(TorchDispatchMode):
    """Tells a profile of each matrix product."""

    def __init__(self, profile):
        super().__init__()
        self.profile = profile

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        # Whole ones in inference mode, and what torch makes of them elsewhere.
        kind = function.name().split("::")[1].split(".")[0]
        if kind in ("mm", "bmm", "matmul", "linear", "_linear_pointwise"):
            self.profile.product(2 * result.numel() * arguments[0].shape[-1])
        elif kind in ("addmm", "baddbmm"):
            self.profile.product(2 * result.numel() * arguments[1].shape[-1])
        elif kind in ("conv1d", "conv2d", "convolution"):
            self.profile.product(2 * result.numel() * arguments[1][0].numel())
        elif kind.lstrip("_").startswith("scaled_dot_product"):
            self.profile.product(4 * arguments[0].numel() * arguments[1].shape[-2])
        return result


def mapped(folded, of_2d, of_3d):
    """FLOP of the middle layers and the triangles, which no torch product shows."""
    pixels, each = len(of_2d.weights.start) - 1, 0
    for network in (folded.to_2d, folded.to_3d):
        (_, target), middle = network.dims, sum(network.dims) // 2
        rows = min(target, middle)
        each += middle**2 + rows * middle - rows * (rows - 1) // 2
    return 2 * pixels * each


def ops():
    return {f"cmad.ops.{name}": f"op {name}" for name in cmad.ops.__all__}


def found(path):
    """The owner of a function, its name, and itself, or None where it is not there."""
    *places, name = path.split(".")
    owner = None
    for i in range(len(places), 0, -1):
        try:
            owner = importlib.import_module(".".join(places[:i]))
            owner = functools.reduce(getattr, places[i:], owner)
            break
        except (ImportError, AttributeError):
            continue
    return owner, name, vars(owner).get(name)


def having(name, function):
    modules = [m for n, m in list(sys.modules.items()) if n.split(".")[0] == "cmad"]
    return [m for m in modules if vars(m).get(name) is function]


def moved(value, seen=None):
    """Bytes of all arrays in a value, each once."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray | torch.Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(moved(v, seen) for v in value.values())
    if isinstance(value, list | tuple):
        return sum(moved(v, seen) for v in value)
    if is_dataclass(value) and not isinstance(value, type):
        return sum(moved(getattr(value, f.name), seen) for f in fields(value))
    return 0


def rates(dtype):
    """GFLOP/s of a product as a ViT's, and GB/s of a copy that no cache holds."""
    x, weight = torch.randn(785, 768).to(dtype), torch.randn(3072, 768).to(dtype)
    source = torch.ones(1 << 26)
    target = torch.empty_like(source)
    with torch.inference_mode():
        product = best(lambda: linear(x, weight, None))
        copy = best(lambda: target.copy_(source))
    return 2 * 785 * 768 * 3072 / product / 1e9, 2 * source.nbytes / copy / 1e9


def best(of):
    def once():
        begin = time.perf_counter()
        of()
        return time.perf_counter() - begin

    once()
    return min(once() for _ in range(7))


def detector_of(arguments):
    method = METHODS[arguments.method]
    detector = method(
        rgb=arguments.rgb,
        xyz=arguments.xyz,
        variant=arguments.variant,
        image_size=arguments.image_size,
        precision=arguments.precision,
        rgb_weights="random",
        xyz_weights="random" if arguments.xyz == "point_mae" else None,
    )
    known = {f.name for f in fields(method.Training)}
    asked = {name: value for name, value in TRAINING.items() if name in known}
    parts = Synthetic(good=5)
    detector.fit([parts[i] for i in range(3)], progress=False, **asked)
    detector.calibrate([parts[i] for i in (3, 4)], 0.4, progress=False)
    return detector


def profiled(detector, part, repeats):
    """The profile of `repeats` runs after one to warm up, and one to count."""
    profile = Profile()
    plain = detector.predict(part.rgb, part.xyz)
    with profile.watching():
        for _ in range(1 + repeats):
            profile.runs.append({})
            got = detector.predict(part.rgb, part.xyz)
            if got.score != plain.score or not np.array_equal(got.map, plain.map):
                raise SystemExit("error: profiling changed the result")
        timed, profile.runs = profile.runs[1:], [{}]
        profile.counting = True
        with Products(profile):
            detector.predict(part.rgb, part.xyz)
    profile.runs = timed
    return profile


def table(profile, gflops, gbs) -> list[dict[str, object]]:
    total = statistics.median(sum(run.values()) for run in profile.runs)
    names = list(dict.fromkeys(name for run in profile.runs for name in run))
    rows = []
    for name in names:
        seconds = statistics.median(run.get(name, 0.0) for run in profile.runs)
        product = profile.products.get(name, 0.0) / gflops / 1e9
        memory = profile.moved.get(name, 0.0) / gbs / 1e9 if within(name) else 0.0
        rows.append(
            {
                "stage": name,
                "ms": 1e3 * seconds,
                "share": seconds / total,
                "gflop": profile.products.get(name, 0.0) / 1e9,
                "mb": profile.moved.get(name, 0.0) / 1e6,
                "floor_ms": 1e3 * max(product, memory),
            }
        )
    return sorted(rows, key=lambda row: -row["ms"])


def within(name):
    """Whether a stage's bytes are its own work, and not that of the stages within it."""
    return not name.startswith(("the rest", "everything"))


def printed(rows: Iterable[Mapping[str, object]]) -> None:
    form = "{:34} {:>9} {:>7} {:>8} {:>8} {:>9} {:>7}"
    print(form.format("stage", "ms", "share", "GFLOP", "MB", "floor ms", "x floor"))
    for row in rows:
        floor = row["floor_ms"]
        print(
            form.format(
                row["stage"],
                f"{row['ms']:.2f}",
                f"{row['share']:.1%}",
                f"{row['gflop']:.2f}",
                f"{row['mb']:.1f}",
                f"{floor:.2f}",
                f"{row['ms'] / floor:.1f}" if floor > 0.005 else "",
            )
        )


def size_of(text):
    width, x, height = text.partition("x")
    if x and width.isdigit() and height.isdigit() and min(int(width), int(height)) >= 64:
        return int(height), int(width)
    raise argparse.ArgumentTypeError(f"must be WxH, each from 64, got {text!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=list(METHODS), default="cfm")
    parser.add_argument("--size", type=size_of, default=(400, 400), metavar="WxH")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="auto", help="auto, fp32, fp16 or bf16")
    parser.add_argument("--variant", default="full", help="full, medium, small or tiny")
    parser.add_argument("--rgb", default="vit_base_patch8_224.dino")
    parser.add_argument("--xyz", default="point_mae")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    arguments = parser.parse_args()
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: {arguments.json.parent}: no such file or folder")
    if arguments.repeats < 1 or arguments.threads < 1:
        parser.error("--repeats and --threads must be at least 1")
    torch.set_num_threads(arguments.threads)
    with one_line():
        detector = detector_of(arguments)
    part = Synthetic(good=1, size=arguments.size, seed=1)[0]
    gflops, gbs = rates(detector.pipeline.precision)
    profile = profiled(detector, part, arguments.repeats)
    rows = table(profile, gflops, gbs)
    totals = [1e3 * sum(run.values()) for run in profile.runs]
    height, width = arguments.size
    print(
        f"{arguments.method} {arguments.variant}, {arguments.rgb} and {arguments.xyz}, "
        f"{width}x{height}, {arguments.threads} threads, {arguments.precision}: "
        f"{statistics.median(totals):.1f} ms ({min(totals):.1f} to {max(totals):.1f}); "
        f"floors {sum(row['floor_ms'] for row in rows):.1f} ms at {gflops:.0f} GFLOP/s and "
        f"{gbs:.1f} GB/s"
    )
    printed(rows)
    if arguments.json:
        said = {k: str(v) if isinstance(v, Path) else v for k, v in vars(arguments).items()}
        kept = {"environment": environment(), "arguments": said, "gflops": gflops, "gbs": gbs}
        arguments.json.write_text(json.dumps({**kept, "ms": totals, "stages": rows}, indent=1))


if __name__ == "__main__":
    main()
