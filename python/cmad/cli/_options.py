"""Options that commands share: one type for each, so that all commands say the same.

Those that go together are records; `cmad.cli._spread` makes options of their fields.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cmad.cli._background import Given as BackgroundGiven
from cmad.cli._background import background_of
from cmad.preprocess import Preprocessing
from cmad.presets import PRESETS
from cmad.spelling import meant
from cmad.units import Units, pinhole_from_text

ModelFile = Annotated[
    Path, typer.Argument(metavar="MODEL.cmad", help="From `cmad fit`.", show_default=False)
]
OutFolder = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write to.")]
Category = Annotated[str | None, typer.Option(help="Of the data set that DATA is.")]
Categories = Annotated[
    list[str] | None,
    typer.Option(help="A category to evaluate; may be repeated.", show_default="all"),
]
Preset = Annotated[
    str, typer.Option(help="paper, or official: the published code where it differs.")
]
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


@dataclass(frozen=True)
class Files:
    """What the cameras and files of the parts are in."""

    unit: Annotated[
        str | None,
        typer.Option(
            "--unit",
            metavar="m|mm",
            help="Of the points, and of depth images without --depth-unit.",
            show_default="m; with a model, its own",
        ),
    ] = None
    intrinsics: Annotated[
        str | None,
        typer.Option(
            "--intrinsics",
            metavar="FX,FY,CX,CY",
            help="Of the depth camera, in pixels; files of points may then be depth images, PNG or "
            "TIFF with one channel of 16 bits or more.",
            show_default="none; with a model, its own",
        ),
    ] = None
    depth_unit: Annotated[
        str | None,
        typer.Option(
            "--depth-unit",
            metavar="m|mm",
            help="Of depth images, times --depth-scale.",
            show_default="--unit where given, else mm; with a model, its own",
        ),
    ] = None
    depth_scale: Annotated[
        float | None,
        typer.Option(
            "--depth-scale",
            help="Units per step of depth images: 0.1 with mm for tenths of a millimetre.",
            show_default="1; with a model, its own",
        ),
    ] = None

    def units(self, fitted: Units | None = None) -> Units:
        """Return what the options say.

        Args:
            fitted: what counts where nothing is given; None takes `Units()`.

        Raises:
            ValueError: a value that cannot be.

        """
        camera = pinhole_from_text(self.intrinsics, "--intrinsics")
        return (fitted or Units()).given(self.unit, camera, self.depth_unit, self.depth_scale)


@dataclass(frozen=True)
class Looking:
    """What of the parts is looked at."""

    preset: Preset = "paper"
    background: BackgroundGiven = "plane"

    def preprocessing(self, seed: int) -> Preprocessing:
        """Return it as a step of its own, without a detector.

        Raises:
            ValueError: no such preset, or background.
            OSError: a mask cannot be read.

        """
        if self.preset not in PRESETS:
            raise ValueError(
                f"--preset must be one of {', '.join(PRESETS)}, got {self.preset!r}"
                + meant(self.preset, PRESETS)
            )
        return Preprocessing(
            choices=PRESETS[self.preset].preparation,
            seed=seed,
            background=background_of(self.background),
        )


@dataclass(frozen=True)
class Written:
    """Pictures of each part."""

    maps: Annotated[bool, typer.Option(help="Write maps/NAME.tiff.")] = True
    overlays: Annotated[bool, typer.Option(help="Write overlays/NAME.png.")] = True
