"""How far long work is: a bar on a terminal or in a notebook, a line every 30 s elsewhere."""

import html
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # of use where there is a terminal
    from rich.console import Console
    from rich.progress import Progress

LINE_EVERY = 30.0
"""Seconds between two lines; work that is done before gets none."""
REDRAW_EVERY = 0.2
"""Seconds between two states of a notebook's bar."""


class Step(Protocol):
    """Advances a bar by one; ``note`` is shown behind it."""

    def __call__(self, note: str = "") -> None:
        """Advance."""


@contextmanager
def bar(what: str, total: int | None, *, done: int = 0, show: bool = True) -> Iterator[Step]:
    """Show how far the body is while it runs.

    On a terminal and in a notebook as a bar. Elsewhere, as in a log or a pipe, as a line on the
    error output with count, rate and remaining time, at the first step that ends 30 s or more after
    the line before; work shorter than that writes nothing.

    Args:
        what: the work, such as "extracting features".
        total: steps; None where not known.
        done: steps that were done before, such as by a training that was stopped; they have no part
            in rate and remaining time.
        show: false for none.

    Yields:
        A function to call after each step.

    """
    if not show:
        yield lambda note="": None
        return
    from rich.console import Console

    display, console = _notebook(), Console(stderr=True)
    if display is not None:
        shown = _Notebook(_Count(what, total, done), display)
        try:
            yield shown
        finally:
            shown.draw()
    elif console.is_terminal:
        with _terminal(console) as progress:
            task = progress.add_task(what, total=total, completed=done, note="")
            yield lambda note="": progress.update(task, advance=1, note=note)
    else:
        lines = _Lines(_Count(what, total, done))
        yield lines
        lines.end()


class _Count:
    """How far some work is, in words."""

    def __init__(self, what: str, total: int | None, done: int = 0) -> None:
        self.what, self.total = what, total
        self.done, self.note = done, ""
        self.begin = monotonic()
        self._mark = self.begin, done

    def add(self, note: str) -> float:
        """Count a step; return the time."""
        self.done, self.note = self.done + 1, note
        return monotonic()

    def elapsed(self) -> float:
        return monotonic() - self.begin

    def mark(self) -> None:
        """Let the rate be that from now on: what a cache knew came faster than what is to come."""
        self._mark = monotonic(), self.done

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        said = [f"{self.what}: {self.done}{of}"]
        since, before = self._mark
        seconds, steps = monotonic() - since, self.done - before
        if steps and seconds > 0:
            each = seconds / steps
            said.append(f"{1 / each:.1f} per s" if each < 1 else f"{each:.1f} s each")
            if self.total is not None:
                said.append(f"{duration(each * max(0, self.total - self.done))} left")
        return ", ".join([*said, *filter(None, [self.note])])


class _Lines:
    """A line every now and then, for logs."""

    def __init__(self, count: _Count) -> None:
        self._count, self._last = count, count.begin

    def __call__(self, note: str = "") -> None:
        now = self._count.add(note)
        # The last step's line is that of the end.
        if now - self._last >= LINE_EVERY and self._count.done != self._count.total:
            _write(str(self._count))
            self._count.mark()
            self._last = now

    def end(self) -> None:
        if self._count.elapsed() >= LINE_EVERY:
            took = duration(self._count.elapsed())
            _write(f"{self._count.what}: {self._count.done} done in {took}")


class _Notebook:
    """A bar in a notebook's output, drawn anew in its place; needs no widgets."""

    def __init__(self, count: _Count, display: Callable[..., Any]) -> None:
        self._count, self._last = count, count.begin
        self._handle = display(self, display_id=True)

    def __call__(self, note: str = "") -> None:
        now = self._count.add(note)
        if now - self._last >= REDRAW_EVERY:
            self._last = now
            self.draw()

    def draw(self) -> None:
        if self._handle is not None:
            self._handle.update(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Give IPython the bar, and a line for what shows no HTML."""
        count, text = self._count, str(self._count)
        known = "" if count.total is None else f' value="{count.done}" max="{count.total}"'
        drawn = f"<progress{known}></progress> {html.escape(text)}"
        return {"text/plain": text, "text/html": f"<div>{drawn}</div>"}


def duration(seconds: float) -> str:
    """Return a time as it is read: ``"45 s"``, ``"9 min 55 s"``, ``"26 h 03 min"``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _terminal(console: "Console") -> "Progress":
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def _notebook() -> Callable[..., Any] | None:
    """Return IPython's ``display`` where this runs in a kernel, with a page that shows it."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:  # none, or a shell on a terminal
        return None
    display: Callable[..., Any] = import_module("IPython.display").display
    return display


def _write(line: str) -> None:
    """Write a line to the error output, if there is one: a closed log ends no training."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)
