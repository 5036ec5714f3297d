"""How `cmad score` shows what a model did on parts whose truth is known."""

import typer

from cmad.cli._common import table
from cmad.evaluate import Tally


def show(tally: Tally) -> None:
    """Print what is known: wrong verdicts, and the metrics of scores and pixels."""
    if not tally.kinds:
        return
    defective = len(tally.kinds) - tally.good
    if (wrong := tally.wrong()) is not None:
        typer.echo(
            f"false rejects {wrong[0]} of {tally.good} good, "
            f"missed {wrong[1]} of {defective} defective"
        )
    metrics = tally.metrics()
    area = "AUPRO@30%"
    named = {
        "I-AUROC": metrics.get("I-AUROC"),
        "P-AUROC": metrics.get("P-AUROC"),
        area + " grid" * tally.on_grid: (tally.grid() if tally.on_grid else metrics).get(area),
    }
    table(
        f"{tally.good} good, {defective} defective parts",
        ("metric", "value"),
        [(name, "-" if value is None else f"{value:.4f}") for name, value in named.items()],
    )
