"""3D extractors, alone and together, on a real category: the table of docs/surfaces.md.

    CMAD_MVTEC3D=... CMAD_WEIGHTS=... python benchmarks/surfaces.py [--seeds 3] [--keep DIR]

CFM with the ViT-S/14 (DINOv2 shape) that CMAD_WEIGHTS holds, blocks 1 to 8, at 392 pixels. It is
trained once for each extractor, way to treat gaps, and seed; the rows of several extractors are put
together of these, as a training of all at once would be. ``--keep`` keeps features and trained
models, so that what was done is not done again: also for two processes at once, each with some of
``--xyz``. Beside the test parts the validation parts are judged, with synthetic defects on them,
which nothing was trained on: what a choice can be made by. Times are of one thread, from arrays to
maps.
"""
# ruff: noqa: E402

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries load, so before they are imported

import argparse
import json
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _environment import environment, one_line

import cmad
from cmad.metrics import image_auroc, pool
from cmad.preprocess import mask_to_grid
from cmad.synthesis import Synthesis, synthesise_samples

ROWS = ("fpfh", "geometry", "normals", "fpfh+normals")
NAMES = ("I-AUROC", "P-AUROC", "@30%", "@10%", "@5%", "@1%", "@1% grid")
SYNTHETIC = Synthesis(kinds=("both", "colour", "shape"))


def vit():
    return cmad.extractors.ViT("vit_small_patch14_dinov2", block=8, image_size=392)


def single(kind, gaps, seed, train, args):
    """Train for one extractor, or load what was kept."""
    length = f"{args.epochs}-{args.pixels_per_image}-{args.batch_size}"
    path = args.keep / f"{args.category}-{kind}-{gaps}-{seed}-{length}.cmad"
    given = {"rgb": vit(), "gaps": gaps, "seed": seed}
    if not path.exists():
        detector = cmad.CFM(xyz=kind, cache=args.keep / "features", **given)
        detector.fit(
            train,
            epochs=args.epochs,
            pixels_per_image=args.pixels_per_image,
            batch_size=args.batch_size,
        )
        detector.save(path, include_extractors=True)
    return cmad.load(path, rgb=given["rgb"], cache=args.keep / "features")


def together(kinds, gaps, seed, train, args):
    """Put a detector of several extractors together of those of one each."""
    members = [single(kind, gaps, seed, train, args) for kind in kinds]
    if len(members) == 1:
        return members[0]
    xyz = [member.pipeline.extractors["xyz"] for member in members]
    cache = args.keep / "features"
    detector = cmad.CFM(rgb=vit(), xyz=xyz, gaps=gaps, seed=seed, cache=cache)
    names = detector.fusion.members
    detector.fusion.take(
        {
            f"{name}.{key}": tensor
            for name, member in zip(names, members, strict=True)
            for key, tensor in member.tensors().items()
        }
    )
    return detector


def judged(detector, parts):
    """Grid maps of parts, their masks on the grid, and kinds of defects."""
    grids = [grid for part in parts for grid in detector.grids([part])]
    how = detector.pipeline.preprocessing
    masks = [
        np.zeros(grid.map.shape, bool) if part.mask is None else mask_to_grid(part.mask, how)
        for part, grid in zip(parts, grids, strict=True)
    ]
    return grids, np.stack(masks), np.array([part.defect or "defect" for part in parts])


def measured(grids, masks, kinds):
    """The metrics of `NAMES`; without good parts no image AUROC."""
    pooled = pool(np.stack([grid.map for grid in grids]), masks)
    defective = kinds != "good"
    mixed = defective.any() and not defective.all()
    image = image_auroc([grid.score for grid in grids], defective) if mixed else float("nan")
    return [image, pooled.auroc(), *pooled.aupro(), pooled.aupro((0.01,), 99)[0]]


def seconds(detector, parts, count=6):
    """Median time of a part from arrays to maps, without the cache."""
    object.__setattr__(detector.pipeline, "cache", None)
    taken = []
    for part in parts[:count]:
        begin = time.perf_counter()
        detector.grids([part])
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def shown(values):
    """Mean and deviation over seeds, as the tables of the documentation have them."""
    mean = f"{np.mean(values):.3f}".removeprefix("0")
    return (
        mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.3f}".replace(" 0.", " .")
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("CMAD_MVTEC3D"))
    parser.add_argument("--category", default="cable_gland")
    parser.add_argument("--xyz", action="append", help="a row, extractors joined by +")
    parser.add_argument("--gaps", action="append", help="zero, filled; both by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--pixels-per-image", type=int, default=85)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--keep", type=Path, help="folder for features and trained models")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    args = parser.parse_args()
    if not args.data:
        parser.error("needs --data or CMAD_MVTEC3D: the root folder of MVTec 3D-AD")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        args.keep = args.keep or Path(folder)
        args.keep.mkdir(parents=True, exist_ok=True)
        results = run(args)
    about = environment()
    print("\n" + "\n".join(f"{name}: {value}" for name, value in about.items()))
    if args.json:
        args.json.write_text(json.dumps({**about, "rows": results}, indent=1) + "\n")


def run(args):
    with one_line():
        splits = ("train", "validation", "test")
        data = cmad.datasets.MVTec3D
        train, held_out, test = (list(data(args.data, args.category, s)) for s in splits)
        vit()
    made = synthesise_samples(held_out, SYNTHETIC, seed=0, count=24)
    parts = {"test": test, "synthetic": [part.sample for part in made]}
    print(f"| 3D | gaps | {' | '.join(NAMES)} | s |\n|{'---|' * (len(NAMES) + 3)}")
    results = []
    for kinds in args.xyz or ROWS:
        for gaps in args.gaps or ("zero", "filled"):
            found = {of: [] for of in parts}
            of_kind = {}
            for seed in range(args.seeds):
                detector = together(kinds.split("+"), gaps, seed, train, args)
                for of, some in parts.items():
                    grids, masks, named = judged(detector, some)
                    found[of].append(measured(grids, masks, named))
                    for kind in set(named) - {"good"} if of == "test" else ():
                        own = np.flatnonzero((named == kind) | (named == "good"))
                        some_grids = [grids[i] for i in own]
                        of_kind.setdefault(kind, []).append(
                            measured(some_grids, masks[own], named[own])
                        )
            time_ = seconds(detector, test)
            cells = [shown(values) for values in zip(*found["test"], strict=True)]
            print(f"| {kinds} | {gaps} | {' | '.join(cells)} | {time_:.2f} |", flush=True)
            synthetic = [shown(values) for values in zip(*found["synthetic"], strict=True)][1:]
            print(f"| | synthetic | | {' | '.join(synthetic)} | |", flush=True)
            for kind, values in sorted(of_kind.items()):
                cells = [shown(v) for v in zip(*values, strict=True)]
                print(f"| | {kind} | {' | '.join(cells)} | |", flush=True)
            results.append({"xyz": kinds, "gaps": gaps, "s": time_, **found, "kinds": of_kind})
    return results


if __name__ == "__main__":
    main()
