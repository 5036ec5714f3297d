"""Verdicts on their way to a receiver that may be away.

The outbox is scores.jsonl itself, with the position up to which a receiver has got the lines in a
file of its own. So verdicts wait on the disk and take no room beside the results, whatever time the
receiver is away; one line is in memory at a time; and a process that is killed goes on where it
was. A receiver may get a line twice, never not at all: the line's ``id`` tells.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol

FIRST, LONGEST = 1.0, 60.0
"""Seconds to the next try after one that failed: doubled each time, up to the second."""


class RefusedError(Exception):
    """The receiver is there and does not want this verdict, nor will it later."""


class Receiver(Protocol):
    """Where verdicts go."""

    name: str
    """For messages and the position's file."""

    def send(self, line: bytes, verdict: Mapping[str, object]) -> None:
        """Send one; return when the receiver has it.

        Args:
            line: as in scores.jsonl, JSON without the end of the line.
            verdict: the same, read.

        Raises:
            OSError: the receiver is away; the same verdict is sent again later.
            RefusedError: it does not want it.

        """

    def close(self) -> None:
        """Free what is held."""


class Sender:
    """A thread that sends a receiver the lines of a journal."""

    def __init__(
        self,
        receiver: Receiver,
        journal: Path,
        note: Callable[[str], None],
        *,
        first: float = FIRST,
        longest: float = LONGEST,
    ) -> None:
        """Begin where an earlier process was; for a new receiver with what comes from now on.

        Args:
            receiver: where to.
            journal: scores.jsonl, of whole lines.
            note: is told of a receiver that is away, and back.
            first: see `FIRST`.
            longest: see `LONGEST`.

        Raises:
            OSError: the position cannot be written.

        """
        self.name = receiver.name
        self._receiver, self._journal, self._note = receiver, journal, note
        self._first, self._longest = first, longest
        self._place = journal.parent / "outbox" / f"{receiver.name}.json"
        self._place.parent.mkdir(exist_ok=True)
        self._at, self._sent_id = self._begin()
        self.sent = 0
        """Lines that the receiver got."""
        self._news, self._ending = threading.Event(), threading.Event()
        self._until = float("inf")
        self._thread = threading.Thread(target=self._run, name=f"cmad-{receiver.name}", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Tell that there is a line more."""
        self._news.set()

    def finish(self, seconds: float) -> int:
        """Send what is left, for so long at most; return how many lines are not sent."""
        self._until = monotonic() + seconds
        self._ending.set()
        self._news.set()
        self._thread.join(seconds + 1)
        if not self._thread.is_alive():
            self._receiver.close()
        with self._journal.open("rb") as file:
            file.seek(self._at)
            return sum(1 for _ in file)

    def _begin(self) -> tuple[int, str]:
        end = self._journal.stat().st_size
        try:
            kept = json.loads(self._place.read_text())
            at, last = int(kept["offset"]), str(kept["id"])
        except (OSError, ValueError, KeyError, TypeError):
            self._keep(end, "")
            return end, ""
        if at > end or (last and self._id_before(at) != last):  # of another journal
            return 0, ""
        return at, last

    def _id_before(self, at: int) -> str:
        """Return the id of the line that ends at a position."""
        with self._journal.open("rb") as file:
            begin = at
            while begin > 0:
                begin = max(0, begin - (1 << 16))
                file.seek(begin)
                lines = file.read(at - begin).splitlines()
                if len(lines) > 1 or begin == 0:
                    return _id_of(lines[-1]) if lines else ""
        return ""

    def _keep(self, at: int, last: str) -> None:
        part = self._place.with_name(f".{self._place.name}.partial")
        with part.open("w") as file:
            json.dump({"offset": at, "id": last}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self._place)

    def _run(self) -> None:
        wait, away = self._first, False
        while monotonic() < self._until:
            try:
                line = self._next()
                if line is not None:
                    self._send(line)
            except OSError as error:
                if not away:
                    self._note(f"{self._receiver.name} is away, verdicts wait for it: {error}")
                away = True
                if self._ending.wait(wait):
                    sleep(min(self._first, 0.2))  # what time is left, it is tried again
                wait = min(2 * wait, self._longest)
                continue
            if line is None:
                if self._ending.is_set():
                    return
                self._news.wait(1.0)
                self._news.clear()
                continue
            if away:
                self._note(f"{self._receiver.name} is back")
            wait, away = self._first, False

    def _next(self) -> bytes | None:
        """Return the next whole line."""
        with self._journal.open("rb") as file:
            file.seek(self._at)
            line = file.readline()
        return line if line.endswith(b"\n") else None

    def _send(self, line: bytes) -> None:
        """Send a line and keep the position; raise OSError where either fails."""
        verdict = json.loads(line)
        try:
            self._receiver.send(line.rstrip(b"\n"), verdict)
            self.sent += 1
        except RefusedError as error:
            self._note(f"{self._receiver.name} refuses the verdict on {verdict['name']}: {error}")
        self._at, self._sent_id = self._at + len(line), str(verdict["id"])
        self._keep(self._at, self._sent_id)


def _id_of(line: bytes) -> str:
    try:
        return str(json.loads(line)["id"])
    except (ValueError, KeyError, TypeError):
        return ""
