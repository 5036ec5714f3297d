"""Paths as people write them."""

from pathlib import Path


def user_path(path: str | Path) -> Path:
    """Return a path with a leading ``~`` or ``~user`` expanded, as a shell does."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user: a name that begins with ~
        return Path(path)
