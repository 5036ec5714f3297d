"""`cmad reproduce`: a paper's tables of a method, ours beside the paper's."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cmad.cli import _rows as rows
from cmad.cli._building import Building, Computing, Training
from cmad.cli._common import command, command_line, describe
from cmad.cli._evaluation import SeedRun
from cmad.cli._interrupt import if_interrupted
from cmad.cli._method import Set, with_defaults
from cmad.cli._options import Cache, Categories, Seed, SkipBad
from cmad.cli._parts import expect_writable
from cmad.cli._plan import categories_of, check_splits, configuration
from cmad.datasets import open as open_data
from cmad.datasets.names import plain
from cmad.detectors import METHODS, Ablation, method_named
from cmad.evaluate import Plan, ablate, averages, fingerprint, groups
from cmad.report import reproduction
from cmad.report.evaluation import not_comparable
from cmad.report.subject import subject_of


@command
def reproduce(
    context: typer.Context,
    method: Annotated[
        str,
        typer.Argument(metavar="METHOD", help=f"One of: {', '.join(METHODS)}.", show_default=False),
    ],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A data set as it is downloaded (MVTec 3D-AD, Eyecandies), or one category of it.",
            show_default=False,
        ),
    ],
    *,
    options: Set = None,
    category: Categories = None,
    tables: Annotated[
        list[str] | None,
        typer.Option(
            "--table",
            metavar="TABLE",
            help="A table to run, by its number in the paper, or curve for the learning curve; "
            "may be repeated; none for the method as it is alone.",
            show_default="all",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for the tables. What is there already is not run again.",
        ),
    ] = Path("reproduction"),
    skip_bad: SkipBad = False,
    building: Building,
    training: Training,
    computing: Computing,
    seed: Seed = 0,
    seeds: Annotated[
        int,
        typer.Option(metavar="N", help="Fit and test N times, with --seed, --seed + 1, ..."),
    ] = 1,
    cache: Cache = None,
) -> None:
    """Fit and test a method as the tables of its paper do, and set ours beside the paper's.

    Writes reproduction.md, .tex (LaTeX) and .json to DIR: each of the paper's tables that has rows
    of the method, on the categories that are there, with its ablations (of CFM Tables 4 to 11 and
    13, of G2SF III to V and the supplement's), the difference, and why ours are not comparable
    where they are not. An ablation of training trains anew, one of scoring does not: G2SF's Table
    IV is four trainings more, CFM's Table 7 two of 50 epochs. After an interruption the same
    command goes on.

    - `cmad reproduce cfm mvtec_3d_anomaly_detection --table 4 --seeds 3`
    - `cmad reproduce g2sf mvtec_3d_anomaly_detection --table III --table V`
    """
    if_interrupted(lambda: f"results in {out} are as they were")
    chosen = method_named(method)
    how = training.of(chosen)
    found = open_data(data)
    categories = categories_of(found, category)
    check_splits(found, categories, None, None, seeds)
    recipe = building.recipe(chosen, options, computing, cache)
    make = recipe.detector
    first = make(seed)
    subject = subject_of(first, found.kind, None, how)
    usual = with_defaults(chosen, how)
    ablations, whole, asked = rows.chosen(chosen.ablations, tables, subject)
    length, notes = usual.get("epochs"), []
    rows_of: list[Ablation] = []
    for ablation in ablations:
        if not ablation.epoch or (isinstance(length, int) and ablation.epoch < length):
            own, note = rows.settled(ablation, recipe.settings, usual)
            rows_of.append(own)
            notes += [note] * bool(note)
    notes = rows.together(notes)
    fixed = {**configuration(recipe, found, how), "skip_bad": skip_bad}
    prints = {name: fingerprint(found, name) for name in categories}
    expect_writable("--out", out)
    several = range(seed, seed + seeds)
    trainings = groups(rows_of, whole=whole)
    runs: dict[str, list[SeedRun]] = {}
    for group, training_ in list(trainings.items()):
        try:
            made = [make(one, **training_.made) for one in several]
        except (RuntimeError, TypeError, ValueError) as error:
            if not training_.made:
                raise
            notes.append(f"left out {', '.join(training_.members)}: {error}")
            del trainings[group]
            continue
        for setting in training_.members:
            place = out / "settings" / rows.folder_of(setting) if setting else out
            config = {**fixed, "setting": setting}
            runs[setting] = [
                SeedRun(one, place, detector, config, prints, one == seed)
                for one, detector in zip(several, made, strict=True)
            ]
    if not runs:
        raise ValueError("; ".join(notes))

    def kept() -> str:
        """Say what an interruption leaves."""
        of = sum(len(r.kept) for of_seeds in runs.values() for r in of_seeds)
        return (
            f"{of} of {len(runs) * seeds * len(categories)} results are kept in {out}; the same "
            "command goes on"
        )

    if_interrupted(kept)
    typer.echo(f"{found.kind} in {plain(str(data))}: {', '.join(categories)}")
    describe(first.pipeline.describe())
    rows.tell(notes)
    config = next(iter(runs.values()))[0].config
    about = {"data": plain(str(data.resolve())), "cache": cache is not None, **config}
    command = command_line(context)

    def write() -> list[Path]:
        results = rows.done(runs, categories)
        if not results:
            return []
        return reproduction.write(out, results, subject, about, command, asked=asked, notes=notes)

    for index in range(seeds):
        for name in categories:
            for group, training_ in trainings.items():
                if all(name in runs[setting][index].kept for setting in training_.members):
                    continue
                if few := rows.too_few(found, name, training_.shots):
                    if index == 0:
                        notes.append(few)
                        rows.tell([few])
                    continue
                state = runs[group][index].checkpoints
                plan = Plan(None, seed + index, how, None, skip_bad, checkpoints=state)
                judged = ablate(found, name, partial(make, seed + index), plan, training_)
                for setting, result in judged.items():
                    runs[setting][index].keep(result)
                said = f" ({group})" if group else ""
                typer.echo(f"{name}{said}, seed {seed + index}: {len(judged)} rows")
                write()
    if not (files := write()):
        raise ValueError("; ".join(notes))
    results = rows.done(runs, categories)
    rows.show(results)
    if apart := not_comparable(subject, averages(next(iter(results.values())))[0]):
        typer.echo(f"note: not comparable with the paper's numbers: {'; '.join(apart)}")
    typer.echo(f"written: {', '.join(str(file) for file in files)}")
