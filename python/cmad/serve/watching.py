"""The loop of `cmad watch`: what has come is scored, one part at a time."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter

import numpy as np

from cmad.datasets.files import read_sample
from cmad.datasets.names import plain, shown
from cmad.detectors import Detector
from cmad.serve.arrivals import Arrival, Arrivals
from cmad.serve.drifting import Drift
from cmad.serve.events import Events
from cmad.serve.journal import Journal
from cmad.serve.results import Result
from cmad.types import Sample
from cmad.units import Units

FAULTS = (ValueError, TypeError, RuntimeError, OSError)
"""Errors that tell of a part; any other is a mistake."""
SHARE = 10
"""Looking at the folder takes one in so many seconds at most, however many files it has."""


@dataclass(frozen=True)
class Voice:
    """Who is told what happens."""

    result: Callable[[Result], None]
    """A part has its line."""
    alarm: Callable[[str], None]
    """The drift monitor alarms at the part of this name."""
    note: Callable[[str], None]
    """Something else that a user should know."""
    words: Callable[[str], str]
    """Brings a message of the library into the user's words."""
    said: Callable[[BaseException], str]
    """Likewise, of an error."""


@dataclass(frozen=True)
class Pace:
    """How long what takes, seconds."""

    poll: float = 1.0
    """Between two looks at the folder."""
    settle: float = 2.0
    """That files must stay as they are to be taken for whole."""
    patience: float = 60.0
    """After which a part whose files stay as they are and cannot be read is reported as such."""


class Watcher:
    """Scores the parts of a folder as they come."""

    def __init__(
        self,
        detector: Detector,
        folder: Path,
        journal: Journal,
        voice: Voice,
        *,
        model: str,
        units: Units,
        pace: Pace,
        drift: Drift | None = None,
        strict: bool = False,
    ) -> None:
        """Begin with what the journal knows to be done.

        Args:
            detector: that judges.
            folder: that parts come into, with rgb/ and xyz/ at any depth.
            journal: of the results.
            voice: is told what happens.
            model: the detector's name, for the results.
            units: of the files.
            pace: how long what takes.
            drift: is shown each part.
            strict: see `Detector.predict`.

        """
        self._detector, self._folder, self._journal = detector, folder, journal
        self._voice, self._model, self._units = voice, model, units
        self._pace, self._drift, self._strict = pace, drift, strict
        self.arrivals = Arrivals(
            folder,
            lambda name, marks: journal.marks.get(name) == marks,
            depth=units.intrinsics is not None,
            settle=pace.settle,
        )
        self._wake, self._stop = threading.Event(), threading.Event()
        self.away = ""
        """Why the folder cannot be looked at; empty where it can."""
        self._events: Events | None = None
        self._told: tuple[int, int] | None = None

    def stop(self) -> None:
        """Let `run` return after the part in work; may be called by a signal or another thread."""
        self._stop.set()
        self._wake.set()

    def run(self, *, once: bool = False) -> list[Arrival]:
        """Score parts as they come, until `stop`.

        Args:
            once: return when all that is there is scored.

        Returns:
            Parts that were there and not whole.

        Raises:
            OSError: results cannot be written; or, with ``once``, the folder cannot be read.

        """
        try:
            while not self._stop.is_set():
                begin = monotonic()
                there = self._look(once)
                took = monotonic() - begin
                if there:
                    self._all()
                if once and all(part.tries for part in self.arrivals.waiting()):
                    break
                self._wake.wait(max(min(self._pace.poll, self.arrivals.due()), 0.01))
                self._stop.wait(max(0.0, begin + SHARE * took - monotonic()))
                self._wake.clear()
        finally:
            if self._events is not None:
                self._events.stop()
        return self.arrivals.waiting()

    def _look(self, once: bool) -> bool:
        """See what is there; say where the folder has gone, and where it is back."""
        try:
            self.arrivals.look()
        except OSError as error:
            if once:
                raise
            there = self._folder.is_dir()
            away = self._voice.said(error) if there else f"{self._folder} is not there"
            if away != self.away:
                self._voice.note(f"{away}; waiting for it")
            self.away = away
            return False
        if self.away:
            self._voice.note(f"{self._folder} is there again")
            self.away = ""
        if not once:
            self._listen()
        return True

    def _listen(self) -> None:
        """Have the system tell of changes in the folder; anew where it is another one now."""
        try:
            stat = os.stat(self._folder)
        except OSError:
            return
        now = stat.st_dev, stat.st_ino
        if now == self._told:
            return
        self._told = now
        if self._events is not None:
            self._events.stop()
            self._events = None
        try:
            self._events = Events(self._folder, self._wake)
        except RuntimeError as error:
            self._voice.note(f"{error}; looking every {self._pace.poll:g} s")

    def _all(self) -> None:
        for part in self.arrivals.settled():
            if self._stop.is_set():
                return
            self._take(part)

    def _take(self, part: Arrival) -> None:
        """Score a part, or try it again later, or report it."""
        coming, fault, sample, own = part.coming, part.coming.fault, None, ""
        try:
            own = content(coming.name, (*coming.rgb, *coming.xyz))
            if own in self._journal.ids:  # written anew as it was
                self._journal.marks[coming.name] = part.marks
                self.arrivals.done(part)
                return
            if fault is None:
                sample = read_sample(coming.rgb[0], coming.xyz[0], units=self._units)
        except FileNotFoundError:  # moved away: the next look says so
            return
        except FAULTS as error:
            fault = self._voice.said(error)
        if not self.arrivals.unchanged(part):  # it was written to while it was read
            return
        if sample is not None:
            self._score(part, sample, own)
        elif self.arrivals.age(part) >= self._pace.patience:
            self._report(part, self._voice.words(str(fault)), own)
        else:
            self.arrivals.later(part, self._voice.words(str(fault)), self._pace.patience)

    def _score(self, part: Arrival, sample: Sample, own: str) -> None:
        begin = perf_counter()
        try:
            [grid] = self._detector.grids([sample], strict=self._strict)
            full = self._detector.decide(grid, sample.xyz)
        except FAULTS as error:
            self._report(part, self._voice.said(error), own)
            return
        result = self._begun(part, self._journal.unique(part.coming.name))
        result.seconds = perf_counter() - begin
        result.take(full, [self._voice.words(warning) for warning in full.warnings])
        alarms = self._drift is not None and self._drift.see(full)
        self._journal.add(result, self._own(part, own), np.asarray(sample.rgb), full)
        if self._drift is not None:
            self._drift.save()  # after the line: a part is never counted twice
        self._finish(part, result)
        if alarms:
            self._voice.alarm(result.name)

    def _report(self, part: Arrival, fault: str, own: str) -> None:
        """Write the line of a part that cannot be scored."""
        result = self._begun(part, plain(part.coming.name))
        result.error = fault
        self._journal.add(result, self._own(part, own))
        self._finish(part, result)

    def _begun(self, part: Arrival, name: str) -> Result:
        rgb, xyz = (
            shown(os.path.abspath(files[0])) if files else None
            for files in (part.coming.rgb, part.coming.xyz)
        )
        return Result(name, rgb, xyz, threshold=self._detector.threshold)

    def _own(self, part: Arrival, own: str) -> dict[str, object]:
        """Return what the line has behind the fields of `Result`."""
        return {
            "id": own or digest(part.coming.name, repr(part.marks).encode()),
            "part": part.coming.name,
            "seen": part.marks,
            "model": self._model,
            "drift": [] if self._drift is None else self._drift.moved,
        }

    def _finish(self, part: Arrival, result: Result) -> None:
        self.arrivals.done(part)
        self._voice.result(result)


def content(name: str, files: Iterable[Path]) -> str:
    """Return what tells a part from any other: of its name and its files' content.

    Raises:
        OSError: a file cannot be read.

    """
    return digest(name, b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files))


def digest(name: str, data: bytes) -> str:
    """Return a digest of a name with what belongs to it."""
    return hashlib.sha256(plain(name).encode() + b"\0" + data).hexdigest()[:32]
