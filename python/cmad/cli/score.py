"""`cmad score`: apply a model to parts; files are written as results come."""

import os
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import typer

from cmad.cli._beside import Beside
from cmad.cli._common import EXPECTED, command, complain, note_random, said
from cmad.cli._drift import Drifting, Watch
from cmad.cli._interrupt import if_interrupted
from cmad.cli._options import Device, Files, Good, ModelFile, OutFolder, Written
from cmad.cli._parts import expect_named, expect_order, expect_writable
from cmad.cli._sources import read_parts, sources_of
from cmad.cli._truth import show
from cmad.cli._verdicts import Verdicts
from cmad.cli._words import in_options
from cmad.datasets.names import shown
from cmad.detectors import load
from cmad.evaluate import Tally
from cmad.progress import bar
from cmad.serve.locks import LOCK, Lock
from cmad.serve.results import Result, Results
from cmad.types import Sample


@command
def score(
    model: ModelFile,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="The parts: image and points files in turn (a.png a.tiff b.png b.ply), folders "
            "with the pairs rgb/NAME.png and xyz/NAME.tiff at any depth, or both. Points are TIFF, "
            "PLY, PCD or NPZ; with --intrinsics also depth images, PNG or TIFF.",
            show_default=False,
        ),
    ],
    *,
    out: OutFolder = Path("scores"),
    good: Good = None,
    files: Files,
    written: Written,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="A part that is unlike the training parts (another unit, BGR, exchanged axes, "
            "another camera pose or light, too little seen) is an error, not a warning.",
        ),
    ] = False,
    drifting: Drifting,
    device: Device = "auto",
) -> None:
    """Score parts with a model, and say which are accepted and which rejected.

    A line for each part, such as `t000: accepted, score 0.185 <= 0.204, p 0.19`; of more than 10
    the count of each verdict and the names of those that are rejected, not inspected or could not
    be scored. A model without a threshold gives scores without verdict, see `cmad calibrate`.

    Writes to DIR, as results come:

    - scores.csv and scores.jsonl: a line per part with name, rgb and xyz (its files), score,
      threshold, rejected, verdict (accepted, rejected, or not inspected where too little of the
      part is seen, which counts as rejected), p_value (the share of parts at least as anomalous,
      from calibration), inspected (whether enough of it is seen), regions (in scores.csv their
      number and, as largest_area, _centroid_x to _z, _box_top to _right and _modality, the largest
      one; in scores.jsonl all: box in pixels, area in mm², centroid in metres, peak and modality),
      defect and label where the data set knows them, the seconds it took, warnings, error if it
      could not be scored, and map and overlay, its files below DIR
    - scores.model.json: model, calibration and units, for `cmad report DIR`
    - maps/NAME.tiff: the anomaly map, float32, on the image's own pixels
    - overlays/NAME.png: the map over the image, with a caption below. With a threshold, colours run
      from half of it to one and a half of it, and a white line surrounds each region above it

    What an earlier run in DIR wrote is removed first, however that run ended: the maps and overlays
    that its tables list, and these. No other file is. After Ctrl-C the parts done so far are there.

    Files are read as those that the model was fitted to, their unit and camera are in it; an option
    given here counts instead.

    A part that cannot be scored is named, the others go on, and the exit code is 1 at the end.
    Where the truth is known (folders named good/, by --good or after the defect, masks in gt/) a
    table says how well the model did.
    """
    if_interrupted(lambda: f"results in {out} are as they were")
    expect_order("score", model, paths)
    detector = load(model, device=device)
    units = files.units(detector.units)
    sources = sources_of(paths, units, good or ())
    folders = [path for path in paths if path.is_dir()]
    expect_named(good, folders, [samples for _, samples in sources])
    total = sum(len(samples) for _, samples in sources)
    watch = Watch(detector, drifting)
    expect_writable("--out", out)
    if (watched := out / LOCK).exists():
        Lock(watched, f"--out {out}", "stop it first, or name another folder").release()
    tally, verdicts = Tally(detector), Verdicts()
    failed = hidden = 0
    if_interrupted(lambda: f"nothing new in {out}; maps of an earlier run may be removed")
    with Results(out, **vars(written)) as results, bar("scoring", total) as step:
        Beside.of(detector, model=shown(os.path.abspath(model)), units=units).write(
            out / "scores.jsonl"
        )
        if_interrupted(lambda: f"{results.count} of {total} parts in {out / 'scores.csv'}")
        for name, (rgb, xyz), sample in read_parts(sources):
            result = Result(results.unique(name), rgb, xyz, threshold=detector.threshold)
            try:
                if not isinstance(sample, Sample):
                    raise sample
                result.defect, result.label = sample.defect, sample.label
                begin = perf_counter()
                sample = replace(sample, name="")  # which the command's messages begin with
                [grid] = detector.grids([sample], strict=strict)
                full = detector.decide(grid, sample.xyz)
                result.seconds = perf_counter() - begin
            except EXPECTED as error:
                failed += 1
                result.error = said(error)
                complain(f"{result.name}: {result.error}")
                results.add(result)
            else:
                result.take(full, [in_options(w) for w in full.warnings])
                hidden += full.verdict == "not inspected"
                results.add(result, np.asarray(sample.rgb), full)
                tally.add(sample, grid)
                watch.see(result.name, full)
            verdicts.add(result)
            step(result.name)
    if results.removed:
        typer.echo(f"removed {results.removed} maps and overlays of an earlier run from {out}")
    verdicts.show(model, out)
    unseen = f", {hidden} of them not inspected" if hidden else ""
    typer.echo(f"scored {total - failed} of {total} parts{unseen}, results in {out}")
    watch.tell()
    note_random(*detector.pipeline.describe().values())
    show(tally)
    if failed:
        raise RuntimeError(f"{failed} of {total} parts could not be scored, see {out}/scores.csv")
