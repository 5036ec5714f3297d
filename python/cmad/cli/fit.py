"""`cmad fit`: from a folder of good parts to a model file."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from cmad.calibrate import check_parts
from cmad.checkpoint import Checkpoint
from cmad.cli._building import Building, Computing, Training
from cmad.cli._calibration import calibrate_on
from cmad.cli._common import EXPECTED, command, complain, describe
from cmad.cli._interrupt import Watched, if_interrupted
from cmad.cli._method import DEFAULT, Method, Set
from cmad.cli._model import Overwrite, beside, check_out, to_calibrate
from cmad.cli._options import Cache, FalseRejectRate, Files, Good, Seed, Shots, SkipBad
from cmad.cli._parts import expect_named, good_parts
from cmad.datasets import Folder, LazySamples, Loader
from cmad.detectors import method_named
from cmad.report.curves import check as check_curves
from cmad.report.curves import write as write_curves
from cmad.units import Units

Model = typer.Option("--out", "-o", metavar="MODEL.cmad", help="The model file to write.")


@command
def fit(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder of good parts, with the pairs rgb/NAME.png and xyz/NAME.tiff at any depth;"
            " or, with --category, the root of a data set that cmad.datasets.open recognises.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, Model],
    *,
    overwrite: Overwrite = False,
    category: Annotated[
        str | None,
        typer.Option(help="Fit its training parts, calibrate on its validation parts."),
    ] = None,
    good: Good = None,
    files: Files,
    false_reject_rate: FalseRejectRate = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The held-out good parts for --false-reject-rate, a folder like DATA.",
        ),
    ] = None,
    method: Method = DEFAULT,
    options: Set = None,
    building: Building,
    training: Training,
    shots: Shots = None,
    computing: Computing,
    seed: Seed = 0,
    cache: Cache = None,
    skip_bad: SkipBad = False,
    curves: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the losses by epoch there, .svg for a picture or .csv for a table; also of "
            "the held-out parts, where there are some. `cmad info` has them later, too.",
        ),
    ] = None,
    include_extractors: Annotated[
        bool,
        typer.Option(
            "--include-extractors",
            help="Store the extractors' weights in the model file too, so that it works where they "
            "cannot be had.",
        ),
    ] = False,
) -> None:
    """Learn from good parts and write a model file.

    Only good parts are used; one that is labelled defective is an error. Unit and camera of the
    files are kept in the model. The model's threshold
    comes from held-out good parts, where --false-reject-rate asks for it; without, `cmad score`
    gives scores but no verdict, until `cmad calibrate` sets a threshold. A training by epochs keeps
    its state in MODEL.cmad.checkpoint until the model is saved: after an interruption the same
    command goes on where it was.

    A file at --out is replaced when the model is complete, and only then: an error or Ctrl-C leaves
    it as it is. A calibrated model takes --overwrite.

    Two examples:

    - `cmad fit mvtec_3d --category bagel --out bagel.cmad -r 0.05`
    - `cmad fit parts/good --calibrate parts/more_good -r 0.02 --out part.cmad --unit mm`
    """
    check_out(out, overwrite)
    if curves is not None:
        check_curves(curves)
    watched = Watched(out)
    if_interrupted(lambda: str(watched))
    units = files.units()
    train = good_parts(data, category, "train", good, units)
    everything = train
    if shots is not None:
        train = train.few_shot(shots, seed)
    held_out = _held_out(data, category, false_reject_rate, calibrate, good, units)
    roots = [data] if calibrate is None else [data, calibrate]
    expect_named(good, roots, [everything, *([] if held_out is None else [held_out])])
    if held_out is not None and false_reject_rate is not None:
        check_parts(len(held_out), false_reject_rate)  # now, not after hours of training
    chosen = method_named(method)
    how = training.of(chosen)
    detector = building.recipe(chosen, options, computing, cache).detector(seed)
    describe(detector.pipeline.describe())
    checkpoint = Checkpoint(out.with_name(f"{out.name}.checkpoint"), say=typer.echo)
    begin = perf_counter()
    check = detector.pipeline.frame if skip_bad else None
    parts = Loader(train, skip_bad=skip_bad, check=check)
    try:
        unseen = None if curves is None or held_out is None else held_out
        detector.fit(parts, checkpoint=checkpoint, validation=unseen, **how)  # type: ignore[arg-type]
    except (*EXPECTED, KeyboardInterrupt):
        if checkpoint.epoch:
            complain(
                f"{checkpoint.epoch} of {checkpoint.count} epochs are kept in {checkpoint.path}: "
                "the same command goes on behind them",
                "note",
            )
        raise
    detector.units = units  # of the files; the parts come in metres
    if curves is not None:
        write_curves(detector.curves, curves, f"{detector.who}, {out.name}")
    loss = f"; last loss {sum(detector.losses[-1]):.4f}" if detector.losses else ""
    typer.echo(
        f"fitted {detector.who} to {len(train) - len(parts.bad)} good parts "
        f"in {perf_counter() - begin:.1f} s{loss}"
    )
    if held_out is not None and false_reject_rate is not None:
        try:
            calibrate_on(detector, held_out, false_reject_rate, skip_bad)
        except (*EXPECTED, KeyboardInterrupt) as error:
            # The training is not lost; a model in use, with its threshold, stays as it was.
            kept = beside(out)
            detector.save(kept, include_extractors)
            checkpoint.remove()
            again = f"the model without a threshold is {kept}, to go on: " + to_calibrate(
                kept, false_reject_rate, out
            )
            if isinstance(error, KeyboardInterrupt):
                if_interrupted(lambda: f"{watched}; {again}")
            else:
                complain(f"not calibrated: {again}", "note")
            raise
    detector.save(out, include_extractors)
    checkpoint.remove()
    typer.echo(f"saved {out}, {out.stat().st_size / 1e6:.1f} MB")


def _held_out(
    data: Path,
    category: str | None,
    rate: float | None,
    calibrate: Path | None,
    good: Sequence[str] | None,
    units: Units,
) -> LazySamples | None:
    if rate is None:
        if calibrate is not None:
            raise ValueError("--calibrate needs --false-reject-rate too, such as 0.05")
        return None
    if not 0 < rate < 1:
        raise ValueError(f"--false-reject-rate must be in (0, 1), got {rate:g}")
    if calibrate is not None:
        return Folder(calibrate, good or (), **vars(units))
    if category is None:
        raise ValueError(
            "--false-reject-rate needs held-out good parts: name their folder with --calibrate"
        )
    return good_parts(data, category, "validation", good, units)
