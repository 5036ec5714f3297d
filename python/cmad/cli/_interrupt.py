"""Ctrl-C: what a command says of what is left behind, in one line."""

from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path

from cmad.paths import mark_of

EXIT_CODE = 130
"""As shells have it: 128 and the number of the signal."""
_words: ContextVar[Callable[[], str] | None] = ContextVar("words", default=None)


def if_interrupted(say: Callable[[], str] | None) -> None:
    """Let a command's line say this from now on.

    Args:
        say: called when the command is interrupted, to say what is then unchanged and kept; None
            says nothing.

    """
    _words.set(say)


def interrupted() -> str:
    """Return what the running command says of what is left behind."""
    say = _words.get()
    return "files that were written before are left" if say is None else say()


class Watched:
    """A file that a command is about to replace as a whole; tells whether it has."""

    def __init__(self, path: Path) -> None:
        """Note what is there."""
        self._path, self._before = path, mark_of(path)

    def __str__(self) -> str:
        """Say what became of it."""
        now = mark_of(self._path)
        if now != self._before:
            return f"{self._path} is already the new one"
        return f"{self._path} " + ("is as it was" if self._before else "was not written")
