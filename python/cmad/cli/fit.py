"""`cmad fit`: from a folder of good parts to a model file."""

import os
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from cmad.calibrate import check_parts
from cmad.cli._common import command, note_random
from cmad.datasets import Folder, MVTec3D
from cmad.datasets.files import LazySamples
from cmad.detectors import CFM

Model = typer.Option("--out", "-o", metavar="MODEL.cmad", help="The model file to write.")


@command
def fit(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder of good parts, with the pairs rgb/NAME.png and xyz/NAME.tiff at any depth;"
            " or, with --category, the root of a data set in the layout of MVTec 3D-AD.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, Model],
    category: Annotated[
        str | None,
        typer.Option(help="Fit DATA/CATEGORY/train, calibrate on DATA/CATEGORY/validation."),
    ] = None,
    false_reject_rate: Annotated[
        float | None,
        typer.Option(
            "--false-reject-rate",
            "-r",
            help="Set the threshold so that at most this share of good parts is rejected, such as "
            "0.05. Takes held-out good parts, at least 1/rate - 1 of them (19 for 0.05).",
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The held-out good parts for --false-reject-rate, a folder like DATA.",
        ),
    ] = None,
    variant: Annotated[
        str,
        typer.Option(
            help="full, medium, small or tiny: use 12, 8, 4 or 1 blocks of the extractors; "
            "fewer are faster."
        ),
    ] = "full",
    preset: Annotated[
        str, typer.Option(help="paper, or official: the published code where it differs.")
    ] = "paper",
    rgb: Annotated[
        str, typer.Option(help="2D extractor: any vision transformer of timm.")
    ] = "vit_base_patch8_224.dino",
    xyz: Annotated[
        str, typer.Option(help="3D extractor: point_mae, or fpfh (takes cmad-vision[fpfh]).")
    ] = "point_mae",
    image_size: Annotated[
        int, typer.Option(help="Pixels along each side that images and points are brought to.")
    ] = 224,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="random",
            help="random: draw the extractors' weights, for tests and timing. Default: pretrained "
            "ones from the folder in CMAD_WEIGHTS, else downloaded once.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the good parts.")] = 250,
    pixels_per_image: Annotated[
        int | None,
        typer.Option(
            help="Train on this many pixels of each part per epoch, drawn afresh; 1000 is several "
            "times as fast as all of them.",
            show_default="all",
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(help="Parts per training step; take more with few pixels of each."),
    ] = 4,
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    include_extractors: Annotated[
        bool,
        typer.Option(
            "--include-extractors",
            help="Store the extractors' weights in the model file too, so that it works where they "
            "cannot be had.",
        ),
    ] = False,
) -> None:
    """Learn from good parts and write a model file.

    Only good parts are used; one that is labelled defective is an error. The model's threshold
    comes from held-out good parts, where --false-reject-rate asks for it; without, `cmad score`
    gives scores but no verdict.

    Two examples:

    - `cmad fit mvtec_3d --category bagel --out bagel.cmad -r 0.05`
    - `cmad fit parts/good --calibrate parts/more_good -r 0.02 --out part.cmad`
    """
    _check_out(out)
    train = _good_parts(data, category, "train")
    held_out = _held_out(data, category, false_reject_rate, calibrate)
    if held_out is not None and false_reject_rate is not None:
        check_parts(len(held_out), false_reject_rate)  # now, not after hours of training
    detector = CFM(
        variant=variant,
        preset=preset,
        rgb=rgb,
        xyz=xyz,
        image_size=image_size,
        weights=weights,
        precision=precision,
        seed=seed,
    )
    described = detector.pipeline.rgb.describe(), detector.pipeline.xyz.describe()
    typer.echo(f"2D  {described[0]}\n3D  {described[1]}")
    note_random(*described)
    begin = perf_counter()
    detector.fit(train, epochs=epochs, pixels_per_image=pixels_per_image, batch_size=batch_size)
    loss = sum(detector.losses[-1])
    typer.echo(
        f"fitted {len(train)} good parts, {epochs} epochs, in {perf_counter() - begin:.1f} s; "
        f"last loss {loss:.4f}"
    )
    detector.save(out, include_extractors)  # whatever a held-out part may do
    if held_out is not None and false_reject_rate is not None:
        threshold = detector.calibrate(held_out, false_reject_rate)
        typer.echo(
            f"threshold {threshold:.6g}: at most {false_reject_rate:g} of good parts rejected, "
            f"from {len(held_out)} held-out good parts"
        )
        detector.save(out, include_extractors)
    typer.echo(f"saved {out}, {out.stat().st_size / 1e6:.1f} MB")


def _check_out(out: Path) -> None:
    """Raise now, not after hours of training, where the model cannot be written."""
    if out.is_dir():
        raise IsADirectoryError(f"--out must name a file, {out} is a folder")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"--out: there is no folder {out.absolute().parent}")
    if not os.access(out.absolute().parent, os.W_OK):
        raise PermissionError(f"--out: the folder {out.absolute().parent} cannot be written to")


def _held_out(
    data: Path, category: str | None, rate: float | None, calibrate: Path | None
) -> LazySamples | None:
    if rate is None:
        if calibrate is not None:
            raise ValueError("--calibrate needs --false-reject-rate too, such as 0.05")
        return None
    if not 0 < rate < 1:
        raise ValueError(f"--false-reject-rate must be in (0, 1), got {rate:g}")
    if calibrate is not None:
        return Folder(calibrate)
    if category is None:
        raise ValueError(
            "--false-reject-rate needs held-out good parts: name their folder with --calibrate"
        )
    return _good_parts(data, category, "validation")


def _good_parts(data: Path, category: str | None, split: str) -> LazySamples:
    if category is not None:
        return MVTec3D(data, category, split)
    if (data / "train").is_dir():
        raise ValueError(
            f"{data} has a folder train/: pass {data}/train, or its parent folder and "
            f"--category {data.absolute().name}"
        )
    if data.is_dir() and (known := sorted(f.parent.name for f in data.glob("*/train"))):
        raise ValueError(f"{data} holds several categories; add --category with one of {known}")
    return Folder(data)
