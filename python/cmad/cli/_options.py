"""Options of the commands that train: one type for each, so that all commands say the same."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cmad.cli._method import default_of
from cmad.datasets import LazySamples
from cmad.datasets.names import plain

Variant = Annotated[
    str,
    typer.Option(
        help="full, medium, small or tiny: use 12, 8, 4 or 1 blocks of the extractors; "
        "fewer are faster."
    ),
]
Preset = Annotated[
    str, typer.Option(help="paper, or official: the published code where it differs.")
]
RgbExtractorName = Annotated[
    str, typer.Option("--rgb", help="2D extractor: any vision transformer of timm.")
]
XyzExtractorName = Annotated[
    str,
    typer.Option("--xyz", help="3D extractor: point_mae, or fpfh (takes cmad-vision[fpfh])."),
]
ImageSize = Annotated[
    int, typer.Option(help="Pixels along each side that images and points are brought to.")
]
RgbSize = Annotated[
    int | None,
    typer.Option(
        help="Pixels along each side of what the 2D extractor takes, where it is another size.",
        show_default="as --image-size",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="random",
        help="random: draw the extractors' weights, for tests and timing. Default: pretrained "
        "ones from the folder in CMAD_WEIGHTS, else downloaded once.",
        show_default=False,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(help="Passes over the good parts.", show_default=default_of("epochs")),
]
PixelsPerImage = Annotated[
    int | None,
    typer.Option(
        help="Train on this many pixels of each part per epoch, drawn afresh; 1000 is several "
        "times as fast as all of them. Of cfm.",
        show_default="all",
    ),
]
SyntheticParts = Annotated[
    int | None,
    typer.Option(
        help="Good parts with synthetic defects to learn from.",
        show_default=default_of("synthetic_parts"),
    ),
]
PatchesPerPart = Annotated[
    int | None,
    typer.Option(
        help="Train on this many patches of each such part per epoch, drawn afresh. Of g2sf.",
        show_default="as many as there are",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        help="Parts per training step of cfm, take more with few pixels of each; patches of g2sf.",
        show_default=default_of("batch_size"),
    ),
]
Precision = Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn.")]
Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Keep what the extractors make of each part there, some 10 MB a part, and read it "
        "where the part comes again.",
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        help="Leave out parts that cannot be read or prepared, and list them, instead of ending "
        "with an error.",
    ),
]
Good = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Folders of this name hold good parts, as those named good do; may be repeated. Names "
        "that say nothing, such as dates, batches and OK, leave the truth open.",
        show_default=False,
    ),
]
Shots = Annotated[
    int | None,
    typer.Option(
        help="Train on this many good parts of each category, drawn by --seed.", show_default="all"
    ),
]
FalseRejectRate = Annotated[
    float | None,
    typer.Option(
        "--false-reject-rate",
        "-r",
        help="Set the threshold so that at most this share of good parts is rejected, such as "
        "0.05. Takes held-out good parts, at least 1/rate - 1 of them (19 for 0.05).",
    ),
]


def expect_named(
    good: Sequence[str] | None, roots: Iterable[Path], samples: Iterable[LazySamples]
) -> None:
    """Raise ValueError where no part lies in a folder that ``--good`` names."""
    there = {plain(root.absolute().name).casefold() for root in roots} | {
        folder.casefold()
        for parts in samples
        for name in parts.names
        for folder in name.split("/")[:-1]
    }
    for name in good or ():
        if plain(name).casefold() not in there:
            known = ", ".join(sorted(there)) or "none"
            raise ValueError(
                f"--good must be the name of a folder of parts ({known}), got {name!r}"
            )
