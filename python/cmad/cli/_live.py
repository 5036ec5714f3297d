"""Options of what has a live page, and what they must be: `cmad serve`, `cmad watch --port`."""

import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cmad.cli._secrets import secret, tell_if_open
from cmad.serve.extras import need
from cmad.serve.live import Live, Watched
from cmad.serve.results import Result

HERE = ("127.0.0.1", "localhost", "::1")
"""This machine, for itself."""
SHORTEST = 16
"""Characters of a key."""
SHIFTS = "06:00,14:00,22:00"

Host = Annotated[
    str,
    typer.Option(help="Address to listen on; 0.0.0.0 for other machines too, with a key."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Of one line, the key that requests must have, 16 characters or more.",
        show_default=False,
    ),
]
Shifts = Annotated[
    str,
    typer.Option(metavar="HH:MM,...", help="When shifts begin, for the live page's counters."),
]


def key_for(host: str, path: Path | None) -> str | None:
    """Read the key; None where this machine asks itself, and none was given.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has no key that is one, or other machines may ask without.

    """
    key = None
    if path is not None:
        key = secret("--key-file", path).strip()
        if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError(
                f"--key-file {path} must hold one line of {SHORTEST} letters and digits or more"
            )
        tell_if_open("--key-file", path)
    if host not in HERE and key is None:
        raise ValueError(f"--host {host} is open to other machines, which needs --key-file")
    return key


def names_of(host: str) -> tuple[str, ...] | None:
    """Return what a request may call this machine; None for anything."""
    return HERE if host in HERE else None


def begins_of(shifts: str) -> list[tuple[int, int]]:
    """Return hour and minute at which each shift begins.

    Raises:
        ValueError: these are no times.

    """
    try:
        times = [datetime.strptime(text.strip(), "%H:%M") for text in shifts.split(",")]
    except ValueError as error:
        raise ValueError(f"--shifts must be times, HH:MM,HH:MM,..., got {shifts!r}") from error
    return [(time.hour, time.minute) for time in times]


def bound(host: str, port: int) -> socket.socket:
    """Listen, before models are loaded for nothing.

    Raises:
        ValueError: no such port.
        OSError: the port is in use, for one.

    """
    if not 0 <= port < 65536:
        raise ValueError(f"--port must be from 0 to 65535, got {port}")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
    except OSError as error:
        raise OSError(f"--host {host}: {error.strerror or error}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        why = (error.strerror or str(error)).lower()
        raise OSError(f"{host}:{port}: {why}; choose another one with --port") from error
    return listening


def url_of(host: str, listening: socket.socket) -> str:
    """Return where a browser finds it."""
    place = f"[{host}]" if ":" in host else host
    return f"http://{place}:{listening.getsockname()[1]}"


class Page:
    """The live page of `cmad watch`, where there is to be one; otherwise nothing."""

    def __init__(
        self,
        held: ExitStack,
        port: int | None,
        host: str = HERE[0],
        key_file: Path | None = None,
        shifts: str = SHIFTS,
    ) -> None:
        """Listen, before there is work to lose.

        Args:
            held: closes what is open at the end.
            port: of the page; None for none.
            host: to listen on.
            key_file: see `key_for`.
            shifts: see `begins_of`.

        Raises:
            ValueError: an option cannot be, or is of a page that is not asked for.
            RuntimeError: the extra ``serve`` is not installed.
            OSError: the port is in use, for one.

        """
        self._held = held
        self._live: Live | None = None
        self._key: str | None = None
        self._host, self._begins = host, begins_of(shifts)
        self._listening: socket.socket | None = None
        if port is None:
            for option, given in (
                ("host", host != HERE[0]),
                ("key-file", key_file is not None),
                ("shifts", shifts != SHIFTS),
            ):
                if given:
                    raise ValueError(f"--{option} is of --port, which is not given")
            return
        for module in ("fastapi", "uvicorn"):
            need(module, module, "serve", "--port")
        self._key = key_for(host, key_file)
        self._listening = held.enter_context(bound(host, port))

    def __str__(self) -> str:
        """Say where it is."""
        listening = self._listening
        return "" if listening is None else f"; live page on {url_of(self._host, listening)}"

    def start(self, model: Watched, earlier: Iterable[Result], note: Callable[[str], None]) -> None:
        """Answer from now on; see `Live`."""
        if self._listening is None:
            return
        self._live = Live(
            model,
            self._listening,
            note,
            shifts=self._begins,
            key=self._key,
            names=names_of(self._host),
        )
        self._live.start(earlier)
        self._held.callback(self._live.stop)

    def add(self, result: Result) -> None:
        """Show a part."""
        if self._live is not None:
            self._live.add(result)
