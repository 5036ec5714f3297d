"""What epochs and pixels per image do to CFM on a real category: the table of docs/training.md.

    CMAD_MVTEC3D=... CMAD_WEIGHTS=... python benchmarks/epochs.py [--seeds 2] [--keep DIR]
    python benchmarks/epochs.py --results FILE --picture docs/epochs

CFM with FPFH and the ViT-S/14 (DINOv2 shape) that CMAD_WEIGHTS holds, as `surfaces.py` has it, four
parts a step. Each row is a training of its own, since nothing in it depends on its length.
``--picture`` draws losses and areas under the PRO curve against epochs; with ``--results``, what an
earlier run wrote with ``--json``, nothing is run.
"""
# ruff: noqa: E402

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, so before they are imported

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path

import torch
from _environment import environment, one_line
from _panels import draw
from surfaces import NAMES, judged, measured, shown, vit

import cmad

ROWS = ((10, 64), (50, 64), (250, 64), (10, 512), (50, 512), (250, 512), (10, 2000), (50, 2000))
"""Epochs and pixels per image."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("CMAD_MVTEC3D"))
    parser.add_argument("--category", default="cable_gland")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for features")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    parser.add_argument("--picture", type=Path, help="draw it, as .svg and .png of this name")
    parser.add_argument("--results", type=Path, help="draw those of an earlier run, and run none")
    args = parser.parse_args()
    if args.results:
        if not args.picture:
            parser.error("--results needs --picture: where to draw to")
        with one_line():
            picture(json.loads(args.results.read_text(encoding="utf-8")), args.picture)
        return
    for option, path in (("--json", args.json), ("--picture", args.picture)):
        if path and not path.absolute().parent.is_dir():
            parser.error(f"{option}: {path.parent}: no such file or folder")
    if not args.data:
        parser.error("needs --data or CMAD_MVTEC3D: the root folder of MVTec 3D-AD")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        results = run(args, (args.keep or Path(folder)) / "features")
    about = environment()
    print("\n" + "\n".join(f"{name}: {value}" for name, value in about.items()))
    results = {**about, "category": args.category, "rows": results}
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    if args.picture:
        picture(results, args.picture)


def run(args, cache):
    with one_line():
        splits = ("train", "validation", "test")
        data = cmad.datasets.MVTec3D
        train, held_out, test = (list(data(args.data, args.category, s)) for s in splits)
        vit()
    print("| epochs | pixels | steps | min | loss | held out | " + " | ".join(NAMES) + " |")
    print(f"|{'---|' * (len(NAMES) + 6)}")
    results = []
    for epochs, pixels in ROWS:
        found, losses, minutes = [], [], []
        for seed in range(args.seeds):
            detector = cmad.CFM(rgb=vit(), xyz="fpfh", gaps="filled", seed=seed, cache=cache)
            begin = time.process_time()
            detector.fit(
                train,
                validation=held_out,
                epochs=epochs,
                pixels_per_image=pixels,
                progress=False,
            )
            minutes.append((time.process_time() - begin) / 60)
            curves = detector.curves
            losses.append(
                [curves[f"2d{of}"][-1] + curves[f"3d{of}"][-1] for of in ("", " held out")]
            )
            found.append(measured(*judged(detector, test)))
        cells = [f"{sum(minutes) / len(minutes):.1f}"]
        cells += [shown(values) for values in zip(*losses, strict=True)]
        cells += [shown(values) for values in zip(*found, strict=True)]
        steps = len(detector.losses)
        print(f"| {epochs} | {pixels} | {steps} | {' | '.join(cells)} |", flush=True)
        results.append(
            {"epochs": epochs, "pixels": pixels, "losses": losses, "found": found, "min": minutes}
        )
    return results


def picture(results, stem):
    """Draw what a run wrote.

    Raises:
        ValueError: it is none of this benchmark's.
        OSError: the picture cannot be written.

    """
    rows = results.get("rows") if isinstance(results, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("these are no results of epochs.py: no list of rows")
    seeds = max((len(row.get("found", ())) for row in rows), default=0)
    where = f"{results.get('cpu', 'a processor')}, commit {results.get('commit', 'unknown')}"
    title = f"CFM with FPFH and ViT-S on {results.get('category', 'cable_gland')}, "
    draw(rows, f"{title}{seeds} seeds; {where}", stem)


if __name__ == "__main__":
    main()
