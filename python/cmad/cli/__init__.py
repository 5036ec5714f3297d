"""The command `cmad`; `cmad.cli._group.COMMANDS` has the list."""

from typing import Annotated

import typer

from cmad.cli._group import COMMANDS, EXIT_CODES, MARKUP, Group, named
from cmad.version import __version__

app = typer.Typer(
    name="cmad",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=MARKUP,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command, what in COMMANDS.items():
    app.command(command, help=what)(named)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cmad {__version__}")
        raise typer.Exit


@app.callback(epilog=EXIT_CODES)
def cmad(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find anomalies on parts from an RGB image and its pixel-registered 3D points.

    Try `cmad demo`, which needs no data. With your own: `cmad show` draws what of each part will be
    looked at, `cmad fit` learns from good parts and writes a model file, `cmad score` applies it to
    new parts and says which are accepted, `cmad report` shows them in a browser, `cmad calibrate`
    gives it a new threshold, `cmad info` says what is in one. `cmad watch` scores parts as they
    come into a folder, `cmad serve` those that are sent to it. `cmad evaluate` fits and tests on a
    data set with known truth, `cmad reproduce` sets a method beside its paper. `cmad synthesise`
    pastes anomalies on good parts.

    Images are PNG, JPEG, BMP or TIFF with 8 bits per channel. Points are TIFF, PLY, PCD or NPZ
    files of the same height and width, x, y, z in metres or as `--unit` says; a pixel
    without a point is 0 or NaN.
    """


def main() -> None:
    """Run the command."""
    app()


__all__ = ["app", "main"]
