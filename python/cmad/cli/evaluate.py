"""`cmad evaluate`: tables like the papers', for one or all categories of a data set."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cmad.cli._building import Building, Computing, Training
from cmad.cli._common import command, command_line, describe
from cmad.cli._evaluation import Pages, SeedRun, show
from cmad.cli._interrupt import if_interrupted
from cmad.cli._method import DEFAULT, Method, Set
from cmad.cli._options import Cache, Categories, FalseRejectRate, Files, Good, Seed, Shots, SkipBad
from cmad.cli._parts import expect_writable
from cmad.cli._plan import categories_of, check_splits, configuration
from cmad.cli._tested import Tested
from cmad.datasets import open as open_data
from cmad.datasets.names import plain
from cmad.detectors import method_named
from cmad.evaluate import Plan, fingerprint
from cmad.evaluate import evaluate as run_evaluation
from cmad.report.subject import subject_of


@command
def evaluate(
    context: typer.Context,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A data set as it is downloaded (MVTec 3D-AD, 3D-ADAM, Real-IAD D3, Eyecandies), "
            "or one arranged like them, or in plain folders good/ and <defect>/; or one category.",
            show_default=False,
        ),
    ],
    *,
    method: Method = DEFAULT,
    options: Set = None,
    category: Categories = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for the tables. Categories whose results are there already are not run "
            "again.",
        ),
    ] = Path("evaluation"),
    maps: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the anomaly maps of the test parts there, float32 TIFF at original size, "
            "<category>/test/<defect>/<number>.tiff, as the MVTec 3D-AD evaluation script takes "
            "them; of the first of --seeds.",
        ),
    ] = None,
    good: Good = None,
    files: Files,
    shots: Shots = None,
    false_reject_rate: FalseRejectRate = None,
    skip_bad: SkipBad = False,
    building: Building,
    training: Training,
    computing: Computing,
    seed: Seed = 0,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Fit and test N times, with the seeds --seed, --seed + 1, ..., and give mean ± "
            "standard deviation. Seeds whose results are there already are not run again.",
        ),
    ] = 1,
    cache: Cache = None,
) -> None:
    """Fit and test a method on one or all categories, and write tables like the papers'.

    Writes evaluation.csv, .json, .md and .tex (LaTeX) to DIR: metrics per category and their mean,
    AUPRO with every threshold and with the published grid of thresholds, the papers' numbers
    beside them and why they are not comparable where they are not, parts per second, memory, and
    what was run; and parts/CATEGORY.jsonl, a line for each test part as scores.jsonl has it, for
    `cmad report DIR`. The tables grow category by category; after an interruption the same command
    goes on with the category, and the epoch of its training, that it was in.

    - `cmad evaluate mvtec_3d_anomaly_detection --category bagel --pixels-per-image 500`
    - `cmad evaluate Eyecandies --shots 10 --seeds 3 --out ten_shots`
    """
    if_interrupted(lambda: f"results in {out} are as they were")
    chosen = method_named(method)
    how = training.of(chosen)
    units = files.units()
    found = open_data(data, good=good or (), **vars(units))
    categories = categories_of(found, category)
    check_splits(found, categories, shots, false_reject_rate, seeds)
    recipe = building.recipe(chosen, options, computing, cache)
    make = recipe.detector
    fixed = {
        **configuration(recipe, found, how),
        "false_reject_rate": false_reject_rate,
        "shots": shots,
        "skip_bad": skip_bad,
    }
    # Also finds wrong options and missing weights, before anything is written.
    first = make(seed)
    if maps is not None:
        expect_writable("--maps", maps)
    expect_writable("--out", out)
    prints = {name: fingerprint(found, name) for name in categories}
    runs = [
        SeedRun(one, out, first if one == seed else make(one), fixed, prints, one == seed)
        for one in range(seed, seed + seeds)
    ]
    if maps is not None:
        runs[0].keep_with_maps(maps)

    def kept() -> str:
        done, of = sum(len(run.kept) for run in runs), len(runs) * len(categories)
        times = f" (categories x {seeds} seeds)" if seeds > 1 else ""
        return (
            f"results of {done} of {of} categories{times} kept in {out}, the same command goes on"
        )

    if_interrupted(kept)
    typer.echo(f"{found.kind} in {plain(str(data))}: {', '.join(categories)}")
    describe(first.pipeline.describe())
    for run in runs:
        if run.kept:
            named = f" with seed {run.seed}" if seeds > 1 else ""
            typer.echo(f"results{named} kept from before: {', '.join(run.kept)}")
    about = {"data": plain(str(data.resolve())), "cache": cache is not None}
    subject = subject_of(first, found.kind, shots, how)
    pages = Pages(out, subject, categories, about, command_line(context))
    tested = Tested(out, found, units, tuple(good or ()))
    for run in runs:
        plan = Plan(
            shots,
            run.seed,
            how,
            false_reject_rate,
            skip_bad,
            maps if run.first else None,
            tested.add if run.first else None,
            run.checkpoints,
        )
        todo = [name for name in categories if name not in run.kept]
        for result in run_evaluation(found, todo, partial(make, run.seed), plan):
            if run.first:
                tested.keep(result.category)
            run.keep(result)
            spent = ", ".join(f"{k} {v:.1f} s" for k, v in result.seconds.items())
            named = f", seed {run.seed}" if seeds > 1 else ""
            typer.echo(f"{result.category}{named}: {spent}")
            pages.write(runs)
    written = pages.write(runs)
    show(pages.results(runs), subject)
    typer.echo(f"written: {', '.join(str(file) for file in written)}")
