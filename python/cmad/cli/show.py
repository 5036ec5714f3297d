"""`cmad show`: what of each part will be looked at, before any training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from cmad.checks import checked
from cmad.cli._common import EXPECTED, command, said
from cmad.cli._options import Category, Files, Good, Looking
from cmad.cli._parts import expect_named
from cmad.cli._words import in_options
from cmad.datasets import Folder, LazySamples
from cmad.datasets import open as open_data
from cmad.datasets.layouts import SPLITS
from cmad.preprocess import Preprocessing, look, nothing
from cmad.progress import bar
from cmad.report import Looked, contact_sheet, looked_at
from cmad.spelling import meant
from cmad.types import Sample
from cmad.units import Units


@command
def show(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder of parts, with the pairs rgb/NAME.png and xyz/NAME.tiff at any depth; or, "
            "with --category, the root of a data set that cmad.datasets.open recognises.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PNG", help="The picture to write.")
    ] = Path("show.png"),
    category: Category = None,
    split: Annotated[
        str, typer.Option(help="Of the category: train, validation or test.")
    ] = "train",
    good: Good = None,
    files: Files,
    looking: Looking,
    limit: Annotated[
        int, typer.Option(min=1, help="Draw this many parts at most, evenly chosen.")
    ] = 24,
    seed: Annotated[int, typer.Option(help="Of the search for the background plane.")] = 0,
) -> None:
    """Draw what of each part will be looked at: a contact sheet, made in seconds, without a model.

    Each part is drawn twice, its image and its relief, dark where nothing is looked at: on the
    background, on what does not belong to the part, and where there is no point. Below stand its
    size and distance, and what should be known of it. Look at it before training; where a piece of
    the part is dark, or the table is bright, try `--background`, and pass the same to `cmad fit`.
    """
    how = looking.preprocessing(seed)
    if out.suffix.lower() != ".png" or out.is_dir():
        raise ValueError(f"--out must name a PNG file, got {out}")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"--out: there is no folder {out.absolute().parent}")
    units = files.units()
    parts = _parts(data, category, split, good, units)
    count = min(limit, len(parts))
    chosen = parts.take(round(i * (len(parts) - 1) / max(count - 1, 1)) for i in range(count))
    cells, shares, told, refused = [], [], 0, ""
    with bar("looking", count) as step:
        for i, name in enumerate(chosen.names):
            try:
                part = _look(chosen[i], how)
            except EXPECTED as error:
                typer.echo(f"{name}: cannot be used: {said(error).removeprefix(f'{name}: ')}")
                refused = refused or said(error)
                told += 1
            else:
                cells.append(looked_at(part))
                shares.append(part.keep.mean())
                for note in part.notes:
                    typer.echo(f"{name}: {in_options(note)}")
                told += len(part.notes)
            step(name)
    if not cells:
        raise ValueError(f"none of {count} parts can be drawn, the first: {refused}")
    title = f"{len(cells)} of {len(parts)} parts; background: {how.background.describe()}"
    contact_sheet(cells, title).save(out)
    typer.echo(
        f"of each part {min(shares):.0%} to {max(shares):.0%} of the pixels are looked at "
        f"(median {np.median(shares):.0%}); {told} notes; drawn in {out}"
    )


def _parts(
    data: Path, category: str | None, split: str, good: Sequence[str] | None, units: Units
) -> LazySamples:
    if category is None:
        parts: LazySamples = Folder(data, good or (), **vars(units))
        expect_named(good, [data], [parts])
        return parts
    if split not in SPLITS:
        raise ValueError(
            f"--split must be one of {', '.join(SPLITS)}, got {split!r}{meant(split, SPLITS)}"
        )
    found = open_data(data, good=good or (), **vars(units))
    parts = found.split(category, split)
    expect_named(good, [], (found.split(category, name) for name in SPLITS if good))
    return parts


def _look(sample: Sample, how: Preprocessing) -> Looked:
    rgb, xyz = checked(sample)
    if xyz is None or rgb is None:
        raise ValueError("needs an image and points")
    _, part = look(sample, xyz, how)
    notes = [note.text for note in part.notes]
    if not part.keep.any():
        notes.append(nothing(how.background))
    return Looked(sample.name, rgb.numpy(), xyz.numpy(), part.keep.numpy(), tuple(notes))
