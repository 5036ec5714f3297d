"""Keys and passwords: from files, for everyone on a machine can see its command lines."""

import stat
from pathlib import Path

from cmad.cli._common import complain


def secret(option: str, path: Path) -> str:
    """Read a secret, a file without its last end of line.

    Args:
        option: that names the file.
        path: of the file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not text.

    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{option} {path} is not text") from error
    return text.removesuffix("\n").removesuffix("\r")


def tell_if_open(option: str, path: Path) -> None:
    """Say where everyone on this machine can read a file that holds a secret.

    Raises:
        OSError: there is no such file.

    """
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        complain(f"{option} {path} can be read by all on this machine: chmod o= {path}", "warning")
