"""`cmad score`: apply a model to parts; files are written as results come."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import typer

from cmad.cli._common import EXPECTED, command, complain, note_random, said
from cmad.cli._options import (
    DepthScale,
    DepthUnit,
    Good,
    Intrinsics,
    Unit,
    expect_named,
    units_of,
)
from cmad.cli._results import Result, Results
from cmad.cli._truth import show
from cmad.datasets import Folder, Pairs
from cmad.datasets.files import LazySamples
from cmad.datasets.names import plain
from cmad.detectors import load
from cmad.evaluate import Tally
from cmad.progress import bar
from cmad.types import Sample
from cmad.units import Units


@command
def score(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL.cmad", help="From `cmad fit`.", show_default=False),
    ],
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="The parts: image and points files in turn (a.png a.tiff b.png b.ply), folders "
            "with the pairs rgb/NAME.png and xyz/NAME.tiff at any depth, or both. Points are TIFF, "
            "PLY, PCD or NPZ; with --intrinsics also depth images, PNG or TIFF.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write to.")
    ] = Path("scores"),
    good: Good = None,
    unit: Unit = None,
    intrinsics: Intrinsics = None,
    depth_unit: DepthUnit = None,
    depth_scale: DepthScale = None,
    maps: Annotated[bool, typer.Option(help="Write maps/NAME.tiff.")] = True,
    overlays: Annotated[bool, typer.Option(help="Write overlays/NAME.png.")] = True,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="A part that is unlike the training parts (another unit, BGR, exchanged axes, "
            "another camera pose or light, too little seen) is an error, not a warning.",
        ),
    ] = False,
) -> None:
    """Score parts with a model.

    Writes to DIR, as results come, over files of an earlier run:

    - scores.csv and scores.jsonl: a line per part with name, score, threshold, rejected,
      verdict (accepted, rejected, or not inspected where too little of the part is seen, which
      counts as rejected), p_value (the share of parts at least as anomalous, from calibration),
      regions (in scores.csv their number, in scores.jsonl each one's box, area in mm², centroid in
      metres, peak and modality), defect and label where the data set knows them, the seconds it
      took, warnings, and error if it could not be scored
    - maps/NAME.tiff: the anomaly map, float32, on the image's own pixels
    - overlays/NAME.png: the map over the image, with a caption below. With a threshold, colours run
      from half of it to one and a half of it, and a white line surrounds each region above it

    Files are read as those that the model was fitted to, their unit and camera are in it; an option
    given here counts instead.

    A part that cannot be scored is named, the others go on, and the exit code is 1 at the end.
    Where the truth is known (folders named good/, by --good or after the defect, masks in gt/) a
    table says how well the model did.
    """
    detector = load(model)
    units = units_of(unit, intrinsics, depth_unit, depth_scale, detector.units)
    sources = _sources(paths, units, good or ())
    folders = [path for path in paths if path.is_dir()]
    expect_named(good, folders, [samples for _, samples in sources])
    total = sum(len(samples) for _, samples in sources)
    tally = Tally(detector)
    failed = hidden = 0
    with Results(out, maps=maps, overlays=overlays) as results, bar("scoring", total) as step:
        for name, sample in _read(sources):
            result = Result(results.unique(name), threshold=detector.threshold)
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
            else:
                result.score, result.rejected = full.score, full.rejected
                result.verdict, result.warnings = full.verdict, list(full.warnings)
                hidden += full.verdict == "not inspected"
                result.p_value = full.p_value
                if full.pixel_threshold is not None:
                    result.regions = [asdict(region) for region in full.regions]
                results.draw(result.name, np.asarray(sample.rgb), full)
                tally.add(sample, grid)
            results.add(result)
            step(result.name)
    unseen = f", {hidden} of them not inspected" if hidden else ""
    typer.echo(f"scored {total - failed} of {total} parts{unseen}, results in {out}")
    note_random(*detector.pipeline.describe().values())
    show(tally)
    if failed:
        raise RuntimeError(f"{failed} of {total} parts could not be scored, see {out}/scores.csv")


def _sources(paths: list[Path], units: Units, good: Sequence[str]) -> list[tuple[str, LazySamples]]:
    """List what to score: a prefix for the names, needed where there are several, and the parts."""
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir()]
    sources: list[tuple[str, LazySamples]] = []
    if files:
        sources = [("", Pairs(files, **vars(units)))]
    several = len(folders) + len(sources) > 1
    for folder in folders:
        sources.append(
            (
                f"{plain(folder.absolute().name)}/" if several else "",
                Folder(folder, good, **vars(units)),
            )
        )
    return sources


def _read(sources: list[tuple[str, LazySamples]]) -> Iterator[tuple[str, Sample | Exception]]:
    """Read one part after the other; one that cannot be read comes as the error."""
    for prefix, samples in sources:
        for i, name in enumerate(samples.names):
            try:
                yield f"{prefix}{name}", samples[i]
            except EXPECTED as error:
                yield f"{prefix}{name}", error
