"""What detectors are made of and how they train, as options; and how a command makes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from cmad.background import Background
from cmad.cli._background import Given as BackgroundGiven
from cmad.cli._background import background_of
from cmad.cli._method import default_of, default_of_method, own_options
from cmad.cli._options import Device, Preset
from cmad.detectors import Detector


@dataclass(frozen=True)
class Recipe:
    """What the detectors of a command have in common: all but the seed."""

    method: type[Detector]
    settings: Mapping[str, object]
    """Arguments of the detector, and the method's own options, fit for JSON."""
    background: Background
    cache: Path | None

    def detector(self, seed: int, **changed: object) -> Detector:
        """Make one.

        Args:
            seed: its own.
            changed: what it has differently.

        Raises:
            ValueError, TypeError, RuntimeError: see `Detector`.

        """
        given = {**self.settings, **changed}
        return self.method(**given, seed=seed, background=self.background, cache=self.cache)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Computing:
    """What computes, and how."""

    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto"
    device: Device = "auto"


@dataclass(frozen=True)
class Building:
    """What a detector is made of."""

    variant: Annotated[
        str,
        typer.Option(
            help="full, medium, small or tiny: use 12, 8, 4 or 1 blocks of the extractors; "
            "fewer are faster."
        ),
    ] = "full"
    preset: Preset = "paper"
    background: BackgroundGiven = "plane"
    rgb: Annotated[
        str | None,
        typer.Option(
            "--rgb",
            help="2D extractor: any vision transformer of timm, or a convolutional network of it.",
            show_default=default_of_method("rgb"),
        ),
    ] = None
    xyz: Annotated[
        str | None,
        typer.Option(
            "--xyz",
            help="3D extractor: point_mae; normals or depth, the surface's through the 2D "
            "extractor; geometry, planes fitted around every pixel; depth_blocks, the depth "
            "itself; or fpfh, histograms of the angles between normals. Several: fpfh+normals.",
            show_default=default_of_method("xyz"),
        ),
    ] = None
    image_size: Annotated[
        int, typer.Option(help="Pixels along each side that images and points are brought to.")
    ] = 224
    rgb_size: Annotated[
        int | None,
        typer.Option(
            help="Pixels along each side of what the 2D extractor takes, where it is another size.",
            show_default="as --image-size",
        ),
    ] = None
    gaps: Annotated[
        str,
        typer.Option(
            help="Pixels of the part without a point: zero, no anomaly, as in the papers; or "
            "filled: holes and rims inside its closed outline are interpolated and judged."
        ),
    ] = "zero"
    fuse: Annotated[
        str,
        typer.Option(
            help="Of several 3D extractors: product, all must disagree; or sum, each in its "
            "deviations over held-out good parts."
        ),
    ] = "product"
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="random",
            help="random: draw the extractors' weights, for tests and timing. Default: pretrained "
            "ones from the folder in CMAD_WEIGHTS, else downloaded once.",
            show_default=False,
        ),
    ] = None
    rgb_weights: Annotated[
        str | None,
        typer.Option(
            metavar="random",
            help="Likewise, of the 2D extractor alone.",
            show_default=False,
        ),
    ] = None
    xyz_weights: Annotated[
        str | None,
        typer.Option(
            metavar="random",
            help="Likewise, of the 3D extractor alone: a real ViT beside a random Point-MAE.",
            show_default=False,
        ),
    ] = None

    def recipe(
        self,
        method: type[Detector],
        options: Sequence[str] | None,
        computing: Computing,
        cache: Path | None,
    ) -> Recipe:
        """Return how detectors are made of it.

        Args:
            method: theirs.
            options: of the method, ``NAME=VALUE`` each.
            computing: what they compute with.
            cache: folder of their features, if any.

        Raises:
            ValueError: no such option, or background.
            OSError: a mask cannot be read.

        """
        settings = {**vars(self), **vars(computing), **own_options(method, options)}
        for name, usual in method.usual.items():
            settings[name] = usual if settings[name] is None else settings[name]
        return Recipe(method, settings, background_of(settings.pop("background")), cache)


@dataclass(frozen=True)
class Training:
    """Arguments of the methods' trainings; each has some of them."""

    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the good parts.", show_default=default_of("epochs")),
    ] = None
    pixels_per_image: Annotated[
        int | None,
        typer.Option(
            help="Train on this many pixels of each part per epoch, drawn afresh; 1000 is several "
            "times as fast as all of them. For cfm.",
            show_default="all",
        ),
    ] = None
    synthetic_parts: Annotated[
        int | None,
        typer.Option(
            help="Good parts with synthetic defects to learn from.",
            show_default=default_of("synthetic_parts"),
        ),
    ] = None
    patches_per_part: Annotated[
        int | None,
        typer.Option(
            help="Train on this many patches of each such part per epoch, drawn afresh. Of g2sf.",
            show_default="as many as there are",
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Parts per training step of cfm, take more with few pixels of each; patches of "
            "g2sf.",
            show_default=default_of("batch_size"),
        ),
    ] = None

    def of(self, method: type[Detector]) -> dict[str, object]:
        """Return those that were given.

        Raises:
            ValueError: the method does not train like that.

        """
        asked = {name: value for name, value in vars(self).items() if value is not None}
        known = [f.name for f in fields(method.Training)]
        for name in asked:
            if name not in known:
                raise ValueError(
                    f"--{name.replace('_', '-')}: {method.__name__} has no such option of "
                    "training; leave it away"
                )
        return asked
