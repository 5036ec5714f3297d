"""Warnings that many parts give rise to: one per run and kind, with how many it concerns."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

_told: ContextVar[dict[str, tuple[str, int]] | None] = ContextVar("told", default=None)
"""Of the run: by kind the first message and how many there were; None outside of runs."""


def warn(kind: str, message: str) -> None:
    """Warn at once, or in a run at its end, once for all of a kind.

    Args:
        kind: what such messages have in common, such as ``"PointMAE: too few points"``.
        message: of this one.

    """
    told = _told.get()
    if told is None:
        warnings.warn(message, stacklevel=3)
        return
    first, count = told.get(kind, (message, 0))
    told[kind] = first, count + 1


@contextmanager
def run() -> Iterator[None]:
    """Collect what `warn` is told while the body runs; a run within another is part of it.

    Where the body raises, that error comes out, also where warnings are errors.
    """
    if _told.get() is not None:
        yield
        return
    told: dict[str, tuple[str, int]] = {}
    token = _told.set(told)
    try:
        yield
    except BaseException:
        with suppress(Warning):
            _report(told)
        raise
    finally:
        _told.reset(token)
    _report(told)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what `warn` is told while the body runs, as it will be told again; also in threads."""
    token = _told.set({})
    try:
        yield
    finally:
        _told.reset(token)


def _report(told: dict[str, tuple[str, int]]) -> None:
    for first, count in told.values():
        more = f"; the same for {count - 1} more" if count > 1 else ""
        # From where the function was called that a run decorates.
        warnings.warn(first + more, stacklevel=5)
