"""Names of files and folders: how they are compared and shown, and which are passed over."""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

_PASSED_OVER = frozenset(
    (
        *("__macosx", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"),
        *("$recycle.bin", "recycler", "system volume information", "lost+found", "__pycache__"),
    )
)
"""Folders that archives of macOS, network drives and Windows add, with copies of what is there."""


def plain(name: str) -> str:
    r"""Return a name as it is compared and shown.

    Accents are one character with their letter (macOS stores them apart), and bytes that are not
    UTF-8 are written ``\xNN``.
    """
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def shown(text: str) -> str:
    r"""Return a message that names files so that any file can hold it: other bytes as ``\xNN``."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # halves of characters that come from elsewhere
        data = text.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")


def passed_over(name: str) -> bool:
    """Tell whether a file or folder is none of the user's: hidden, or added by a system."""
    return name.startswith(".") or name.casefold() in _PASSED_OVER


def child(folder: Path, name: str) -> Path:
    """Return a path below a folder, on disk with accents in either form; it need not be there."""
    path = folder
    for part in Path(name).parts:
        exact = path / part
        if not exact.exists() and path.is_dir():
            alike = (entry for entry in sorted(path.iterdir()) if plain(entry.name) == plain(part))
            exact = next(alike, exact)
        path = exact
    return path


def folders_in(folder: Path) -> list[Path]:
    """List the folders in a folder, each real one once and by its own name; sorted.

    A link counts where what it leads to is not there already.
    """
    seen, found = set[str](), list[Path]()
    entries = [e for e in folder.iterdir() if e.is_dir() and not passed_over(e.name)]
    for entry in sorted(entries, key=lambda e: (e.is_symlink(), e)):
        if (real := os.path.realpath(entry)) not in seen:
            seen.add(real)
            found.append(entry)
    return sorted(found)


def walk(root: Path) -> Iterator[Path]:
    """Yield a folder and all below it, each real folder once, in order of their names.

    Links to folders are followed where what they lead to is not below ``root`` by itself.
    """
    seen, found, links = set[str](), list[Path](), list[Path]()

    def enter(folder: Path) -> None:
        if (real := os.path.realpath(folder)) in seen:
            return
        seen.add(real)
        found.append(folder)
        for entry in folders_in(folder):
            if entry.name not in ("rgb", "xyz", "gt"):
                links.append(entry) if entry.is_symlink() else enter(entry)

    enter(root)
    while links:
        enter(links.pop(0))
    yield from sorted(found, key=lambda folder: folder.relative_to(root).parts)
