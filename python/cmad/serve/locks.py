"""One process at a time: a lock that goes with the process that holds it."""

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path

LOCK = ".watch.lock"
"""In a folder of results of `cmad watch`."""


class Lock:
    """A file that this process has locked, until it ends or `release` is called.

    The file stays: to delete it would let two processes lock two files of one name.
    """

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        """Lock it.

        Args:
            path: of the file, made where it is missing.
            what: is locked, for the message.
            remedy: what to do where another process has it, likewise.

        Raises:
            RuntimeError: another process has it.
            OSError: the file cannot be written.

        """
        self._at = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._at, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._at, 32).decode("ascii", "replace").strip() or "not known"
            os.close(self._at)
            raise RuntimeError(
                f"{what} has another cmad watch at work (process {holder}); {remedy}"
            ) from error
        except BaseException:
            os.close(self._at)
            raise
        os.ftruncate(self._at, 0)
        os.pwrite(self._at, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others lock it."""
        os.close(self._at)


def of_folder(folder: Path) -> Path:
    """Return the file that stands for a folder on this machine.

    It is not in the folder, which may be read-only, or be unmounted while it is watched.
    """
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"cmad-watch-{os.getuid()}-{name}.lock"
