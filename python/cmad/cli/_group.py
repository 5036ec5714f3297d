"""The commands as a group: named and described at once, each loaded where it runs.

What the commands need takes seconds to import, torch most of it; a list of them, a version and an
answer to a typo do not need it.
"""

import re
from importlib import import_module
from typing import Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from cmad.cli._interrupt import EXIT_CODE

WORDS = "cmad.words"
EXIT_CODES = (
    "Exit codes: 0, all went well; 1, an error, which a line `error: ...` says; 2, the command "
    "line is wrong and nothing was done; 130, stopped by Ctrl-C, and a line says what is left."
)
MARKUP: Literal["markdown"] = "markdown"
COMMANDS = {
    "demo": "Fit, calibrate and score on synthetic parts; takes a minute or two and no download.",
    "show": "Draw what of each part will be looked at: a contact sheet, made in seconds, without a "
    "model.",
    "synthesise": "Paste anomalies on good parts, in colour and points, as G²SF does for its "
    "training.",
    "fit": "Learn from good parts and write a model file.",
    "calibrate": "Give a model a threshold, or a new one, from good parts that it was not trained "
    "on.",
    "score": "Score parts with a model, and say which are accepted and which rejected.",
    "report": "Write one HTML file that shows each part: verdict, image, depth, map, regions, "
    "point cloud.",
    "watch": "Score parts as their files arrive in a folder, and send each verdict on.",
    "serve": "Judge parts that are sent over HTTP, and show them on a live page.",
    "repeat": "Say how repeatable a station is, from repeated scans of the same parts.",
    "evaluate": "Fit and test a method on one or all categories, and write tables like the "
    "papers'.",
    "reproduce": "Fit and test a method as the tables of its paper do, and set ours beside the "
    "paper's.",
    "info": "Say what is in a model file, without loading its extractors: its model card.",
}
"""By name what each does: the first lines of their own help, in the order of the list."""
_CODE_OR_BRACKET = re.compile(r"(?P<code>`[^`]*`)|<")


class Group(TyperGroup):
    """The commands; keeps the words of the command line for results that name it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words, then read them."""
        ctx.meta[WORDS] = list(args)
        return list(super().parse_args(ctx, args))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Load the command that is named."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, command, rest
        try:
            return name, load(name), rest
        except KeyboardInterrupt as error:
            typer.echo("interrupted: nothing was done yet", err=True)
            raise typer.Exit(EXIT_CODE) from error


class Command(TyperCommand):
    """A command whose help keeps names such as <defect>, which Markdown takes for HTML."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        """Mark them once, in the command's own help and in that of its options."""
        super().__init__(*arguments, **settings)
        for helped in (self, *self.params):
            text = getattr(helped, "help", None)
            if isinstance(text, str):
                vars(helped)["help"] = _CODE_OR_BRACKET.sub(lambda m: m["code"] or r"\<", text)


def load(name: str) -> Any:
    """Return the command of a name in `COMMANDS`, with its options."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=MARKUP)
    function = getattr(import_module(f"cmad.cli.{name}"), name)
    alone.command(cls=Command, epilog=EXIT_CODES)(function)
    return typer.main.get_command(alone)


def named() -> None:
    """Stand for a command in the list."""
