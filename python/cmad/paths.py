"""Paths as people write them, what is wrong with one that leads to nothing, and whole files."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


def user_path(path: str | Path) -> Path:
    """Return a path with a leading ``~`` or ``~user`` expanded, as a shell does."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user: a name that begins with ~
        return Path(path)


def expect_folder(path: Path) -> None:
    """Raise where a path is no folder, and say what it is.

    Raises:
        FileNotFoundError: nothing is there.
        NotADirectoryError: a model, or another file.

    """
    expect_there(path)
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is {what_is(path)}, not a folder")


def expect_there(path: Path, hint: str = "") -> None:
    """Raise FileNotFoundError where nothing is at a path, with what lies beside it by such a name.

    Args:
        path: expected to be a file or folder.
        hint: what else to say where nothing is called nearly so.

    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder{_beside(path) or hint}")


def _beside(path: Path) -> str:
    try:
        # By the names without extension, which many files share.
        there = {p.stem: p.name for p in sorted(path.parent.iterdir()) if p.name[0] != "."}
    except OSError:
        return ""
    near = get_close_matches(path.stem, there, n=1, cutoff=0.75)
    return f"; did you mean {path.with_name(there[near[0]])}?" if near else ""


def mark_of(path: Path) -> tuple[int, ...] | None:
    """Return what changes where a file is replaced; None where there is none."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size


def what_is(path: Path) -> str:
    """Return ``"a folder"``, ``"a model"`` or ``"a file"``; files are told by their names."""
    if path.is_dir():
        return "a folder"
    return "a model" if path.suffix.lower() == ".cmad" else "a file"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the body a file beside a path to write; renamed at its end, so no half file is left.

    Args:
        path: that the file takes, with the access that new files get; where the body raises, what
            is there stays as it was.

    Yields:
        Path of an empty file in the same folder.

    Raises:
        OSError: the folder cannot be written to.

    """
    handle, name = tempfile.mkstemp(prefix=".cmad-", dir=path.parent)
    temporary = Path(name)
    try:
        os.close(handle)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp's files are private
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
