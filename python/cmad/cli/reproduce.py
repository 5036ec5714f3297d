"""`cmad reproduce`: a paper's tables of a method, ours beside the paper's."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cmad.cli._background import Given as BackgroundGiven
from cmad.cli._background import background_of
from cmad.cli._common import command, command_line, describe, table
from cmad.cli._evaluation import SeedRun
from cmad.cli._interrupt import if_interrupted
from cmad.cli._method import Set, own_options, training, with_defaults
from cmad.cli._options import (
    BatchSize,
    Cache,
    Device,
    Epochs,
    Gaps,
    ImageSize,
    PatchesPerPart,
    PixelsPerImage,
    Precision,
    Preset,
    RgbExtractorName,
    RgbSize,
    RgbWeights,
    Seed,
    SkipBad,
    SyntheticParts,
    Variant,
    Weights,
    XyzExtractorName,
    XyzWeights,
)
from cmad.cli._parts import expect_writable
from cmad.cli._plan import categories_of, check_splits, configuration
from cmad.datasets import open as open_data
from cmad.datasets.names import plain
from cmad.detectors import METHODS, Ablation, Detector, method_named
from cmad.evaluate import AREAS, Plan, Runs, ablate, averages, fingerprint, groups
from cmad.report import reproduction
from cmad.report.evaluation import not_comparable, shown
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
    options: Set = None,
    category: Annotated[
        list[str] | None,
        typer.Option(help="A category to evaluate; may be repeated.", show_default="all"),
    ] = None,
    tables: Annotated[
        list[str] | None,
        typer.Option(
            "--table",
            metavar="TABLE",
            help="An ablation to run, by the number of its table, or curve for the learning curve; "
            "may be repeated; none for none.",
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
    variant: Variant = "full",
    preset: Preset = "paper",
    background: BackgroundGiven = "plane",
    rgb: RgbExtractorName = "vit_base_patch8_224.dino",
    xyz: XyzExtractorName = "point_mae",
    image_size: ImageSize = 224,
    rgb_size: RgbSize = None,
    gaps: Gaps = "zero",
    weights: Weights = None,
    rgb_weights: RgbWeights = None,
    xyz_weights: XyzWeights = None,
    epochs: Epochs = None,
    pixels_per_image: PixelsPerImage = None,
    synthetic_parts: SyntheticParts = None,
    patches_per_part: PatchesPerPart = None,
    batch_size: BatchSize = None,
    precision: Precision = "auto",
    device: Device = "auto",
    seed: Seed = 0,
    seeds: Annotated[
        int,
        typer.Option(metavar="N", help="Fit and test N times, with --seed, --seed + 1, ..."),
    ] = 1,
    cache: Cache = None,
) -> None:
    """Fit and test a method as the tables of its paper do, and set ours beside the paper's.

    Writes reproduction.md, .tex (LaTeX) and .json to DIR: each of the paper's tables that has rows
    of the method, on the categories that are there, with its ablations (of G2SF Tables III to V and
    the supplement's), and why ours are not comparable where they are not. An ablation of training
    trains anew, one of scoring does not: G2SF's Table IV is four trainings more. After an
    interruption the same command goes on.

    - `cmad reproduce g2sf mvtec_3d_anomaly_detection --table III --table V`
    """
    if_interrupted(lambda: f"results in {out} are as they were")
    chosen = method_named(method)
    how = training(
        chosen,
        epochs=epochs,
        pixels_per_image=pixels_per_image,
        synthetic_parts=synthetic_parts,
        patches_per_part=patches_per_part,
        batch_size=batch_size,
    )
    found = open_data(data)
    categories = categories_of(found, category)
    check_splits(found, categories, None, None, seeds)
    length = with_defaults(chosen, how).get("epochs")
    ablations = [
        a
        for a in _asked(chosen.ablations, tables)
        if not a.epoch or (isinstance(length, int) and a.epoch < length)
    ]
    settings: dict[str, object] = {
        "variant": variant,
        "preset": preset,
        "rgb": rgb,
        "xyz": xyz,
        "image_size": image_size,
        "rgb_size": rgb_size,
        "gaps": gaps,
        "weights": weights,
        "rgb_weights": rgb_weights,
        "xyz_weights": xyz_weights,
        "precision": precision,
        "device": device,
        **own_options(chosen, options),
    }
    beside = background_of(background)

    def make(seed: int) -> Detector:
        return chosen(**settings, seed=seed, background=beside, cache=cache)  # type: ignore[arg-type]

    fixed = {**configuration(chosen, found, settings, beside, how), "skip_bad": skip_bad}
    prints = {name: fingerprint(found, name) for name in categories}
    several = range(seed, seed + seeds)
    detectors = {one: make(one) for one in several}
    expect_writable("--out", out)
    first = detectors[seed]
    runs = {
        setting: [
            SeedRun(
                one,
                out / "settings" / _folder(setting) if setting else out,
                detectors[one],
                {**fixed, "setting": setting},
                prints,
                one == seed,
            )
            for one in several
        ]
        for setting in ("", *(a.setting for a in ablations))
    }

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
    subject = subject_of(first, found.kind, None, how)
    about = {"data": plain(str(data.resolve())), "cache": cache is not None, **runs[""][0].config}
    command = command_line(context)
    for index in range(seeds):
        for name in categories:
            for group, (fit, members) in groups(ablations).items():
                if all(name in runs[setting][index].kept for setting in members):
                    continue
                state = runs[group][index].checkpoints
                plan = Plan(None, seed + index, how, None, skip_bad, checkpoints=state)
                made = partial(make, seed + index)
                results = ablate(found, name, made, plan, fit, members)
                for setting, result in results.items():
                    runs[setting][index].keep(result)
                said = f" ({group})" if group else ""
                typer.echo(f"{name}{said}, seed {seed + index}: {len(results)} rows")
                if (done := _done(runs, categories))[""]:
                    reproduction.write(out, done, subject, about, command)
    done = _done(runs, categories)
    files = reproduction.write(out, done, subject, about, command)
    _show(done)
    if apart := not_comparable(subject, averages(done[""])[0]):
        typer.echo(f"note: not comparable with the paper's numbers: {'; '.join(apart)}")
    typer.echo(f"written: {', '.join(str(file) for file in files)}")


def _asked(known: Sequence[Ablation], tables: Sequence[str] | None) -> list[Ablation]:
    """Return the ablations of the tables that were asked for."""
    if tables is None:
        return list(known)
    numbers = [*dict.fromkeys(a.table for a in known if a.table)]
    for table_ in tables:
        if table_ not in numbers and table_ != "none":
            listed = ", ".join((*numbers, "none"))
            raise ValueError(f"--table must be one of {listed}, got {table_!r}")
    # A row of no table costs nothing beside those that judge by one map, too.
    return [a for a in known if a.table in tables or (tables != ["none"] and not a.table)]


def _folder(setting: str) -> str:
    """Return a name for a folder: ``L_sep + L_cns`` is ``L_sep_L_cns``."""
    return "".join(c if c.isalnum() or c in "_-" else " " for c in setting).replace(" ", "_")


def _done(runs: dict[str, list[SeedRun]], categories: Sequence[str]) -> dict[str, Runs]:
    """Return the results so far, of the settings that have any."""
    found: dict[str, Runs] = {}
    for setting, of_seeds in runs.items():
        results = {r.seed: [r.kept[n][0] for n in categories if n in r.kept] for r in of_seeds}
        kept = {one: rows for one, rows in results.items() if rows}
        if kept or not setting:
            found[setting] = kept
    return found


def _show(results: reproduction.Results) -> None:
    """Print the means of each setting."""
    names = ["I-AUROC", "P-AUROC", *AREAS]
    rows = []
    for setting, runs in results.items():
        _, mean = averages(runs)
        values = {**mean.metrics, **mean.grid}
        key = {n: f"{n} grid" if n in AREAS else n for n in names}
        cells = [shown(values[n], deviation=mean.deviations.get(key[n])) for n in names]
        rows.append([setting or reproduction.FULL, *cells])
    table("Means; AUPRO of the grid", ("row", *names), rows)
