"""`cmad demo`: the whole job on synthetic parts."""

from pathlib import Path
from typing import Annotated

import typer

from cmad import demo as demonstration
from cmad.cli._common import command, describe, table
from cmad.cli._interrupt import Watched, if_interrupted
from cmad.cli._method import DEFAULT, Method
from cmad.cli._options import OutFolder
from cmad.cli._parts import expect_writable
from cmad.detectors import method_named
from cmad.report.page.page import NEEDED


@command
def demo(
    *,
    out: OutFolder = Path("demo"),
    seed: Annotated[int, typer.Option(help="Of the synthetic parts and the training.")] = 0,
    method: Method = DEFAULT,
) -> None:
    """Fit, calibrate and score on synthetic parts; takes a minute or two and no download.

    Writes DIR/picture.png (a good part and one of each kind of defect: RGB, depth, anomaly map and
    truth), DIR/demo.cmad (the model) and DIR/parts (those parts as files, for `cmad score`); where
    Jinja2 is installed (the extra `report`) also DIR/report.html, all scored parts for a browser.
    """
    counts = (demonstration.TRAIN, demonstration.CALIBRATE)
    typer.echo(
        f"{method_named(method).__name__} on synthetic parts: fit on {counts[0]} good ones, "
        f"threshold from {counts[1]} other good ones, score {demonstration.GOOD} good and "
        f"{demonstration.DEFECTIVE} defective ones"
    )
    expect_writable("--out", out)
    watched = Watched(out / "demo.cmad")
    if_interrupted(lambda: f"{watched}; the same command starts again")
    result = demonstration.run(out, seed, method.lower())
    describe(result.extractors)
    typer.echo(f"seed of parts and training: {result.seed}")
    table(
        "Parts found",
        ("kind of defect", "rejected", "of", "AUROC"),
        [(k, str(n), str(of), f"{a:.3f}") for k, (n, of, a) in result.detected.items()],
    )
    figures = {
        "I-AUROC": result.image_auroc,
        "AUPRO@30%": result.aupro_30,
        "AUPRO@1%": result.aupro_1,
    }
    table("Metrics", ("metric", "value"), [(k, f"{v:.4f}") for k, v in figures.items()])
    typer.echo(
        f"at threshold {result.threshold:.4g} (false-reject rate "
        f"{demonstration.FALSE_REJECT_RATE:g}): false rejects {result.false_rejects} of "
        f"{result.good} good, missed {result.missed} of {result.defective} defective"
    )
    stages = [(k, f"{v:.1f}") for k, v in result.seconds.items()]
    total = f"{sum(result.seconds.values()):.1f}"
    table("Time", ("stage", "seconds"), [*stages, ("together", total)])
    typer.echo(f"look at {result.files['picture']}")
    if "report" in result.files:
        typer.echo(f"open {result.files['report']} in a browser")
    else:
        typer.echo(f"no report.html: it {NEEDED}")
    typer.echo(
        f"then try  cmad score {result.files['model']} {result.files['parts']} "
        f"--out {out / 'scores'}"
    )
