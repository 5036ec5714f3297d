"""`cmad report`: one HTML file that shows what is wrong with which part, and where."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cmad.cli._beside import Beside
from cmad.cli._common import EXPECTED, command, complain, said
from cmad.cli._interrupt import if_interrupted
from cmad.cli._options import Device, Files, Good
from cmad.cli._parts import expect_named, expect_order
from cmad.cli._reported import TABLE, is_evaluation, of_evaluation, of_scores
from cmad.cli._sources import read_parts, sources_of
from cmad.cli._words import in_options
from cmad.datasets.names import plain, shown
from cmad.detectors import load
from cmad.evaluate import Tally
from cmad.paths import expect_there, what_is
from cmad.progress import bar
from cmad.report.page import About, Group, Part, write_page
from cmad.report.page.line import repeated
from cmad.report.page.page import expect_available
from cmad.types import Sample


@command
def report(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS|MODEL.cmad",
            help="Folder that `cmad score` or `cmad evaluate` wrote; or a model, to score the "
            "parts that follow.",
            show_default=False,
        ),
    ],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="With a model: the parts, as `cmad score` takes them."),
    ] = None,
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="HTML", help="The file to write.")
    ] = Path("report.html"),
    title: Annotated[
        str | None,
        typer.Option(help="Of the page.", show_default="the folder's name"),
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option(help="Of an evaluation; may be repeated.", show_default="all"),
    ] = None,
    repeat: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Show how repeatable the station is, too: the folder that `cmad repeat` wrote.",
            show_default=False,
        ),
    ] = None,
    good: Good = None,
    files: Files,
    device: Device = "auto",
) -> None:
    """Write one HTML file that shows each part: verdict, image, depth, map, regions, point cloud.

    It needs no network and no other file, and opens in any browser; docs/report.md says how to read
    it. The extra `report` brings what it takes, `pip install "cmad-vision[report]"`.

    - `cmad report scores` shows what `cmad score` wrote, with the images and points that it scored,
      as far as they still are where they were
    - `cmad report part.cmad new_parts` scores parts and shows them
    - `cmad report evaluation` shows the tested parts of each category; their maps where
      `cmad evaluate` kept them with `--maps`

    A part that cannot be scored is shown with the reason, and the exit code is 1 at the end.
    """
    if_interrupted(lambda: f"{out} is as it was")
    expect_available()
    _expect_html(out)
    expect_order("report", source, paths or ())
    expect_there(source)
    measured = None if repeat is None else repeated(repeat)
    failed = 0
    if source.is_dir():
        if paths:
            raise ValueError(
                f"{source} is a folder of results, which needs no parts; to score parts, name the "
                "model first: cmad report MODEL.cmad PARTS"
            )
        groups = _of_results(source, category or ())
    elif what_is(source) == "a model":
        if not paths:
            raise ValueError(f"a model needs parts to score: cmad report {source} PARTS")
        if category:
            raise ValueError("--category is for a folder that cmad evaluate wrote")
        group, failed = _of_model(source, paths, files, good, device)
        groups = [group]
    else:
        raise ValueError(
            f"{source} is a file, neither a model (.cmad) nor a folder that cmad score or cmad "
            "evaluate wrote"
        )
    if measured is not None:
        if len(groups) > 1:
            raise ValueError(
                f"--repeat is of one model, {source} has {len(groups)} categories; name one with "
                "--category"
            )
        groups[0].about = replace(groups[0].about, repeat=measured)
    write_page(out, groups, title or _named(source, paths or ()))
    _tell(out, groups)
    if failed:
        total = sum(len(group.rows) for group in groups)
        raise RuntimeError(f"{failed} of {total} parts could not be scored, see {out}")


def _of_results(folder: Path, categories: list[str] | tuple[str, ...]) -> list[Group]:
    if (folder / TABLE).is_file():
        if categories:
            raise ValueError("--category is for a folder that cmad evaluate wrote")
        return [of_scores(folder)]
    if is_evaluation(folder):
        return of_evaluation(folder, categories)
    empty = "; it is empty" if not any(folder.iterdir()) else ""
    raise ValueError(
        f"{folder} holds no results: neither {TABLE} of cmad score nor evaluation.json of cmad "
        f"evaluate{empty}"
    )


def _of_model(
    model: Path,
    paths: list[Path],
    files: Files,
    good: list[str] | None,
    device: str,
) -> tuple[Group, int]:
    """Score parts for the page; also how many could not be scored."""
    detector = load(model, device=device)
    units = files.units(detector.units)
    sources = sources_of(paths, units, good or ())
    folders = [path for path in paths if path.is_dir()]
    expect_named(good, folders, [samples for _, samples in sources])
    judged_by = Beside.of(detector, model=shown(os.path.abspath(model)))
    about = About(
        plain(paths[0].absolute().name),
        detector.threshold,
        detector.calibration,
        facts=judged_by.facts,
        notes=judged_by.notes,
    )
    group, tally, failed = Group(about), Tally(detector), 0
    with bar("scoring", sum(len(samples) for _, samples in sources)) as step:
        for name, _, sample in read_parts(sources):
            try:
                if not isinstance(sample, Sample):
                    raise sample
                [grid] = detector.grids([sample])
                full = detector.decide(grid, sample.xyz)
            except EXPECTED as error:
                failed += 1
                reason = said(error).removeprefix(f"{name}: ")
                complain(f"{name}: {reason}")
                group.add(Part(name, error=reason))
            else:
                tally.add(sample, grid)
                group.add(Part.of(name, sample, full, tuple(map(in_options, full.warnings))))
            step(name)
    group.measured(tally.metrics())
    return group, failed


def _expect_html(out: Path) -> None:
    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise ValueError(f"--out must name an HTML file, got {out}")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"--out: there is no folder {out.absolute().parent}")


def _named(source: Path, paths: list[Path] | tuple[()]) -> str:
    return plain((paths[0] if paths else source).absolute().name)


def _tell(out: Path, groups: list[Group]) -> None:
    """Say what is in the file, and what is not."""
    for group in groups:
        found = Counter(group.verdicts)
        listed = ", ".join(f"{verdict} {n}" for verdict, n in found.items())
        typer.echo(f"{group.about.name}: {len(group.rows)} parts, {listed}")
        for note in group.about.notes:
            typer.echo(f"note: {note}")
        if group.lacking:
            typer.echo(
                f"{len(group.lacking)} of {len(group.rows)} parts lack something to look at, the "
                f"first {group.lacking[0]}"
            )
    typer.echo(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB); open it in a browser")
