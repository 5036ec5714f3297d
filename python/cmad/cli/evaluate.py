"""`cmad evaluate`: tables like the papers', for one or all categories of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cmad.cache import digest
from cmad.calibrate import check_parts
from cmad.cli._background import Given as BackgroundGiven
from cmad.cli._background import background_of
from cmad.cli._common import command, describe, table
from cmad.cli._method import DEFAULT, Method, Set, own_options, training, with_defaults
from cmad.cli._options import (
    BatchSize,
    Cache,
    Epochs,
    FalseRejectRate,
    ImageSize,
    PatchesPerPart,
    PixelsPerImage,
    Precision,
    Preset,
    RgbExtractorName,
    RgbSize,
    Seed,
    Shots,
    SkipBad,
    SyntheticParts,
    Variant,
    Weights,
    XyzExtractorName,
)
from cmad.datasets import DataSet
from cmad.datasets import open as open_data
from cmad.datasets.names import plain
from cmad.detectors import Detector, method_named
from cmad.environment import environment
from cmad.evaluate import (
    AREAS,
    GRID,
    METRICS,
    Evaluation,
    Plan,
    Run,
    fingerprint,
    mean,
    writable,
)
from cmad.evaluate import evaluate as run_evaluation
from cmad.report import evaluation as report
from cmad.version import __version__


@command
def evaluate(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A data set as it is downloaded (MVTec 3D-AD, 3D-ADAM, Real-IAD D3, Eyecandies), "
            "or one arranged like them, or in plain folders good/ and DEFECT/; or one category.",
            show_default=False,
        ),
    ],
    method: Method = DEFAULT,
    options: Set = None,
    category: Annotated[
        list[str] | None,
        typer.Option(help="A category to evaluate; may be repeated.", show_default="all"),
    ] = None,
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
            "CATEGORY/test/DEFECT/NUMBER.tiff, as the MVTec 3D-AD evaluation script takes them.",
        ),
    ] = None,
    shots: Shots = None,
    false_reject_rate: FalseRejectRate = None,
    skip_bad: SkipBad = False,
    variant: Variant = "full",
    preset: Preset = "paper",
    background: BackgroundGiven = "plane",
    rgb: RgbExtractorName = "vit_base_patch8_224.dino",
    xyz: XyzExtractorName = "point_mae",
    image_size: ImageSize = 224,
    rgb_size: RgbSize = None,
    weights: Weights = None,
    epochs: Epochs = None,
    pixels_per_image: PixelsPerImage = None,
    synthetic_parts: SyntheticParts = None,
    patches_per_part: PatchesPerPart = None,
    batch_size: BatchSize = None,
    precision: Precision = "auto",
    seed: Seed = 0,
    cache: Cache = None,
) -> None:
    """Fit and test a method on one or all categories, and write tables like the papers'.

    Writes evaluation.csv, evaluation.json and evaluation.md to DIR: metrics per category and their
    mean, AUPRO with every threshold and with the published grid of thresholds, the papers' numbers
    beside them, parts per second, memory, and what was run. The tables grow category by category;
    after an interruption the same command goes on with the category that it was in.

    - `cmad evaluate mvtec_3d_anomaly_detection --category bagel --pixels-per-image 500`
    - `cmad evaluate Eyecandies --shots 10 --out ten_shots`
    """
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
    categories = _chosen(found, category)
    _check(found, categories, shots, false_reject_rate)
    settings: dict[str, object] = {
        "variant": variant,
        "preset": preset,
        "rgb": rgb,
        "xyz": xyz,
        "image_size": image_size,
        "rgb_size": rgb_size,
        "weights": weights,
        "precision": precision,
        "seed": seed,
        **own_options(chosen, options),
    }

    beside = background_of(background)

    def make() -> Detector:
        return chosen(**settings, background=beside, cache=cache)  # type: ignore[arg-type]

    first = make()  # also finds wrong options and missing weights before anything is written
    names = first.pipeline.describe()
    config = {
        "cmad": __version__,
        "data set": found.kind,
        "method": chosen.__name__.lower(),  # in whatever case it was asked for
        **settings,
        # A mask in words only, beside what tells it from others.
        "background": beside.describe(),
        "background sha256": digest(asdict(beside))[:12],
        **asdict(first.options),
        **with_defaults(chosen, how),
        "shots": shots,
        "false_reject_rate": false_reject_rate,
        "skip_bad": skip_bad,
        "extractors": {modality.upper(): said for modality, said in names.items()},
        "sha256": [extractor.fingerprint() for extractor in first.pipeline.extractors.values()],
    }
    if maps is not None:
        writable(maps)
    run = Run(out, config)
    prints = {name: fingerprint(found, name) for name in categories}
    kept = run.done(prints)
    if maps is not None:  # where they are not all there, the category has to be run for them
        kept = {
            name: (result, where)
            for name, (result, where) in kept.items()
            if len(list((maps / name).rglob("*.tiff"))) >= result.good + result.defective
        }
    typer.echo(f"{found.kind} in {data}: {', '.join(categories)}")
    describe(names)
    if kept:
        typer.echo(f"results kept from before: {', '.join(kept)}")
    plan = Plan(shots, seed, how, false_reject_rate, skip_bad, maps)
    todo = [name for name in categories if name not in kept]
    about = {"data": str(data.resolve()), "cache": cache is not None, **config}
    page = partial(_write, out, _name(first), found, shots, about)
    for result in run_evaluation(found, todo, make, plan):
        run.keep(result, prints[result.category])
        kept[result.category] = result, environment()
        spent = ", ".join(f"{k} {v:.1f} s" for k, v in result.seconds.items())
        typer.echo(f"{result.category}: {spent}")
        page([kept[name] for name in categories if name in kept])
    files = page([kept[name] for name in categories])
    _show([kept[name][0] for name in categories])
    typer.echo(f"written: {', '.join(str(file) for file in files)}")


def _chosen(data: DataSet, asked: Sequence[str] | None) -> list[str]:
    asked = [plain(name) for name in asked or ()]
    for name in asked:
        if name not in data.categories:
            known = ", ".join(data.categories)
            raise ValueError(f"--category must be one of {known}, got {name!r}")
    return list(dict.fromkeys(asked or data.categories))


def _check(data: DataSet, categories: Sequence[str], shots: int | None, rate: float | None) -> None:
    """Raise now, not after hours of training, where a split is missing or has too few parts."""
    if rate is not None and not 0 < rate < 1:
        raise ValueError(f"--false-reject-rate must be in (0, 1), got {rate:g}")
    for name in categories:
        train = len(data.split(name, "train"))
        data.split(name, "test")
        if shots is not None and not 1 <= shots <= train:
            raise ValueError(f"--shots must be in [1, {train}] for {name}, got {shots}")
        if rate is not None:
            try:
                check_parts(len(data.split(name, "validation")), rate)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error


def _name(detector: Detector) -> str:
    """As the papers' tables name a method: ``CFM-M`` for the medium variant."""
    return detector.who + ("" if detector.variant == "full" else f"-{detector.variant[0].upper()}")


def _write(
    out: Path,
    name: str,
    data: DataSet,
    shots: int | None,
    about: Mapping[str, object],
    results: Sequence[tuple[Evaluation, Mapping[str, object]]],
) -> list[Path]:
    """Write the tables; results of several machines or versions each with their own."""
    environments = {result.category: dict(where) for result, where in results}
    first, *others = environments.values()
    where = first if all(o == first for o in others) else {"environments": environments}
    done = [result for result, _ in results]
    whole = {**about, **where}
    return report.write(out, done, name=name, dataset=data.kind, shots=shots, about=whole)


def _show(results: Sequence[Evaluation]) -> None:
    """Print the metrics: those of scores and pixels, and the areas under the PRO curve."""
    everything = [*results, mean(results)] if len(results) > 1 else list(results)
    scores = [name for name in METRICS if name not in AREAS]
    table(
        "Detection and segmentation",
        ("category", *scores, "parts/s", "MB"),
        [
            [
                r.category,
                *(report.shown(r.metrics[n]) for n in scores),
                report.shown(r.frames_per_second, 1),
                report.shown(r.memory, 0),
            ]
            for r in everything
        ],
    )
    for kind, title in (
        ("metrics", "AUPRO, exact: every threshold"),
        ("grid", f"AUPRO, grid: the {GRID} published thresholds"),
    ):
        table(
            title,
            ("category", *(area.removeprefix("AUPRO") for area in AREAS)),
            [[r.category, *(report.shown(getattr(r, kind)[a]) for a in AREAS)] for r in everything],
        )
    for r in results:
        if v := r.verdicts:
            typer.echo(
                f"{r.category}: at threshold {v['threshold']:.4g} false rejects "
                f"{v['false_rejects']:.0f} of {r.good} good, missed {v['missed']:.0f} of "
                f"{r.defective} defective"
            )
        for name, reason in r.bad:
            typer.echo(f"{r.category}: left out {name}: {reason}")
