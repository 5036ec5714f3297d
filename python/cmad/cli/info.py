"""`cmad info`: what is in a model file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from torch import Tensor

from cmad import model_file
from cmad.background import Background
from cmad.calibrate import Calibration, from_file
from cmad.card import Card, courses
from cmad.cli._common import command, note_random
from cmad.curves import Curves
from cmad.ranges import Ranges
from cmad.report.curves import write
from cmad.units import Units


@command
def info(
    model: Annotated[Path, typer.Argument(metavar="MODEL.cmad", show_default=False)],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all of it as JSON, for other programs.")
    ] = False,
    curves: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the training's curves there, losses by epoch: .svg for a picture, .csv for "
            "a table.",
        ),
    ] = None,
) -> None:
    """Say what is in a model file, without loading its extractors: its model card.

    What it was trained and calibrated on, thresholds, extractors with source, hash and licence of
    their weights, settings, versions, size, and how long a part took where it was calibrated.
    """
    header, tensors = model_file.read(model)
    kept = Curves.from_file(tensors)
    if curves is not None:
        write(kept, curves, f"{header.get('method')}, {model.name}")
    parameters = sum(t.numel() for t in tensors.values())
    card = Card.from_file(header.get("card"))
    if not card.losses:  # as in files of before cards had them
        card = replace(card, losses=courses(kept))
    if as_json:
        size = {"path": str(model), "bytes": model.stat().st_size, "numbers": parameters}
        typer.echo(json.dumps(_facts(header, tensors, card) | {"file": size}, indent=1))
        return
    configs = header.get("extractors")
    extractors = {
        str(name): _extractor(config, tensors, str(name), card.licences.get(str(name)))
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
        **_card(card),
        **_losses(card),
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


def _card(card: Card) -> dict[str, str]:
    """Say what is known of data, training and time."""
    unknown = "not known"
    return {
        "training data": str(card.trained or unknown),
        "training": _pairs(card.training) or ("no settings" if card.trained else unknown),
        "calibrated on": str(card.calibrated or unknown),
        "time per part": str(card.timing or f"{unknown}: measured in calibration without a cache"),
    }


def _losses(card: Card) -> dict[str, str]:
    """Say where the training's curves ended."""
    last = [f"{name} {course}" for name, course in card.losses.items()]
    return {"losses": f"{', '.join(last)}, in the last epoch"} if last else {}


def _facts(
    header: Mapping[str, object], tensors: Mapping[str, Tensor], card: Card
) -> dict[str, object]:
    """Return what is in a model file but for what is learnt, scores and looks of the parts."""
    left_out = ("calibration", "trained_on", "ranges", "card", "extractors")
    extractors = cast("Mapping[str, Mapping[str, object]]", header.get("extractors") or {})
    stored = {name.split(".")[1] for name in tensors if name.startswith("extractors.")}
    return {
        **{name: value for name, value in header.items() if name not in left_out},
        "extractors": {
            name: {
                **config,
                "licence": card.licences.get(name),
                "stored": name in stored,
            }
            for name, config in extractors.items()
        },
        "thresholds": {
            way: {
                "threshold": c.threshold,
                "false_reject_rate": c.false_reject_rate,
                "parts": len(c.scores),
            }
            for way, c in from_file(header, tensors).items()
        },
        "trained_on": _ranges(header.get("ranges")),
        **{name: value for name, value in card.to_file().items() if name != "licences"},
    }


def _ranges(stored: object) -> str:
    """Say what training parts looked like."""
    if not isinstance(stored, Mapping):
        return "not known: parts are not compared with the training parts"
    return Ranges.from_file(stored).describe()


def _extractor(config: object, tensors: Iterable[str], name: str, licence: str | None) -> str:
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
    parts += [f"licence {licence or 'not known'}"]
    return ", ".join(part for part in parts if part)


def _pairs(values: object) -> str:
    if not isinstance(values, Mapping):
        return ""
    return ", ".join(
        f"{k} {v.get('patch_size') if isinstance(v, Mapping) else v}" for k, v in values.items()
    )
