"""Time per part of each option of CFM, beside the default: the table of docs/cfm.md.

    python benchmarks/options.py [--only mapping] [--parts 4] [--rgb NAME] [--json FILE]

One thread, random weights, synthetic parts of 400x400; from arrays to maps. The options take turns
with the default, so ratios count on a busy machine, too. An option that cannot be run here, such as
an extractor whose library is missing, says why.
"""
# ruff: noqa: E402

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, so before they are imported

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path

import torch
from _environment import environment

import cmad
from cmad.datasets import Synthetic

ROWS = {
    "default": [{}],
    "variant": [{"variant": v} for v in ("medium", "small", "tiny")],
    "mapping": [{"mapping": m} for m in ("encoder_decoder", "conv")],
    "intramodal": [{"intramodal": True}],
    "aggregation": [{"aggregation": a} for a in ("sum", "max", "2d", "3d")],
    "discrepancy": [{"discrepancy": "cosine"}],
    "xyz": [
        *({"xyz": x} for x in ("fpfh", "geometry", "normals", "depth")),
        {"xyz": "fpfh+normals", "gaps": "filled"},
    ],
    "gaps": [{"gaps": "filled"}],
    "rgb": [
        {"rgb": name}
        for name in (
            "vit_base_patch16_clip_224.openai",
            "vit_base_patch14_dinov2.lvd142m",
            "samvit_base_patch16.sa1b",
            "vit_small_patch14_dinov2.lvd142m",
        )
    ],
}
"""By the option, settings beside the default."""


def made(settings, args):
    """Make a detector, and train it on one part for one step."""
    given = {"weights": "random", "seed": 0, **({"rgb": args.rgb} if args.rgb else {}), **settings}
    if args.image_size:
        given["image_size"] = args.image_size
    part = Synthetic("train", good=1, size=(400, 400))
    return cmad.CFM(**given).fit(part, epochs=1, pixels_per_image=200, progress=False)


def timed(detectors, parts):
    """Seconds per part of each detector, the median; they take turns."""
    taken = {name: [] for name in detectors}
    for part in [parts[0], *parts]:
        for name, detector in detectors.items():
            begin = time.perf_counter()
            grid = detector.predict(part.rgb, part.xyz, resolution="grid")
            taken[name].append(time.perf_counter() - begin)
            if not grid.score > 0:
                raise SystemExit(f"{name}: a score of {grid.score}")
    return {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"some of {', '.join(ROWS)}, separated by commas")
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--rgb", help="another 2D extractor for all rows that name none")
    parser.add_argument("--image-size", type=int, help="pixels of the grid, 224 by default")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    args = parser.parse_args()
    only = list(ROWS) if args.only is None else args.only.split(",")
    if unknown := set(only) - set(ROWS):
        parser.error(f"--only: {', '.join(sorted(unknown))}: none of {', '.join(ROWS)}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    parts = list(Synthetic("test", good=args.parts, size=(400, 400)))
    usual, results = made({}, args), []
    print("| option | s | of the default |\n|---|---|---|")
    for option in only:
        for settings in ROWS[option]:
            name = ", ".join(f"{k}={v}" for k, v in settings.items()) or "default"
            try:
                detectors = {"default": usual, name: made(settings, args)}
            except (RuntimeError, ImportError) as error:
                print(f"| {name} | {str(error).splitlines()[0]} | |", flush=True)
                continue
            seconds = timed(detectors, parts)
            ratio = seconds[name] / seconds["default"]
            print(f"| {name} | {seconds[name]:.2f} | {ratio:.2f} |", flush=True)
            results.append({"option": name, "s": seconds[name], "ratio": ratio})
    about = environment()
    print("\n" + "\n".join(f"{name}: {value}" for name, value in about.items()))
    if args.json:
        args.json.write_text(json.dumps({**about, "rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
