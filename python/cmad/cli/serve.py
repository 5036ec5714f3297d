"""`cmad serve`: a server that judges parts, with a live page."""

import signal
import socket
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cmad.cli._common import command, note_random
from cmad.cli._interrupt import if_interrupted
from cmad.cli._options import Device
from cmad.datasets.names import plain
from cmad.serve.extras import need
from cmad.serve.hub import Hub
from cmad.serve.limits import Limits
from cmad.serve.worker import Worker

HERE = ("127.0.0.1", "localhost", "::1")
"""This machine, for itself."""
SHORTEST = 16
"""Characters of a key."""


@command
def serve(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL.cmad...",
            help="From `cmad fit`; each is called as its file, without the ending.",
            show_default=False,
        ),
    ],
    port: Annotated[int, typer.Option(help="To listen on; 0 takes a free one.")] = 8000,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; 0.0.0.0 for other machines too, with a key."),
    ] = "127.0.0.1",
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of one line, the key that requests must have, 16 characters or more.",
            show_default=False,
        ),
    ] = None,
    queue: Annotated[
        int, typer.Option(help="Parts that may wait for each model; more are answered 503.")
    ] = 8,
    max_mb: Annotated[float, typer.Option(help="MB of a request.")] = 128,
    max_pixels: Annotated[
        int, typer.Option(help="Pixels of an image, and points of a cloud.")
    ] = 25_000_000,
    shifts: Annotated[
        str,
        typer.Option(metavar="HH:MM,...", help="When shifts begin, for the live page's counters."),
    ] = "06:00,14:00,22:00",
    drift: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep the drift monitors' states there, as NAME.drift, from run to run.",
            show_default="in memory",
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Judge parts that are sent over HTTP, and show them on a live page.

    - `POST /score` takes the files of a part as a form, image and points, and answers with JSON as
      scores.jsonl has it; /openapi.json describes the rest
    - `/` is the live page: the last verdict, scores against the threshold, drift, counts by shift
    - `/model`, `/health` and `/metrics` (Prometheus) say how things stand

    Each model judges one part at a time; as many as --queue wait, and more are answered 503 with
    Retry-After. Files go into a private temporary folder and are deleted. Listens on this machine
    only, unless --host says otherwise; then requests need the key of --key-file. Ctrl-C answers
    what was accepted, then ends.

    - `cmad serve part.cmad`, then `curl -F image=@a.png -F points=@a.tiff 127.0.0.1:8000/score`
    """
    if_interrupted(lambda: "nothing was served yet")
    for module, package in (
        ("fastapi", "fastapi"),
        ("uvicorn", "uvicorn"),
        ("python_multipart", "python-multipart"),
    ):
        need(module, package, "serve", "cmad serve")
    key = _key(key_file)
    if host not in HERE and key is None:
        raise ValueError(f"--host {host} is open to other machines, which needs --key-file")
    for name, value in (("queue", queue), ("max-mb", max_mb), ("max-pixels", max_pixels)):
        if not 1 <= value < 2**40:
            raise ValueError(f"--{name} must be from 1, got {value:g}")
    begins = _begins(shifts)
    names = [plain(path.stem) for path in models]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"several models are called {', '.join(sorted(twice))}; rename one")
    with _bound(host, port) as listening:
        if drift is not None:
            drift.mkdir(parents=True, exist_ok=True)
        hub = Hub(names, begins)
        states = [None if drift is None else drift / f"{name}.drift" for name in names]
        workers = [
            Worker(path, device, queue, state, hub)
            for path, state in zip(models, states, strict=True)
        ]
        for worker in workers:
            note_random(*worker.detector.pipeline.describe().values())
        from cmad.serve.running import Server  # which needs the extra

        server = Server(
            workers,
            hub,
            Limits(int(max_mb * 2**20), max_pixels),
            key=key,
            names=HERE if host in HERE else None,
        )
        place = f"[{host}]" if ":" in host else host
        at = f"http://{place}:{listening.getsockname()[1]}"
        if_interrupted(lambda: f"all {hub.number} parts that were accepted are answered")
        got = server.run_on(listening, lambda: typer.echo(f"serving {', '.join(names)} on {at}"))
    if got == signal.SIGINT:
        raise KeyboardInterrupt
    typer.echo(f"stopped; all {hub.number} parts that were accepted are answered")


def _key(path: Path | None) -> str | None:
    """Read the key.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has no key that is one.

    """
    if path is None:
        return None
    key = path.read_text(encoding="utf-8").strip()
    if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError(
            f"--key-file {path} must hold one line of {SHORTEST} letters and digits or more"
        )
    return key


def _begins(shifts: str) -> list[tuple[int, int]]:
    try:
        times = [datetime.strptime(text.strip(), "%H:%M") for text in shifts.split(",")]
    except ValueError as error:
        raise ValueError(f"--shifts must be times, HH:MM,HH:MM,..., got {shifts!r}") from error
    return [(time.hour, time.minute) for time in times]


def _bound(host: str, port: int) -> socket.socket:
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
