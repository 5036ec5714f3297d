"""The live page of `cmad watch`: beside the scoring, and never in its way."""

import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from cmad.serve.hub import Hub
from cmad.serve.model import Model
from cmad.serve.results import Result
from cmad.serve.watching import Watcher

GRACE = 5.0
"""Seconds that requests get at the end."""


class Watched(Model):
    """The model of a watched folder."""

    def __init__(self, path: Path, device: str) -> None:
        """Load it; see `Model`."""
        super().__init__(path, device)
        self._watcher: Watcher | None = None

    def follow(self, watcher: Watcher) -> None:
        """Tell from now on how this watcher stands."""
        self._watcher = watcher

    @property
    def alive(self) -> bool:
        """Whether it has a watcher whose folder can be looked at."""
        return self._watcher is not None and not self._watcher.away

    @property
    def waiting(self) -> int:
        """Parts that have come and are not judged, with those that are not whole."""
        return 0 if self._watcher is None else len(self._watcher.arrivals)

    @property
    def note(self) -> str | None:
        """What a person should know of it; None for nothing."""
        away = "" if self._watcher is None else self._watcher.away
        return "; ".join(filter(None, (away, self.replaced))) or None


class Live:
    """A live page in a thread of its own, which may fail without the scoring doing so."""

    def __init__(
        self,
        model: Watched,
        listening: socket.socket,
        note: Callable[[str], None],
        *,
        shifts: Sequence[tuple[int, int]],
        key: str | None = None,
        names: Iterable[str] | None = None,
    ) -> None:
        """Begin to answer.

        Args:
            model: that judges.
            listening: a socket that listens.
            note: is told where the page ends before `stop`.
            shifts: see `Hub`.
            key: see `cmad.serve.gate.Gate`.
            names: likewise.

        """
        from cmad.serve.running import showing  # which needs the extra

        self._model, self._note = model, note
        self._hub = Hub([model.name], shifts)
        self._server = showing([model], self._hub, key=key, names=names)
        self._listening, self._stopped = listening, False
        self._thread = threading.Thread(target=self._run, name="cmad-live", daemon=True)

    def start(self, earlier: Iterable[Result]) -> None:
        """Answer from now on.

        Args:
            earlier: parts that were judged before.

        """
        self._hub.recall(self._model.name, map(asdict, earlier))
        self._thread.start()

    def add(self, result: Result) -> None:
        """Show a part."""
        drift = self._model.drift
        stake = None if drift is None else max(drift.monitor.stakes.values())
        self._hub.add(self._model.name, asdict(result), stake)

    def stop(self) -> None:
        """Answer no more."""
        self._stopped = self._server.should_exit = True
        self._thread.join(GRACE)  # open pages are let go, requests answered
        self._server.force_exit = True

    def _run(self) -> None:
        why = "its server has stopped"
        try:
            self._server.run_on(self._listening, lambda: None)
        except BaseException as error:
            why = str(error) or type(error).__name__
        if not self._stopped:
            self._note(f"the live page has ended, scoring goes on: {why}")
