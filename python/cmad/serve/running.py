"""The server itself: uvicorn with the application, and how it ends.

Needs the extra ``serve``.
"""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cmad.serve.app import make
from cmad.serve.gate import App, Gate
from cmad.serve.hub import Hub
from cmad.serve.limits import Limits
from cmad.serve.model import Model
from cmad.serve.views import views
from cmad.serve.worker import Worker

SLOWEST = 60.0
"""Seconds in which a request must have come."""
BEGINNING = 10.0
"""Seconds in which its headers must have."""
CONNECTIONS = 200
"""That are open together."""
QUESTION = 1 << 20
"""Bytes of a request that asks only to look."""
Stopping = Callable[[], bool]
"""Whether a server is about to end."""


class Impatient(H11Protocol):
    """A connection that is closed where its request does not begin in time.

    uvicorn waits for the end of the headers for ever, and connections that stall in theirs would
    take the place of all others. What follows the headers has a time limit in `Gate`.
    """

    seconds = BEGINNING
    """That a request's headers may take."""
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came; wait on where that is no whole beginning of a request."""
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        self._stop_waiting()

    def _wait(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:  # a request has begun
            self._stop_waiting()
        elif self._late is None:
            self._late = self.loop.call_later(self.seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Server(uvicorn.Server):
    """A server that ends when all that it accepted is answered; see `scoring` and `showing`."""

    def __init__(
        self,
        app: Callable[[Stopping], App],
        *,
        most: int = QUESTION,
        at_once: int | None = None,
        key: str | None = None,
        names: Iterable[str] | None = None,
        seconds: float = SLOWEST,
    ) -> None:
        """Put it together.

        Args:
            app: makes the application.
            most: see `Gate`.
            at_once: likewise.
            key: likewise.
            names: likewise.
            seconds: in which a request must have come.

        """
        made = app(lambda: self.should_exit)
        gate = Gate(made, key=key, most=most, at_once=at_once, seconds=seconds, names=names)
        settings: dict[str, Any] = {
            **{"log_level": "warning", "access_log": False, "server_header": False},
            **{"lifespan": "on", "ws": "none", "http": Impatient, "loop": "asyncio"},
            **{"limit_concurrency": CONNECTIONS, "timeout_keep_alive": 5},
        }
        super().__init__(uvicorn.Config(gate, **settings))
        self.got = 0
        """The signal that ended it; 0 for none."""
        self._ready: Callable[[], None] = lambda: None

    def run_on(self, listening: socket.socket, ready: Callable[[], None]) -> int:
        """Serve until a signal, or ``should_exit``; return the signal.

        Args:
            listening: a socket that listens.
            ready: called when requests are answered.

        """
        self._ready = ready
        asyncio.run(self.serve(sockets=[listening]))
        return self.got

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals end it, and nothing else: uvicorn would raise them again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {n: signal.signal(n, self._take) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, _: object) -> None:
        if self.got:
            self.force_exit = True
        self.got = number
        self.should_exit = True


def scoring(workers: Sequence[Worker], hub: Hub, limits: Limits, **gate: Any) -> Server:
    """Make a server that judges parts and shows them.

    Args:
        workers: of the models.
        hub: that they tell of their parts.
        limits: of what is sent.
        gate: ``key``, ``names`` and ``seconds`` of `Server`.

    """
    return Server(
        lambda stopping: make(workers, hub, limits, stopping),
        most=limits.bytes,
        # Beside those that wait for each model, one is judged, and one is being read.
        at_once=sum(worker.room + 2 for worker in workers),
        **gate,
    )


def showing(models: Sequence[Model], hub: Hub, **gate: Any) -> Server:
    """Make a server that shows the parts that others judge.

    Args:
        models: at work.
        hub: that is told of their parts.
        gate: ``key``, ``names`` and ``seconds`` of `Server`.

    """
    return Server(lambda stopping: views(models, hub, stopping), **gate)
