"""What the commands share: errors as one line, tables, words about weights."""

import functools
import inspect
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from cmad import notices
from cmad.cli._group import WORDS
from cmad.cli._interrupt import EXIT_CODE, if_interrupted, interrupted
from cmad.cli._spread import spread
from cmad.cli._words import in_options, learn, speak_as
from cmad.datasets.names import shown
from cmad.paths import user_path

Traceback = Annotated[
    bool, typer.Option("--traceback", help="On an error show where in the code it came from.")
]
EXPECTED = (ValueError, TypeError, RuntimeError, OSError)
"""Errors whose message says what is wrong; anything else is a bug and keeps its traceback."""


def command_line(context: typer.Context) -> str:
    """Return the command line, on one line, as a shell takes it; empty where there is none.

    Names that are not UTF-8 are written as messages write them, since files hold it.
    """
    words = context.meta.get(WORDS)
    return shown(" ".join(shlex.join(["cmad", *words]).split())) if words else ""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option ``--traceback`` and print its errors and warnings as one line.

    A leading ``~`` of its paths is expanded: shells leave it in ``--out=~/results``. What the
    terminal cannot show, such as a file's name that is not UTF-8, is printed escaped. Ctrl-C ends
    it with one line, too: what the command told `cmad.cli._interrupt.if_interrupted`. Records of
    options are spread, see `cmad.cli._spread`.
    """
    function = spread(function)

    @functools.wraps(function)
    def run(*, traceback: bool, **arguments: object) -> None:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, TextIOWrapper):
                    stream.reconfigure(errors="backslashreplace")
            if_interrupted(None)
            try:
                expanded = {name: _expanded(value) for name, value in arguments.items()}
                speak_as(function.__name__)
                with notices.run():
                    function(**expanded)
            except EXPECTED as error:
                if traceback:
                    raise
                complain(said(error))
                raise typer.Exit(1) from error
            except KeyboardInterrupt as error:
                complain(interrupted(), "interrupted")
                raise typer.Exit(EXIT_CODE) from error

    learn(function)
    signature = inspect.signature(function)
    option = inspect.Parameter(
        "traceback", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Traceback
    )
    parameters = [*signature.parameters.values(), option]
    vars(run)["__signature__"] = signature.replace(parameters=parameters)
    run.__annotations__ = {**function.__annotations__, "traceback": Traceback}
    return run


def _expanded(value: object) -> object:
    if isinstance(value, list):
        return [_expanded(entry) for entry in value]
    return user_path(value) if isinstance(value, Path) else value


def said(error: BaseException) -> str:
    """Return an error's message on one line, in the words of the command line."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        why = error.strerror[:1].lower() + error.strerror[1:]
        text = f"{error.filename}: {why.replace('file or directory', 'file or folder')}"
    return in_options(" ".join(shown(text).split())) or type(error).__name__


def complain(message: str, kind: str = "error") -> None:
    """Print a line on the error output."""
    typer.echo(f"{kind}: {message}", err=True)


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table; all columns but the first are numbers."""
    drawn = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for i, name in enumerate(columns):
        drawn.add_column(name, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    Console(highlight=False, markup=False).print(drawn)


def describe(extractors: Mapping[str, str]) -> None:
    """Print what extracts the features of each modality, and warn of random weights."""
    for modality, said in extractors.items():
        typer.echo(f"{modality.upper()}  {said}")
    note_random(*extractors.values())


def note_random(*described: str) -> None:
    """Warn where an extractor, by its description, has random weights."""
    if any("random weights" in text for text in described):
        typer.echo(
            "note: random weights (an extractor was not pretrained); "
            "good for tests and timing, not for judging real parts"
        )


def _warn(
    message: Warning | str,
    category: type[Warning],  # the names are those of warnings.showwarning
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    complain(in_options(" ".join(str(message).split())), "warning")
