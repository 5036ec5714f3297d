"""Which parts of a watched folder have come and are whole.

Nothing here asks for the time of day, which can be set back: how long a file has stayed as it is
comes from a clock that only goes on, and times of files are compared for being the same, never for
being earlier.
"""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from cmad.datasets.parts import Coming, coming
from cmad.serve.journal import Marks

SLOWEST = 60.0
"""Seconds between two tries to read a file that cannot be read."""


@dataclass
class Arrival:
    """A part that has come, whole or not."""

    coming: Coming
    marks: Marks
    """Of its files."""
    since: float
    """When they were first seen so, by the monotonic clock."""
    turn: int
    """Parts are taken in the order in which they were first seen."""
    again: float = 0.0
    """When to try it next."""
    tries: int = 0
    fault: str = ""
    """Why it is not whole, or cannot be read, as far as known."""


class Arrivals:
    """The parts that are there and not done."""

    def __init__(
        self,
        folder: Path,
        known: Callable[[str, Marks], bool],
        *,
        depth: bool = False,
        settle: float = 2.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Look at nothing yet.

        Args:
            folder: of all parts, see `cmad.datasets.Folder`.
            known: whether a part of a name, with these marks, is done.
            depth: whether points may be depth images.
            settle: seconds that files must stay as they are to be taken for whole.
            clock: that only goes on, seconds.

        """
        self.folder, self.settle = folder, settle
        self._known, self._depth, self._clock = known, depth, clock
        self._waiting: dict[str, Arrival] = {}
        self._turns = 0

    def __len__(self) -> int:
        """Return how many parts are there and not done."""
        return len(self._waiting)

    def look(self) -> None:
        """See what has come, changed and gone.

        Raises:
            OSError: the folder, or one in it, is not there or cannot be read; what was known stays.

        """
        os.stat(self.folder)  # walking a folder that is not there finds nothing
        found: dict[str, Arrival] = {}
        for part in coming(self.folder, depth=self._depth):
            try:
                marks = marks_of((*part.rgb, *part.xyz))
            except FileNotFoundError:  # moved away since it was listed
                continue
            if self._known(part.name, marks):
                continue
            before = self._waiting.get(part.name)
            if before is None:
                self._turns += 1
            if before is not None and (before.coming, before.marks) == (part, marks):
                found[part.name] = before
            else:
                turn = self._turns if before is None else before.turn
                found[part.name] = Arrival(part, marks, self._clock(), turn, fault=part.fault or "")
        self._waiting = found

    def settled(self) -> list[Arrival]:
        """Return the parts whose files have stayed as they are long enough, in turn.

        Those that wait for their next try are left out.
        """
        now = self._clock()
        ready = (p for p in self._waiting.values() if max(p.since + self.settle, p.again) <= now)
        return sorted(ready, key=lambda part: part.turn)

    def age(self, part: Arrival) -> float:
        """Return the seconds since a part's files are as they are."""
        return self._clock() - part.since

    def unchanged(self, part: Arrival) -> bool:
        """Tell whether a part's files still are what they were; if not, it waits anew."""
        try:
            now = marks_of((*part.coming.rgb, *part.coming.xyz))
        except OSError:
            return False
        if now != part.marks:
            part.marks, part.since, part.tries, part.again = now, self._clock(), 0, 0.0
            return False
        return True

    def later(self, part: Arrival, fault: str, latest: float) -> None:
        """Try a part again after a while that grows, at last ``latest`` s after ``since``."""
        wait = min(max(self.settle, 0.1) * 2**part.tries, SLOWEST)
        again = min(self._clock() + wait, part.since + latest)
        part.tries, part.again, part.fault = part.tries + 1, again, fault

    def due(self) -> float:
        """Return the seconds until a part is to be taken; infinite where none waits."""
        times = (max(part.since + self.settle, part.again) for part in self._waiting.values())
        return max(0.0, min(times, default=math.inf) - self._clock())

    def done(self, part: Arrival) -> None:
        """Forget a part."""
        self._waiting.pop(part.coming.name, None)

    def waiting(self) -> list[Arrival]:
        """Return all parts that are not done, in turn."""
        return sorted(self._waiting.values(), key=lambda part: part.turn)


def marks_of(files: Iterable[Path]) -> Marks:
    """Return what changes where files do.

    Raises:
        OSError: one is not there.

    """
    stats = [os.stat(path) for path in files]
    return tuple((s.st_size, s.st_mtime_ns, s.st_ino) for s in stats)
