"""Paths as people write them, and what is wrong with one that leads to nothing."""

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


def what_is(path: Path) -> str:
    """Return ``"a folder"``, ``"a model"`` or ``"a file"``; files are told by their names."""
    if path.is_dir():
        return "a folder"
    return "a model" if path.suffix.lower() == ".cmad" else "a file"
