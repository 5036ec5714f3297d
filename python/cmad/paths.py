"""Paths as people write them, and what is wrong with one that leads to nothing."""

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


def expect_there(path: Path) -> None:
    """Raise FileNotFoundError where nothing is at a path."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")


def what_is(path: Path) -> str:
    """Return ``"a folder"``, ``"a model"`` or ``"a file"``; files are told by their names."""
    if path.is_dir():
        return "a folder"
    return "a model" if path.suffix.lower() == ".cmad" else "a file"
