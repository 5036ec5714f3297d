"""`cmad calibrate`: a new threshold for a model, without training."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cmad.calibrate import check_parts
from cmad.cli._calibration import calibrate_on
from cmad.cli._common import command, note_random
from cmad.cli._interrupt import Watched, if_interrupted
from cmad.cli._model import Overwrite, check_out, check_writable, described, stores_extractors
from cmad.cli._options import Cache, Device, Files, Good, ModelFile, RequiredRate, SkipBad
from cmad.cli._parts import expect_named, expect_order, good_parts
from cmad.detectors import load


@command
def calibrate(
    model: ModelFile,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder of held-out good parts, with the pairs rgb/NAME.png and xyz/NAME.tiff at "
            "any depth; or, with --category, the root of a data set that cmad.datasets.open "
            "recognises.",
            show_default=False,
        ),
    ],
    *,
    false_reject_rate: RequiredRate,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="MODEL.cmad",
            help="Write the calibrated model there, and leave MODEL as it is.",
            show_default="MODEL itself",
        ),
    ] = None,
    overwrite: Overwrite = False,
    category: Annotated[
        str | None, typer.Option(help="Calibrate on its validation parts.", show_default=False)
    ] = None,
    good: Good = None,
    files: Files,
    device: Device = "auto",
    cache: Cache = None,
    skip_bad: SkipBad = False,
) -> None:
    """Give a model a threshold, or a new one, from good parts that it was not trained on.

    Nothing is trained: what the model learnt, and whether its extractors' weights are in the file,
    stays as it is, and so do its scores. Calibrate again with parts of now when the material, the
    tool, the lamp or the camera changed, or for another rate.

    Parts that the model was trained on are refused, and so are copies of one part and parts that
    are labelled defective. MODEL is replaced at the end, as a whole: an error or Ctrl-C leaves it
    as it is.

    - `cmad calibrate part.cmad parts/of_today -r 0.02`
    - `cmad calibrate bagel.cmad mvtec_3d --category bagel -r 0.05 --out strict.cmad`
    """
    expect_order("calibrate", model, [data])
    if out is not None and not (out.exists() and model.exists() and out.samefile(model)):
        place = out
        check_out(place, overwrite)
    else:
        # A link to the model stays one.
        place = Path(os.path.realpath(model)) if model.is_symlink() else model
    watched = Watched(place)
    if_interrupted(lambda: str(watched))
    detector, with_extractors = load(model, device=device, cache=cache), stores_extractors(model)
    check_writable(place)
    units = files.units(detector.units)
    parts = good_parts(data, category, "validation", good, units)
    expect_named(good, [data], [parts])
    check_parts(len(parts), false_reject_rate)
    before = detector.calibration
    typer.echo(
        "not calibrated before"
        if before is None
        else f"before: {described(before.threshold, before.false_reject_rate)}"
    )
    calibrate_on(detector, parts, false_reject_rate, skip_bad)
    detector.save(place, with_extractors)
    typer.echo(f"saved {place}, {place.stat().st_size / 1e6:.1f} MB")
    note_random(*detector.pipeline.describe().values())
