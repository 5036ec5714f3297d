"""The command `cmad`: demo, show, synthesise, fit, score, evaluate, reproduce, info."""

from typing import Annotated

import typer

from cmad.cli._common import Group
from cmad.cli.demo import demo
from cmad.cli.evaluate import evaluate
from cmad.cli.fit import fit
from cmad.cli.info import info
from cmad.cli.reproduce import reproduce
from cmad.cli.score import score
from cmad.cli.show import show
from cmad.cli.synthesise import synthesise
from cmad.version import __version__

app = typer.Typer(
    name="cmad",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, show, synthesise, fit, score, evaluate, reproduce, info):
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cmad {__version__}")
        raise typer.Exit


@app.callback()
def cmad(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find anomalies on parts from an RGB image and its pixel-registered 3D points.

    Try `cmad demo`, which needs no data. With your own: `cmad show` draws what of each part will be
    looked at, `cmad fit` learns from good parts and writes a model file, `cmad score` applies it to
    new parts, `cmad info` says what is in one. `cmad evaluate` fits and tests on a data set with
    known truth, `cmad reproduce` sets a method beside its paper. `cmad synthesise` pastes anomalies
    on good parts.

    Images are PNG, JPEG, BMP or TIFF with 8 bits per channel. Points are TIFF, PLY, PCD or NPZ
    files of the same height and width, x, y, z in metres or as `--unit` says; a pixel
    without a point is 0 or NaN. Work ends with exit code 0, or 1 and a line `error: ...`.
    """


def main() -> None:
    """Run the command."""
    app()


__all__ = ["app", "main"]
