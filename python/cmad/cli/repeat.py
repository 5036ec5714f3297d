"""`cmad repeat`: how much of what a model says of parts is the station's own spread."""

import csv
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from cmad.cli._common import EXPECTED, command, complain, note_random, said, table
from cmad.cli._interrupt import if_interrupted
from cmad.cli._options import Device, Files, ModelFile, OutFolder
from cmad.cli._parts import expect_order, expect_writable
from cmad.datasets import Folder
from cmad.detectors import load
from cmad.progress import bar
from cmad.repeatability import Repeats, Variance, identical, part_of

GOOD, POOR = 0.1, 0.3
"""Shares of the spread below which a measurement is called good, and above which poor (AIAG)."""


@command
def repeat(
    model: ModelFile,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Scans named PART__SCAN, with the pairs rgb/PART__SCAN.png and "
            "xyz/PART__SCAN.tiff at any depth.",
            show_default=False,
        ),
    ],
    *,
    out: OutFolder = Path("repeat"),
    files: Files,
    device: Device = "auto",
) -> None:
    """Say how repeatable a station is, from repeated scans of the same parts.

    Take each part out of the station and put it back between its scans: 10 parts or more, 3 scans
    of each, good ones and some with defects. An analysis of variance (gauge R&R of one station)
    says how much of the spread of the score, and of each level, is from scan to scan of the same
    part (repeatability) and how much is between parts, how many groups of parts the score can tell
    apart, whose verdict depends on the scan, and how far regions move.

    Writes to DIR repeat.csv, a line per part, and repeat.json, the analysis.

    - `cmad repeat part.cmad scans --out repeat`
    """
    if_interrupted(lambda: f"nothing in {out} is new")
    expect_order("repeat", model, [folder])
    detector = load(model, device=device)
    units = files.units(detector.units)
    scans = Folder(folder, (), **vars(units))
    of = [part_of(name) for name in scans.names]
    if len(set(of)) < 2 or len(set(of)) == len(of):
        raise ValueError(
            f"{folder} has {len(of)} scans of {len(set(of))} parts; needs two parts, and two scans "
            "of a part"
        )
    expect_writable("--out", out)
    repeats = Repeats()
    failed = 0
    with bar("scanning", len(scans)) as step:
        for i, (name, part) in enumerate(zip(scans.names, of, strict=True)):
            try:
                sample = scans[i]
                [grid] = detector.grids([sample])
                repeats.add(part, detector.decide(grid, sample.xyz))
            except EXPECTED as error:
                failed += 1
                complain(f"{name}: {said(error)}")
            step(name)
    found = repeats.variances()
    _write(out, repeats, found)
    _show(repeats, found, detector.threshold is not None)
    typer.echo(f"{len(of) - failed} scans of {len(repeats.parts)} parts, results in {out}")
    note_random(*detector.pipeline.describe().values())
    if failed:
        raise RuntimeError(f"{failed} of {len(of)} scans could not be scored")


def _write(out: Path, repeats: Repeats, found: dict[str, Variance]) -> None:
    columns = ["part", "scans", "mean_score", "score_deviation", "accepted", "rejected", "flips"]
    columns += ["regions", "region_spread_mm", "area_mm2", "area_deviation_mm2"]
    with (out / "repeat.csv").open("w", newline="", encoding="utf-8") as file:
        table_ = csv.writer(file)
        table_.writerow(columns)
        for name, part in repeats.parts.items():
            scores = np.array(part.scores)
            spread = "" if part.spread is None else part.spread
            table_.writerow(
                [
                    *(name, len(scores), scores.mean()),
                    scores.std(ddof=1) if len(scores) > 1 else "",
                    *(len(part.rejected) - sum(part.rejected), sum(part.rejected), part.flips),
                    *(len(part.regions), spread, *(part.area or ("", ""))),
                ]
            )
    analysis = {
        name: {
            **asdict(v),
            "total": v.total,
            "share": v.share,
            "categories": v.categories,
            "degrees": v.degrees,
        }
        for name, v in found.items()
    }
    finite = json.loads(json.dumps(analysis), parse_constant=lambda _: None)
    whole = {"analysis": finite, "flips": repeats.flips}
    (out / "repeat.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def _show(repeats: Repeats, found: dict[str, Variance], calibrated: bool) -> None:
    rows = [
        [
            name,
            *(f"{value:.4g}" for value in (v.mean, v.repeatability, v.part_variation)),
            "-" if math.isnan(v.share) else f"{100 * v.share:.1f} %",
            "-" if v.categories is None else str(v.categories),
        ]
        for name, v in found.items()
    ]
    names = ("", "mean", "repeatability", "between parts", "share", "categories")
    table("Standard deviations from scan to scan and from part to part", names, rows)
    share = found["score"].share
    if not math.isnan(share):
        word = "good" if share < GOOD else "poor" if share > POOR else "usable"
        typer.echo(f"repeatability of the score: {100 * share:.1f} % of its spread, {word}")
    if copies := identical(repeats.parts):
        typer.echo(f"note: all scans of {', '.join(copies)} have one score: copies of one scan?")
    if calibrated:
        flips = repeats.flips
        which = f": {', '.join(flips)}" if flips else ""
        typer.echo(
            f"verdict depends on the scan for {len(flips)} of {len(repeats.parts)} parts{which}"
        )
    if spreads := [p.spread for p in repeats.parts.values() if p.spread is not None]:
        typer.echo(
            f"regions move by {np.median(spreads):.2g} mm (median), at most {max(spreads):.2g}"
        )
