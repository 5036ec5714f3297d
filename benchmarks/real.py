"""Methods on a real category of MVTec 3D-AD: metrics, time per stage, and a contact sheet of maps.

    CMAD_MVTEC3D=... CMAD_WEIGHTS=... python benchmarks/real.py [--method g2sf,cfm] [--xyz fpfh]

The 2D extractor is the ViT-S/14 (DINOv2 shape) that CMAD_WEIGHTS holds, blocks 1 to 8, at 392
pixels. The 3D extractors are those of --xyz: FPFH (extra "fpfh") and Point-MAE with seeded random
weights by default; AST's own is --xyz depth_blocks. BTF has its WideResNet-50-2 and AST its
EfficientNet-B5; where CMAD_WEIGHTS does not hold their weights they are random, which is printed:
then the row shows that it runs, and no more.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from _environment import environment, one_line
from PIL import Image

import cmad
from cmad.detectors import METHODS
from cmad.detectors import detector as shell
from cmad.extractors import EfficientNet
from cmad.extractors.efficientnet import efficient
from cmad.extractors.pyramid import Pyramid, convolutional
from cmad.extractors.weights import find
from cmad.metrics import LIMITS, aupro, image_auroc, pixel_auroc
from cmad.pipeline import Pipeline
from cmad.report import pictures


class Clock:
    """Adds up the seconds of named stages, by wrapping the functions that do them."""

    def __init__(self):
        self.seconds = defaultdict(float)
        self.calls = defaultdict(int)

    @contextmanager
    def stage(self, name):
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start
        self.calls[name] += 1

    def take(self):
        """Return seconds and calls by stage, and start again."""
        taken = {stage: (seconds, self.calls[stage]) for stage, seconds in self.seconds.items()}
        self.seconds.clear()
        self.calls.clear()
        return taken

    @contextmanager
    def wrapped(self, owner, name, stage):
        """Time every call of a class's or module's function while the body runs."""
        inner = getattr(owner, name)

        def timed(*args, **kwargs):
            with self.stage(stage):
                return inner(*args, **kwargs)

        setattr(owner, name, timed)
        try:
            yield
        finally:
            setattr(owner, name, inner)


def extractor(kind, seed):
    return cmad.extractors.PointMAE(weights="random", seed=seed) if kind == "random" else kind


def of_images(name, seed):
    """The 2D extractor of a method."""
    usual = METHODS[name].usual["rgb"]
    if convolutional(usual):
        return Pyramid(usual, weights=None if find(usual) else "random", seed=seed)
    if efficient(usual):
        return EfficientNet(usual, weights=None if find(usual) else "random", seed=seed)
    return cmad.extractors.ViT("vit_small_patch14_dinov2", block=8, image_size=392)


def smoothed(maps):
    return [cmad.ops.smooth(torch.from_numpy(m)[None])[0].numpy() for m in maps]


def trained(name, args):
    """The arguments of a method's training."""
    if name == "g2sf":
        return {
            "epochs": args.g2sf_epochs,
            "batch_size": args.g2sf_batch,
            "synthetic_parts": args.synthetic_parts,
        }
    if name != "cfm":
        return {}
    known = [f.name for f in fields(METHODS[name].Training)]
    return {k: getattr(args, k) for k in known if k in args}


def run(kind, name, args):
    method = METHODS[name]
    with one_line():
        train = cmad.datasets.MVTec3D(args.data, args.category, "train")
        test = cmad.datasets.MVTec3D(args.data, args.category, "test")
        rgb = of_images(name, args.seed)
        detector = method(
            rgb=rgb,
            xyz=extractor(kind, args.seed),
            preset=args.preset,
            seed=args.seed,
            gaps=args.gaps,
        )
    clock = Clock()
    asked = trained(name, args)
    samples, predictions = list(test), []
    with ExitStack() as timed:
        for owner, function, stage in (
            (shell, "extract", "fit: extract once"),
            (method, "learn", "fit: learn"),
            (Pipeline, "frame", "prepare"),
            (type(rgb), "tokens", "2D extractor"),
            (method, "maps", "method"),
            *(
                (of_points, function, stage)
                for of_points in {type(e) for e in detector.pipeline.of_points.values()}
                for function, stage in (("batch", "3D extractor"), ("fit", "3D statistics"))
            ),
        ):
            timed.enter_context(clock.wrapped(owner, function, stage))
        detector.fit(train, **asked)
        fitting = clock.take()
        for sample in samples:
            with clock.stage("predict, whole"):
                predictions.append(detector.predict(sample.rgb, sample.xyz))

    masks, labels = [s.mask for s in samples], [s.label for s in samples]
    rows = {}
    for map_, maps in {
        "map": [p.map for p in predictions],
        **{m: smoothed([p.maps[m] for p in predictions]) for m in predictions[0].maps},
        "2d + 3d": smoothed([p.maps["2d"] + p.maps["3d"] for p in predictions]),
    }.items():
        rows[map_] = {
            "I-AUROC": image_auroc([m.max() for m in maps], labels),
            "P-AUROC": pixel_auroc(maps, masks),
            **{
                f"AUPRO@{r:.0%}": a for r, a in zip(LIMITS, aupro(maps, masks, LIMITS), strict=True)
            },
            "AUPRO@1% grid": aupro(maps, masks, [0.01], thresholds=99)[0],
        }
    print(
        f"\n{detector.who}, {args.category}, {'; '.join(detector.pipeline.describe().values())}, "
        f"preset {args.preset}, gaps {args.gaps}"
    )
    table(rows)
    print(f"{len(train)} training and {len(test)} test parts; seconds, and ms a call:")
    predicting = clock.take()
    for stages in (fitting, predicting):
        for stage, (seconds, calls) in stages.items():
            print(f"  {stage:18} {seconds:8.1f}  ({seconds / calls * 1e3:8.1f} ms x {calls})")
    once = fitting["fit: extract once"][0]
    if epochs := asked.get("epochs"):
        print(
            f"  extracting once took {once:.0f} s; in each of {epochs} epochs it would have "
            f"been {once * epochs / 3600:.1f} h"
        )
    sheet(samples, predictions, args.out / f"{args.category}_{name}_{kind}.png")
    return {"rows": rows, "fit": fitting, "predict": predicting}


def table(rows):
    """Print metrics, a line for each map."""
    print(f"{'map':24}" + "".join(f"{k:>15}" for k in next(iter(rows.values()))))
    for name, row in rows.items():
        print(f"{name:24}" + "".join(f"{v:15.3f}" for v in row.values()))


def sheet(samples, predictions, path):
    """Two parts of each kind: colour, depth, map, truth. One scale for all maps."""
    high = float(np.quantile([p.map.max() for p in predictions], 0.9))
    rows, captions, seen = [], [], defaultdict(int)
    for sample, prediction in zip(samples, predictions, strict=True):
        seen[sample.defect] += 1
        if seen[sample.defect] > 2:
            continue
        overlay = pictures.overlay(sample.rgb, prediction.map, 0.0, high)
        rows.append(
            [
                Image.fromarray(sample.rgb),
                pictures.depth(sample.xyz),
                pictures.outline(overlay, sample.mask),
                pictures.colour(prediction.map, 0.0, high),
            ]
        )
        captions.append(f"{sample.name}  score {prediction.score:.3f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures.sheet(rows, ["colour", "depth", "overlay, truth outlined", "map"], captions).save(path)
    print(f"  {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default=os.environ.get("CMAD_MVTEC3D"))
    parser.add_argument("--category", default="cable_gland")
    parser.add_argument("--method", default=next(iter(METHODS)), help="some, separated by commas")
    parser.add_argument(
        "--xyz", action="append", help="fpfh, normals, depth, geometry, some joined by +, or random"
    )
    parser.add_argument("--gaps", default="zero")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--epochs", type=int, default=1032)
    parser.add_argument("--pixels-per-image", type=int, default=85)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--g2sf-epochs", type=int, default=40)
    parser.add_argument("--g2sf-batch", type=int, default=1024)
    parser.add_argument("--synthetic-parts", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"))
    args = parser.parse_args()
    if not args.data:
        parser.error("needs --data or CMAD_MVTEC3D: the root folder of MVTec 3D-AD")
    methods = args.method.split(",")
    if wrong := set(methods) - set(METHODS):
        parser.error(
            f"--method must be some of {', '.join(METHODS)}, got {', '.join(sorted(wrong))}"
        )
    kinds = args.xyz or ["fpfh", "random"]
    results = {(m, k): run(k, m, args) for m in methods for k in kinds}
    print("\nall methods")
    table({f"{m}, {k}": result["rows"]["map"] for (m, k), result in results.items()})
    about = {**environment(), "arguments": {k: str(v) for k, v in vars(args).items()}}
    print(json.dumps(about))
    path = args.out / f"{args.category}_{'_'.join(methods)}.json"
    flat = {f"{m}, {k}": result for (m, k), result in results.items()}
    path.write_text(json.dumps({"about": about, "results": flat}, indent=2) + "\n")
    print(f"  {path}")


if __name__ == "__main__":
    main()
