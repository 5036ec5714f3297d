"""What an earlier `cmad score` left in a folder, by its own tables."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

PICTURES = {"maps": ".tiff", "overlays": ".png"}
"""Folders of what is written for each part, with the ending of their files."""
COLUMNS = ("map", "overlay")
"""Of the tables: where a part's are, below the folder of results."""


def clear(folder: Path) -> int:
    """Remove the maps and overlays that the tables of an earlier run list, and nothing else.

    The tables themselves are left, to be written over: so this can be interrupted and done again.

    Args:
        folder: of the results.

    Returns:
        How many files were removed.

    Raises:
        FileExistsError: a file has the name of a table, but is none of `cmad score`.
        OSError: a file cannot be removed.

    """
    listed = [*_of_csv(folder / "scores.csv"), *_of_jsonl(folder / "scores.jsonl")]
    removed = 0
    for name in dict.fromkeys(listed):
        if not _is_own(name):
            continue
        path = folder / name
        if path.is_file() or path.is_symlink():
            path.unlink()
            removed += 1
        _remove_empty(path.parent, folder)
    return removed


def _of_csv(path: Path) -> Iterable[str]:
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.DictReader(file)
        try:
            columns = rows.fieldnames or ()
            if columns and not {"name", "score", "threshold"} <= set(columns):
                raise _foreign(path)
            for row in rows:
                yield from (row[column] or "" for column in COLUMNS if column in row)
        except csv.Error:  # the rest is damaged
            return


def _of_jsonl(path: Path) -> Iterable[str]:
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for i, text in enumerate(file):
            if i == 0 and not text.startswith('{"name": '):
                raise _foreign(path)
            try:
                line = json.loads(text)
            except ValueError:  # cut, where the run was
                continue
            yield from (str(line.get(column) or "") for column in COLUMNS)


def _foreign(path: Path) -> FileExistsError:
    return FileExistsError(
        f"{path} is no table of cmad score and would be written over: name another folder with "
        "--out, or move it away"
    )


def _is_own(name: str) -> bool:
    """Tell whether it is a path that `cmad score` gives to its files: tables can be edited."""
    path = PurePosixPath(name)
    first = path.parts[0] if len(path.parts) > 1 else ""
    return path.suffix == PICTURES.get(first) and ".." not in path.parts and "\0" not in name


def _remove_empty(path: Path, folder: Path) -> None:
    """Remove a folder, and those around it below the folder of results, where they are empty."""
    while path != folder:
        try:
            path.rmdir()
        except OSError:  # not empty, gone, or a link
            return
        path = path.parent
