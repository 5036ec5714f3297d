"""`cmad synthesise`: good parts with anomalies pasted on, as files and as a picture."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cmad.cli._background import metres
from cmad.cli._common import command
from cmad.cli._options import Category, Files, Good, Looking
from cmad.cli._parts import expect_named, good_parts
from cmad.datasets import Folder, LazySamples
from cmad.datasets.files import IMAGE_SUFFIXES, read_rgb
from cmad.datasets.names import passed_over, plain, walk
from cmad.datasets.writing import write_part
from cmad.paths import expect_folder
from cmad.progress import bar
from cmad.report import Pasted, anomaly_sheet
from cmad.spelling import meant
from cmad.synthesis import KINDS, Synthesis, SyntheticSamples, synthesise_samples
from cmad.types import Sample
from cmad.units import Units

SHEET = "synthetic.png"
ROWS = 12
"""Of the contact sheet, at most."""
HELD_OUT = 3
"""Of so many good parts one is for the test."""
DEFAULTS = Synthesis()


@command
def synthesise(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder of good parts, with the pairs rgb/NAME.png and xyz/NAME.tiff at any "
            "depth; or, with --category, the root of a data set, see cmad.datasets.open.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Folder to write; new or empty.", show_default=False),
    ],
    *,
    category: Category = None,
    good: Good = None,
    files: Files,
    count: Annotated[int, typer.Option(min=1, help="Parts with anomalies to make.")] = 24,
    kinds: Annotated[
        str,
        typer.Option(
            metavar="KIND,...",
            help="What the anomalies change, in turn: both, colour, shape.",
        ),
    ] = ",".join(DEFAULTS.kinds),
    regions: Annotated[
        str, typer.Option(metavar="FEWEST,MOST", help="Anomalies on each part.")
    ] = ",".join(map(str, DEFAULTS.regions)),
    displacement: Annotated[
        str,
        typer.Option(
            metavar="LEAST,MOST",
            help="How far points are moved along the line of sight, either way (0.001 or 1mm).",
        ),
    ] = "0.2mm,2mm",
    cut_from: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Cut from what is there instead of from other good parts: pairs like DATA's, or "
            "images, from which only colour is cut.",
            show_default=False,
        ),
    ] = None,
    parts: Annotated[
        int, typer.Option(min=1, help="Use this many good parts at most, evenly chosen.")
    ] = 48,
    without_good: Annotated[
        bool,
        typer.Option(
            "--without-good",
            help="Write the parts with anomalies only, made from all good parts.",
        ),
    ] = False,
    looking: Looking,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn at random.")] = 0,
) -> None:
    """Paste anomalies on good parts, in colour and points, as G²SF does for its training.

    OUT/synthetic.png shows some of them: before, after, mask, and what becomes of the points. Look
    at it to see what a method trains on. OUT/NAME/ holds all of them as files in the layout of
    MVTec 3D-AD, NAME being the category or the folder of the parts: anomalies in test/<kind>/.
    A third of the good parts, which the anomalies are made from, is written as test/good, the
    others as train/good, so that `cmad evaluate OUT` works, without any real defect; what it finds
    says how well such anomalies are detected, not real ones.
    """
    preprocessing = looking.preprocessing(seed)
    how = _settings(kinds, regions, displacement)
    units = files.units()
    everything = good_parts(data, category, "train", good, units)
    expect_named(good, [data], [everything])
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"OUT must be a new or an empty folder, got {out}")
    chosen = _evenly(everything, min(parts, len(everything)))
    sources = LazySamples([]) if cut_from is None else _sources(cut_from, units)
    train, test = _divided(len(chosen), without_good)
    targets = chosen.take(test)
    synthetic = synthesise_samples(
        _Good(targets),
        how,
        preprocessing=preprocessing,
        seed=seed,
        count=count,
        sources=sources or _Good(chosen.take(train)),
    )
    folder = out / plain(category or data.absolute().name)
    rows = _written(synthetic, folder / "test")
    if not without_good:
        test = [test[i] for i in synthetic.usable]
        if cut_from is None:
            train = [train[i] for i in synthetic.usable_sources]
        for where, which in (("train", train or test), ("test", test)):
            for number, i in enumerate(which):
                write_part(_as_good(chosen[i]), folder / where / "good", f"{number:03d}")
    title = f"{len(rows)} of {count} parts with anomalies, seed {seed}; {how.describe()}"
    anomaly_sheet(rows, title).save(out / SHEET)
    _say(synthetic, len(targets), 0 if without_good else len(train or test), folder, out / SHEET)


def _say(
    synthetic: SyntheticSamples, targets: int, train: int, folder: Path, picture: Path
) -> None:
    typer.echo(
        f"{len(synthetic)} parts with anomalies on {len(synthetic.usable)} of {targets} good parts "
        f"written in {folder / 'test'}"
    )
    if train == targets == 1:
        typer.echo("there is one good part only: it is in train/good and in test/good")
    for skipped in synthetic.skipped:
        typer.echo(f"not used: {skipped}")
    typer.echo(f"drawn in {picture}; look at it")


def _settings(kinds: str, regions: str, displacement: str) -> Synthesis:
    chosen = tuple(word.strip() for word in kinds.split(","))
    if not set(chosen) <= set(KINDS):
        near = next(
            (hint for word in chosen if word not in KINDS and (hint := meant(word, KINDS))), ""
        )
        raise ValueError(f"--kinds must be some of {','.join(KINDS)}, got {kinds!r}{near}")
    how = replace(DEFAULTS, kinds=chosen)
    try:
        fewest, most = (int(word) for word in regions.split(","))
        how = replace(how, regions=(fewest, most))
    except ValueError:
        raise ValueError(
            f"--regions must be two numbers from 1 on such as 1,3, got {regions!r}"
        ) from None
    try:
        least, farthest = (metres(word.strip()) for word in displacement.split(","))
        return replace(how, displacement=(least, farthest))
    except ValueError:
        raise ValueError(
            f"--displacement must be two lengths such as 0.2mm,2mm, got {displacement!r}"
        ) from None


class _Good(LazySamples):
    """Parts that must be good."""

    def __init__(self, parts: LazySamples) -> None:
        super().__init__([partial(_read, parts, i) for i in range(len(parts))], parts.names)


def _read(parts: LazySamples, i: int) -> Sample:
    sample = parts[i]
    if sample.label:
        raise ValueError(
            f"{sample.name}: anomalies are pasted on good parts, got one that is labelled "
            f"{sample.defect!r}; pass the folder of the good ones"
        )
    return sample


def _as_good(sample: Sample) -> Sample:
    return replace(sample, mask=None, defect="good")


def _evenly(parts: LazySamples, count: int) -> LazySamples:
    return parts.take(round(i * (len(parts) - 1) / max(count - 1, 1)) for i in range(count))


def _divided(count: int, without_good: bool) -> tuple[list[int], list[int]]:
    """Return which parts are for training, and which for the test and its anomalies."""
    if without_good or count == 1:
        return [], list(range(count))
    test = [i for i in range(count) if i % HELD_OUT == HELD_OUT - 1] or [count - 1]
    return [i for i in range(count) if i not in test], test


def _sources(folder: Path, units: Units) -> LazySamples:
    if any((found / "rgb").is_dir() and (found / "xyz").is_dir() for found in _folders(folder)):
        return Folder(folder, **vars(units))
    images = [
        path
        for found in _folders(folder)
        for path in sorted(found.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES and not passed_over(path.name)
    ]
    if not images:
        raise ValueError(f"--from: {folder} holds neither pairs rgb/ and xyz/ nor images")
    return LazySamples([partial(_texture, path) for path in images], [str(p) for p in images])


def _folders(folder: Path) -> Sequence[Path]:
    try:
        expect_folder(folder)
    except OSError as error:
        raise type(error)(f"--from: {error}") from error
    return list(walk(folder))


def _texture(path: Path) -> Sample:
    return Sample(read_rgb(path), None, name=path.name)


def _written(synthetic: SyntheticSamples, folder: Path) -> list[Pasted]:
    """Write all parts with anomalies, and return some for the picture."""
    rows, numbers = list[Pasted](), dict[str, int]()
    with bar("synthesising", len(synthetic)) as step:
        for i, part in enumerate(synthetic):
            kind = part.sample.defect or ""
            number = numbers[kind] = numbers.get(kind, -1) + 1
            write_part(part.sample, folder / kind, f"{number:03d}")
            if i < ROWS:
                rows.append(Pasted(part.good, part.sample, part.part))
            step()
    return rows
