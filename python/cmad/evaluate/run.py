"""The results of an evaluation on disk, so that an interrupted one goes on."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

from cmad.environment import environment
from cmad.evaluate.category import Evaluation


class Run:
    """A folder that keeps the results of each category, so that an interrupted run goes on.

    A category's results are written when it is done, as a whole; one that was interrupted starts
    over. A run with another configuration is refused.
    """

    def __init__(self, folder: str | Path, config: Mapping[str, object]) -> None:
        """Begin a run, or go on with the one in the folder.

        Args:
            folder: for the results; made where it is missing.
            config: everything that decides the results, fit for JSON.

        Raises:
            ValueError: the folder holds a run with another configuration; names what differs.

        """
        self.folder, self.config = Path(folder), json.loads(json.dumps(config))
        self._parts = self.folder / "categories"
        self._parts.mkdir(parents=True, exist_ok=True)
        path = self.folder / "run.json"
        if path.is_file():
            before = _read(path)
            kept = cast(dict[str, object], before["config"])
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
        else:
            _write(path, {"config": self.config})

    def done(self) -> dict[str, Evaluation]:
        """Return the results so far, by category; a file that is not whole does not count."""
        found = {}
        for path in sorted(self._parts.glob("*.json")):
            try:
                values = cast(dict[str, object], _read(path)["result"])
                bad = tuple((str(n), str(r)) for n, r in cast(list[list[str]], values["bad"]))
                result = replace(Evaluation(**values), bad=bad)  # type: ignore[arg-type]
            except (ValueError, TypeError, KeyError):
                continue
            found[result.category] = result
        return found

    def keep(self, result: Evaluation) -> None:
        """Write the results of a category, with what they were computed with."""
        values = {"config": self.config, "environment": environment(), "result": asdict(result)}
        _write(self._parts / f"{result.category}.json", values)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _read(path: Path) -> dict[str, object]:
    return cast(dict[str, object], json.loads(path.read_text(encoding="utf-8")))


def _write(path: Path, values: Mapping[str, object]) -> None:
    """Write beside the place, then rename, so that a crash leaves nothing half."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)
