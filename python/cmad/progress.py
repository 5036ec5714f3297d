"""One progress bar for all long work, with an ETA; silent when not on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Step(Protocol):
    """Advances a bar by one; ``note`` is shown behind it."""

    def __call__(self, note: str = "") -> None:
        """Advance."""


@contextmanager
def bar(what: str, total: int | None, *, show: bool = True) -> Iterator[Step]:
    """Show a progress bar while the body runs.

    Args:
        what: the work, such as "extracting features".
        total: steps; None where not known.
        show: false for none.

    Yields:
        A function to call after each step.

    """
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not (show and console.is_terminal),
    )
    with progress:
        task = progress.add_task(what, total=total, note="")
        yield lambda note="": progress.update(task, advance=1, note=note)
