"""`cmad info`: what is in a model file."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from cmad import model_file
from cmad.background import Background
from cmad.calibrate import Calibration, from_file
from cmad.cli._common import command, note_random
from cmad.ranges import Ranges
from cmad.units import Units


@command
def info(
    model: Annotated[Path, typer.Argument(metavar="MODEL.cmad", show_default=False)],
) -> None:
    """Say what is in a model file, without loading its extractors."""
    header, tensors = model_file.read(model)
    parameters = sum(t.numel() for t in tensors.values())
    configs = header.get("extractors")
    extractors = {
        str(name): _extractor(config, tensors, str(name))
        for name, config in (configs.items() if isinstance(configs, Mapping) else ())
    }
    options = _pairs(header.get("options"))
    lines = {
        "method": f"{header.get('method')}, variant {header.get('variant')}, "
        f"preset {header.get('preset')}" + (f", {options}" if options else ""),
        **{f"extractor {name}": said for name, said in extractors.items()},
        "map grid": f"{header.get('image_size')} x {header.get('image_size')} pixels",
        "units": str(Units(**cast("dict[str, Any]", header.get("units", {})))),
        "background": Background.load(cast("dict[str, Any]", header["background"])).describe(),
        "precision": str(header.get("precision")),
        "seed": str(header.get("seed")),
        **_thresholds(from_file(header, tensors)),
        "trained on": _ranges(header.get("ranges")),
        "made with": _pairs(header.get("versions")),
        "file": f"{model}, {model.stat().st_size / 1e6:.1f} MB, {parameters:,} numbers, "
        f"format {header['format']}",
    }
    for name, value in lines.items():
        typer.echo(f"{name + ':':<14} {value}")
    note_random(*extractors.values())


def _thresholds(calibrations: Mapping[str, Calibration]) -> dict[str, str]:
    """Describe the calibrations; more than one where the method judges parts of one modality."""
    if not calibrations:
        return {"threshold": "none: not calibrated, scores come without a verdict"}
    return {
        "threshold" + (f" {way}" if i else ""): f"{c.threshold:.6g}, for at most "
        f"{c.false_reject_rate:g} of good parts rejected, from {len(c.scores)} good parts"
        for i, (way, c) in enumerate(calibrations.items())
    }


def _ranges(stored: object) -> str:
    """Say what training parts looked like."""
    if not isinstance(stored, Mapping):
        return "not known: parts are not compared with the training parts"
    return Ranges.from_file(stored).describe()


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
    stored = any(t.startswith(f"extractors.{name}.") for t in tensors)
    parts = [str(config.get("kind")), _pairs(shown), weights.get(source, source)]
    parts += ["stored in the file" if stored else f"sha256 {str(config.get('sha256'))[:12]}"]
    return ", ".join(part for part in parts if part)


def _pairs(values: object) -> str:
    if not isinstance(values, Mapping):
        return ""
    return ", ".join(
        f"{k} {v.get('patch_size') if isinstance(v, Mapping) else v}" for k, v in values.items()
    )
