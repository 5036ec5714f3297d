"""Options that commands share: one type for each, so that all commands say the same."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cmad.cli._method import default_of, default_of_method
from cmad.datasets import LazySamples
from cmad.datasets.names import plain
from cmad.spelling import meant
from cmad.units import Units, pinhole_from_text

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
    str | None,
    typer.Option(
        "--rgb",
        help="2D extractor: any vision transformer of timm, or a convolutional network of it.",
        show_default=default_of_method("rgb"),
    ),
]
XyzExtractorName = Annotated[
    str | None,
    typer.Option(
        "--xyz",
        help="3D extractor: point_mae; normals or depth, the surface's through the 2D extractor; "
        "geometry, planes fitted around every pixel; depth_blocks, the depth itself; or fpfh, "
        "histograms of the angles between normals. Several: fpfh+normals.",
        show_default=default_of_method("xyz"),
    ),
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
Gaps = Annotated[
    str,
    typer.Option(
        help="Pixels of the part without a point: zero, no anomaly, as in the papers; or filled: "
        "holes and rims inside its closed outline are interpolated and judged."
    ),
]
Fuse = Annotated[
    str,
    typer.Option(
        help="Of several 3D extractors: product, all must disagree; or sum, each in its deviations "
        "over held-out good parts."
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
RgbWeights = Annotated[
    str | None,
    typer.Option(
        metavar="random",
        help="Likewise, of the 2D extractor alone.",
        show_default=False,
    ),
]
XyzWeights = Annotated[
    str | None,
    typer.Option(
        metavar="random",
        help="Likewise, of the 3D extractor alone: a real ViT beside a random Point-MAE.",
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
        "times as fast as all of them. For cfm.",
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
Device = Annotated[
    str, typer.Option(help="cpu, or cuda for an NVIDIA GPU; auto is cpu.", show_default=True)
]
Seed = Annotated[int, typer.Option(help="Of all that is drawn at random.")]
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
Unit = Annotated[
    str | None,
    typer.Option(
        "--unit",
        metavar="m|mm",
        help="Of the points, and of depth images without --depth-unit.",
        show_default="m; with a model, its own",
    ),
]
Intrinsics = Annotated[
    str | None,
    typer.Option(
        "--intrinsics",
        metavar="FX,FY,CX,CY",
        help="Of the depth camera, in pixels; files of points may then be depth images, PNG or "
        "TIFF with one channel of 16 bits or more.",
        show_default="none; with a model, its own",
    ),
]
DepthUnit = Annotated[
    str | None,
    typer.Option(
        "--depth-unit",
        metavar="m|mm",
        help="Of depth images, times --depth-scale.",
        show_default="--unit where given, else mm; with a model, its own",
    ),
]
DepthScale = Annotated[
    float | None,
    typer.Option(
        "--depth-scale",
        help="Units per step of depth images: 0.1 with mm for tenths of a millimetre.",
        show_default="1; with a model, its own",
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
RequiredRate = Annotated[
    float,
    typer.Option(
        "--false-reject-rate",
        "-r",
        metavar="RATE",
        help="At most this share of good parts is to be rejected, such as 0.05. Takes at least "
        "1/rate - 1 held-out good parts (19 for 0.05).",
        show_default=False,
    ),
]


def units_of(
    unit: str | None,
    intrinsics: str | None,
    depth_unit: str | None,
    depth_scale: float | None,
    fitted: Units | None = None,
) -> Units:
    """Return what the four options say of the files.

    Args:
        unit: and the others, as given; None where they are not.
        intrinsics: likewise, as text.
        depth_unit: likewise.
        depth_scale: likewise.
        fitted: what counts where nothing is given; None takes `Units()`.

    Raises:
        ValueError: a value that cannot be.

    """
    camera = pinhole_from_text(intrinsics, "--intrinsics")
    return (fitted or Units()).given(unit, camera, depth_unit, depth_scale)


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
                + meant(name, there)
            )
