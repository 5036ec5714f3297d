"""The model file that a command writes: whether it may, and what was there before."""

import os
import shlex
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from cmad import model_file

Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace the file of --out also where it is a calibrated model, when the new one is "
        "complete.",
    ),
]


def check_out(out: Path, overwrite: bool) -> None:
    """Raise now, not after hours of training, where the model must not or cannot be written.

    A calibrated model is one in use, perhaps: it is replaced only where that is asked for, and then
    this says so.

    Raises:
        OSError: it cannot be written.
        FileExistsError: a calibrated model is there, and ``overwrite`` is false.

    """
    if out.is_dir():
        raise IsADirectoryError(f"--out must name a file, {out} is a folder")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"--out: there is no folder {out.absolute().parent}")
    check_writable(out, "--out: ")
    if (said := calibrated(out)) is None:
        return
    if not overwrite:
        raise FileExistsError(
            f"--out: {out} is a calibrated model ({said}); name another file, or add --overwrite "
            "to replace it"
        )
    typer.echo(f"{out} is a calibrated model ({said}), which the new one will replace")


def check_writable(path: Path, what: str = "") -> None:
    """Raise PermissionError where a file's folder cannot be written to."""
    if not os.access(path.absolute().parent, os.W_OK):
        raise PermissionError(f"{what}the folder {path.absolute().parent} cannot be written to")


def calibrated(path: Path) -> str | None:
    """Describe the threshold of a model file; None where it has none, or is no model file."""
    found = model_file.peek(path)
    known = None if found is None else found[0].get("calibration")
    if not isinstance(known, dict) or not known:
        return None
    first = cast("dict[str, Any]", next(iter(known.values())))
    return described(first["threshold"], first["false_reject_rate"])


def described(threshold: float, rate: float) -> str:
    """Describe a threshold."""
    return f"threshold {threshold:.6g}, at most {rate:g} of good parts rejected"


def stores_extractors(path: Path) -> bool:
    """Tell whether a model file holds its extractors' weights."""
    found = model_file.peek(path)
    return found is not None and any(name.startswith("extractors.") for name in found[1])


def beside(out: Path) -> Path:
    """Return where a model goes that was to be calibrated and is not: beside its place.

    Never the place of a calibrated model.
    """
    number = 1
    while True:
        behind = "" if number == 1 else f"-{number}"
        path = out.with_name(f"{out.stem}.uncalibrated{behind}{out.suffix}")
        if calibrated(path) is None:
            return path
        number += 1


def to_calibrate(model: Path, rate: float, out: Path) -> str:
    """Return the command that gives a model its threshold."""
    names = shlex.quote(str(model)), shlex.quote(str(out))
    return f"cmad calibrate {names[0]} GOOD_PARTS -r {rate:g} --out {names[1]}"
