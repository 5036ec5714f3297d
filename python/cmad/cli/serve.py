"""`cmad serve`: a server that judges parts, with a live page."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from cmad.cli._common import command, note_random
from cmad.cli._interrupt import if_interrupted
from cmad.cli._live import (
    SHIFTS,
    Host,
    KeyFile,
    Shifts,
    begins_of,
    bound,
    key_for,
    names_of,
    url_of,
)
from cmad.cli._options import Device
from cmad.datasets.names import plain
from cmad.serve.extras import need
from cmad.serve.hub import Hub
from cmad.serve.limits import Limits
from cmad.serve.worker import Worker


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
    host: Host = "127.0.0.1",
    key_file: KeyFile = None,
    queue: Annotated[
        int, typer.Option(help="Parts that may wait for each model; more are answered 503.")
    ] = 8,
    max_mb: Annotated[float, typer.Option(help="MB of a request.")] = 128,
    max_pixels: Annotated[
        int, typer.Option(help="Pixels of an image, and points of a cloud.")
    ] = 25_000_000,
    shifts: Shifts = SHIFTS,
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
    key = key_for(host, key_file)
    for name, value in (("queue", queue), ("max-mb", max_mb), ("max-pixels", max_pixels)):
        if not 1 <= value < 2**40:
            raise ValueError(f"--{name} must be from 1, got {value:g}")
    begins = begins_of(shifts)
    names = [plain(path.stem) for path in models]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"several models are called {', '.join(sorted(twice))}; rename one")
    with bound(host, port) as listening:
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
        from cmad.serve.running import scoring  # which needs the extra

        limits = Limits(int(max_mb * 2**20), max_pixels)
        server = scoring(workers, hub, limits, key=key, names=names_of(host))
        at = url_of(host, listening)
        if_interrupted(lambda: f"all {hub.number} parts that were accepted are answered")
        got = server.run_on(listening, lambda: typer.echo(f"serving {', '.join(names)} on {at}"))
    if got == signal.SIGINT:
        raise KeyboardInterrupt
    typer.echo(f"stopped; all {hub.number} parts that were accepted are answered")
