"""The results of an evaluation on disk, so that an interrupted one goes on."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast
from uuid import uuid4

from cmad.environment import environment
from cmad.evaluate.category import Evaluation
from cmad.paths import user_path

Values = dict[str, object]


class Run:
    """A folder that keeps the results of each category, so that an interrupted run goes on.

    A category's file is written when the category is done, as a whole; one that was interrupted
    starts over. A file says what it was computed with, and counts only for the same.
    """

    def __init__(self, folder: str | Path, config: Mapping[str, object]) -> None:
        """Begin a run, or go on with the one in the folder.

        Args:
            folder: for the results; made where it is missing.
            config: everything but the data that decides the results, fit for JSON.

        Raises:
            OSError: the folder cannot be made or written to.
            ValueError: the folder holds results with another configuration; names what differs.

        """
        self.folder, self.config = user_path(folder), json.loads(json.dumps(config))
        self._parts = self.folder / "categories"
        writable(self._parts)
        for values in self._kept().values():
            kept = cast(Values, values["config"])
            differing = [n for n in {**kept, **self.config} if kept.get(n) != self.config.get(n)]
            if differing:
                said = "; ".join(
                    f"{n}: {_short(kept.get(n))} then, {_short(self.config.get(n))} now"
                    for n in differing
                )
                raise ValueError(
                    f"{self.folder} holds results with another configuration ({said}); name "
                    "another folder, or delete it"
                )

    def done(self, data: Mapping[str, str]) -> dict[str, tuple[Evaluation, Values]]:
        """Return the results so far, with the environment they were computed in, by category.

        Args:
            data: `fingerprint` by category; results of other data do not count, nor does a file
                that is not whole.

        """
        found = {}
        for category, values in self._kept().items():
            if values.get("data") == data.get(category):
                with suppress(TypeError, ValueError, KeyError):
                    result = Evaluation(**cast(Values, values["result"]))  # type: ignore[arg-type]
                    bad = tuple((str(name), str(reason)) for name, reason in result.bad)
                    found[category] = replace(result, bad=bad), cast(Values, values["environment"])
        return found

    def keep(self, result: Evaluation, data: str) -> None:
        """Write the results of a category, with what they were computed with.

        Args:
            result: of the category.
            data: its `fingerprint`.

        """
        values = {"config": self.config, "environment": environment(), "data": data}
        text = json.dumps({**values, "result": asdict(result)}, indent=1, allow_nan=False) + "\n"
        write_whole(self._parts / f"{result.category}.json", text)

    def _kept(self) -> dict[str, Values]:
        """Return what is in the files, by category, of those that are whole."""
        found = {}
        for path in sorted(self._parts.glob("*.json")):
            with suppress(ValueError):  # cut, or no JSON
                values = json.loads(path.read_text(encoding="utf-8"))
                if isinstance(values, dict) and isinstance(values.get("config"), dict):
                    found[path.stem] = values
        return found


def writable(folder: Path) -> None:
    """Make a folder, and raise an OSError that names it where nothing can be written to it."""
    probe = folder / f".{uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise type(error)(f"{folder}: cannot be written to ({error.strerror or error})") from error


def write_whole(path: Path, text: str) -> None:
    """Write beside the place, then rename, so that a crash leaves the old file or the new one."""
    partial = path.with_name(f".{uuid4().hex}")
    try:
        with partial.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
