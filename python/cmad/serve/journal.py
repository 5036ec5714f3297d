"""Results that survive being killed: scores.jsonl is the journal of which parts are done.

A part's pictures are on the disk first, then its line, then that of scores.csv. Whatever moment a
process is killed at, the line is there whole or it is not; a torn end is cut off, scores.csv is
made anew from the lines, and pictures without a line are written over when the part is scored
again.
"""

import csv
import json
import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from cmad.serve.hub import LAST
from cmad.serve.results import COLUMNS, Names, Pictures, Result, Rgb, row, synced, whole
from cmad.types import Prediction, Region

Marks = tuple[tuple[int, int, int], ...]
"""Of each file size, time of change in nanoseconds, and number on its disk."""
OWN = ("id", "part", "seen", "model", "drift")
"""What lines have behind the fields of `Result`: a digest of name and content, the part's own name,
the `Marks` of its files, the model, and what has drifted."""
_HEAD = b'{"name": '
"""What each line begins with."""


class Journal:
    """A folder of results that goes on where it was; see the module."""

    def __init__(self, folder: Path, *, maps: bool, overlays: bool) -> None:
        """Make the folder, or mend what an earlier process left in it and read what is done.

        Raises:
            FileExistsError: scores.jsonl is none of these.
            OSError: the folder cannot be read or written.

        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "scores.jsonl"
        self.count = 0
        """Lines."""
        self.failed = 0
        """Lines of parts that could not be scored."""
        self.ids: set[str] = set()
        """Of names with content that have a line."""
        self.marks: dict[str, Marks] = {}
        """By the part's own name those of the files that it was last seen as."""
        self.last: deque[Result] = deque(maxlen=LAST)
        """Of the latest parts, for a live page."""
        self._names = Names()
        self._pictures = Pictures(folder, maps=maps, overlays=overlays, sync=True)
        table = folder / "scores.csv"
        self._begin(table)
        self._lines = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
        self._csv = table.open("a", newline="", encoding="utf-8")
        self._table = csv.DictWriter(self._csv, COLUMNS)
        synced(folder)

    def close(self) -> None:
        """Close the files."""
        os.close(self._lines)
        self._csv.close()

    def unique(self, name: str) -> str:
        """Return a name that no scored part has; those of parts that could not be are free."""
        return self._names.unique(name)

    def add(
        self,
        result: Result,
        own: Mapping[str, object],
        rgb: Rgb | None = None,
        full: Prediction | None = None,
    ) -> None:
        """Write a part's pictures, then its line, then that of scores.csv; each to the disk.

        Args:
            result: of the part.
            own: see `OWN`.
            rgb: (H, W, 3) of the part.
            full: the prediction; None draws nothing.

        Raises:
            OSError: there is no room, for one; then the line is not there, or whole.

        """
        try:
            if rgb is not None and full is not None:
                self._pictures.draw(result, rgb, full, [])
            self._append(whole({**asdict(result), **own}))
            self._note(result, own)
            self._table.writerow(row(result))
            self._csv.flush()
        except OSError as error:  # of a library or a number of a file, which name none
            name = error.filename or str(self.path.parent)
            raise OSError(error.errno, error.strerror or str(error), name) from error

    def _append(self, line: bytes) -> None:
        """Write a line to the disk; where that fails none of it is left."""
        begin = os.fstat(self._lines).st_size
        try:
            left = memoryview(line)
            while left:
                left = left[os.write(self._lines, left) :]
            os.fsync(self._lines)
        except BaseException:
            os.ftruncate(self._lines, begin)
            raise

    def _note(self, result: Result, own: Mapping[str, object]) -> None:
        """Remember a line."""
        self.count += 1
        self.last.append(result)
        self.failed += result.error is not None
        self.ids.add(str(own["id"]))
        self.marks[str(own["part"])] = marks_of(own["seen"])
        if result.error is None:
            self._names.take(result.name)

    def _begin(self, table: Path) -> None:
        """Cut off a torn end, read the lines, and make scores.csv anew from them."""
        part = table.with_name(".scores.csv.partial")
        with part.open("w", newline="", encoding="utf-8") as file:
            rows = csv.DictWriter(file, COLUMNS)
            rows.writeheader()
            if self.path.exists():
                for result, own in self._read():
                    self._note(result, own)
                    rows.writerow(row(result))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, table)

    def _read(self) -> Iterator[tuple[Result, dict[str, object]]]:
        end = 0
        with self.path.open("rb") as file:
            for text in file:
                torn = not text.endswith(b"\n")
                ours = self.count > 0 or text[: len(_HEAD)] == _HEAD[: len(text)]
                if torn and (ours or not text.strip(b"\0")):
                    break  # where the process was killed, or the power was cut
                try:
                    line = {} if torn else json.loads(text)
                    own = {name: line.pop(name) for name in OWN}
                    result = _result(line)
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    raise FileExistsError(
                        f"{self.path} is no table of cmad watch, or damaged at byte {end}: name "
                        "another folder with --out, or move it away"
                    ) from error
                end += len(text)
                yield result, own
        os.truncate(self.path, end)


def marks_of(seen: object) -> Marks:
    """Return marks as they were before JSON made lists of them."""
    lists = seen if isinstance(seen, list | tuple) else ()
    return tuple((int(size), int(time), int(number)) for size, time, number in lists)


def _result(line: Mapping[str, object]) -> Result:
    """Make a result of what a line has."""
    result = Result(**line)  # type: ignore[arg-type]
    if result.regions is not None:
        result.regions = [Region(**region) for region in result.regions]  # type: ignore[arg-type]
    return result
