"""Paths as people write them, and files that are written as a whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def user_path(path: str | Path) -> Path:
    """Return a path with a leading ``~`` or ``~user`` expanded, as a shell does."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user: a name that begins with ~
        return Path(path)


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
