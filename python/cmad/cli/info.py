"""`cmad info`: what is in a model file."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from cmad import model_file
from cmad.calibrate import SCORES
from cmad.cli._common import command, note_random


@command
def info(
    model: Annotated[Path, typer.Argument(metavar="MODEL.cmad", show_default=False)],
) -> None:
    """Say what is in a model file, without loading its extractors."""
    header, tensors = model_file.read(model)
    threshold, rate = header.get("threshold"), header.get("false_reject_rate")
    said = "none: not calibrated, scores come without a verdict"
    if isinstance(threshold, float) and isinstance(rate, float):
        said = f"{threshold:.6g}, for at most {rate:g} of good parts rejected"
        if SCORES in tensors:
            said += f", from {len(tensors[SCORES])} good parts"
    parameters = sum(t.numel() for t in tensors.values())
    extractors = {k: _extractor(header.get(k), tensors, k) for k in ("rgb", "xyz")}
    lines = {
        "method": f"{header.get('method')}, variant {header.get('variant')}, "
        f"preset {header.get('preset')}",
        "2D extractor": extractors["rgb"],
        "3D extractor": extractors["xyz"],
        "map grid": f"{header.get('image_size')} x {header.get('image_size')} pixels",
        "precision": str(header.get("precision")),
        "seed": str(header.get("seed")),
        "threshold": said,
        "made with": _pairs(header.get("versions")),
        "file": f"{model}, {model.stat().st_size / 1e6:.1f} MB, {parameters:,} numbers, "
        f"format {header['format']}",
    }
    for name, value in lines.items():
        typer.echo(f"{name + ':':<14} {value}")
    note_random(*extractors.values())


def _extractor(config: object, tensors: Iterable[str], name: str) -> str:
    """Describe an extractor by its configuration."""
    if not isinstance(config, Mapping):
        return "not named in the file"
    weights = {"random": f"random weights (seed {config.get('seed')})", "given": "passed in"}
    source = str(config.get("weights") or "pretrained weights")
    shown = {
        k: v
        for k, v in config.items()
        if k not in ("kind", "weights", "sha256", "seed", "mean", "std") and v is not None
    }
    stored = any(t.startswith(f"{name}.") for t in tensors)
    parts = [str(config.get("kind")), _pairs(shown), weights.get(source, source)]
    parts += ["stored in the file" if stored else f"sha256 {str(config.get('sha256'))[:12]}"]
    return ", ".join(part for part in parts if part)


def _pairs(values: object) -> str:
    if not isinstance(values, Mapping):
        return ""
    return ", ".join(
        f"{k} {v.get('patch_size') if isinstance(v, Mapping) else v}" for k, v in values.items()
    )
