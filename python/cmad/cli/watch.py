"""`cmad watch`: score parts as their files arrive, and tell others of each verdict."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from cmad.cli._beside import Beside
from cmad.cli._common import command, complain, note_random, said
from cmad.cli._drift import Drifting, Watch
from cmad.cli._interrupt import if_interrupted
from cmad.cli._live import SHIFTS, Host, KeyFile, Page, Shifts
from cmad.cli._options import Device, Files, ModelFile, OutFolder, Written
from cmad.cli._parts import expect_writable
from cmad.cli._receivers import (
    Broker,
    Ca,
    Certificate,
    Endpoint,
    Key,
    PasswordFile,
    Receivers,
    Tls,
    Topic,
    User,
    WebhookUrl,
)
from cmad.cli._verdicts import line
from cmad.cli._words import in_options
from cmad.datasets.names import shown
from cmad.paths import expect_folder, what_is
from cmad.serve.journal import Journal
from cmad.serve.live import Watched
from cmad.serve.locks import LOCK, Lock, of_folder
from cmad.serve.results import Result
from cmad.serve.watching import Pace, Voice, Watcher


@command
def watch(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="That parts come into, as the pairs rgb/NAME.png and xyz/NAME.tiff at any depth. "
            "Points are TIFF, PLY, PCD or NPZ; with --intrinsics also depth images.",
            show_default=False,
        ),
    ],
    model: ModelFile,
    *,
    out: OutFolder = Path("scores"),
    files: Files,
    written: Written,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="A part that is unlike the training parts is an error, not a warning.",
        ),
    ] = False,
    settle: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="Files that stay as they are for so long are taken for whole."
        ),
    ] = 2.0,
    poll: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Look at the folder so often, also where no system tells of new files.",
        ),
    ] = 1.0,
    patience: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Report a part that has not become whole, or cannot be read, after so long "
            "without a change.",
        ),
    ] = 60.0,
    once: Annotated[
        bool,
        typer.Option("--once", help="Score what is there and not done yet, and stop."),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            help="Show the parts on a live page on this port, as `cmad serve` does; 0 takes a free "
            "one.",
            show_default=False,
        ),
    ] = None,
    host: Host = "127.0.0.1",
    key_file: KeyFile = None,
    shifts: Shifts = SHIFTS,
    webhook: WebhookUrl = None,
    mqtt: Broker = None,
    mqtt_topic: Topic = "cmad/verdict",
    mqtt_user: User = None,
    mqtt_password_file: PasswordFile = None,
    mqtt_tls: Tls = False,
    mqtt_ca: Ca = None,
    opcua: Endpoint = None,
    opcua_cert: Certificate = None,
    opcua_key: Key = None,
    drifting: Drifting,
    device: Device = "auto",
) -> None:
    """Score parts as their files arrive in a folder, and send each verdict on.

    A part is scored when its image and its points have been there, unchanged, for --settle seconds
    and can be read; one that does not become so is reported after --patience seconds, and scored
    when it changes after all. Each part gets a line, as of `cmad score`, and what is written to DIR
    is the same: scores.csv, scores.jsonl, maps/ and overlays/. A line of scores.jsonl also has id
    (of the part's name and content), part, seen, model and drift.

    Stopped at any moment, killed too, the same command goes on: no part is lost, and none is scored
    twice. A name that comes again with other content is another part, NAME-2. Ctrl-C ends after the
    part in work.

    A receiver that is away gets its verdicts when it is back; until then they are in scores.jsonl.
    It may get one twice: its id tells. A receiver named for the first time gets what comes from
    then on. --port shows the parts on a live page, the extra `serve` brings what it takes.

    - `cmad watch frames part.cmad --out line --port 8000`
    - `cmad watch frames part.cmad --out line --webhook http://127.0.0.1:9000/verdict`
    - `cmad watch frames part.cmad --out line --mqtt broker --opcua 4840 --drift line.drift`
    """
    if_interrupted(lambda: f"nothing new in {out}")
    if folder.is_file() and what_is(folder) == "a model":
        raise ValueError(
            f"{folder} is a model, not a folder; the folder comes first: cmad watch {model} "
            f"{folder}"
        )
    expect_folder(folder)
    for name, seconds, least in (("settle", settle, 0), ("poll", poll, 0.01)):
        if not least <= seconds <= 3600:
            raise ValueError(f"--{name} must be from {least} to 3600 seconds, got {seconds:g}")
    receivers = Receivers()
    receivers.webhook(webhook)
    receivers.mqtt(mqtt, mqtt_topic, mqtt_user, mqtt_password_file, mqtt_tls, mqtt_ca)
    with ExitStack() as held:
        page = Page(held, port, host, key_file, shifts)
        judge = Watched(model, device)
        detector = judge.detector
        units = files.units(detector.units)
        monitor = Watch(detector, drifting)
        judge.drift = monitor.drift
        expect_writable("--out", out)
        named = f"{model.name} {judge.digest}"
        receivers.opcua(opcua, named, opcua_cert, opcua_key)

        def result(found: Result) -> None:
            receivers.notify()
            page.add(found)
            if found.error is None:
                typer.echo(line(found))
            else:
                complain(f"{found.name}: {found.error}")

        voice = Voice(result, monitor.alarm, lambda text: complain(text, "note"), in_options, said)
        for path, what in ((out / LOCK, f"--out {out}"), (of_folder(folder), str(folder))):
            lock = Lock(path, what, "stop it first, or name another folder")
            held.callback(lock.release)
        journal = Journal(out, **vars(written))
        held.callback(journal.close)
        of_model = Beside.of(detector, model=shown(os.path.abspath(model)), units=units)
        of_model.write(journal.path)
        before, failed = journal.count, journal.failed
        if_interrupted(lambda: f"{_counted(journal, before)}; the same command goes on")
        watcher = Watcher(
            detector,
            folder,
            journal,
            voice,
            model=named,
            units=units,
            pace=Pace(poll, settle, patience),
            drift=monitor.drift,
            strict=strict,
        )
        judge.follow(watcher)
        held.callback(receivers.finish, voice.note)
        receivers.start(journal.path, voice.note)
        note_random(*detector.pipeline.describe().values())
        page.start(judge, journal.last, voice.note)
        typer.echo(f"watching {folder}, {before} parts done before{page}")
        signals = held.enter_context(_Signals(watcher.stop))
        try:
            left = watcher.run(once=once)
        except OSError as error:
            if once and not folder.is_dir():
                raise
            raise RuntimeError(
                f"{said(error)}; {_counted(journal, before)}, none is lost: the same command goes "
                "on"
            ) from error
    if signals.got == signal.SIGINT:
        raise KeyboardInterrupt
    typer.echo(_counted(journal, before))
    monitor.tell()
    left = left if once else []
    for part in left:
        complain(f"{part.coming.name}: not whole yet: {part.fault}")
    if once and (bad := journal.failed - failed + len(left)):
        raise RuntimeError(f"{bad} parts could not be scored, see {out}/scores.csv")


def _counted(journal: Journal, before: int) -> str:
    return f"{journal.count - before} parts more in {journal.path}, {journal.count} in all"


class _Signals:
    """Ctrl-C and SIGTERM end the command after the part in work; a second one at once."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop, self.got = stop, 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Signals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._take)
        return self

    def _take(self, number: int, _: object) -> None:
        if self.got:
            raise KeyboardInterrupt
        self.got = number
        self._stop()

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
