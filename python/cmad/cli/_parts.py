"""Which parts a command is given, and where it writes: what is wrong with the paths."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from cmad.datasets import Folder, LazySamples
from cmad.datasets import open as open_data
from cmad.datasets.names import folders_in, plain
from cmad.evaluate import writable
from cmad.paths import what_is
from cmad.spelling import meant
from cmad.units import Units


def expect_order(command: str, model: Path, paths: Sequence[Path]) -> None:
    """Raise ValueError where a model and a folder of parts stand in each other's place."""
    models = [path for path in paths if what_is(path) == "a model" and path.is_file()]
    if model.is_dir() and models:
        raise ValueError(
            f"{model} is a folder, not a model; the model comes first: cmad {command} "
            f"{models[0]} {model}"
        )


def expect_writable(option: str, folder: Path) -> None:
    """Make the folder that an option names; raise an OSError now where it cannot be written to."""
    try:
        writable(folder)
    except OSError as error:
        raise type(error)(f"{option}: {error}; name another folder") from error


def good_parts(
    data: Path, category: str | None, split: str, good: Sequence[str] | None, units: Units
) -> LazySamples:
    """List the parts of a split of a category, or those of a folder, without reading them.

    Raises:
        FileNotFoundError, ValueError: there are none, or it is not clear which are meant.

    """
    if category is not None:
        return open_data(data, good=good or (), **vars(units)).split(category, split)
    if (data / "train").is_dir():
        own = f"{data}/{split}, or " if (data / split).is_dir() else ""
        raise ValueError(
            f"{data} has a folder train/: pass {own}its parent folder and "
            f"--category {data.absolute().name}"
        )
    if data.is_dir() and (
        known := [plain(f.name) for f in folders_in(data) if (f / "train").is_dir()]
    ):
        raise ValueError(
            f"{data} holds several categories; add --category with one of {', '.join(known)}"
        )
    return Folder(data, good or (), **vars(units))


def expect_named(
    good: Sequence[str] | None, roots: Iterable[Path], samples: Iterable[LazySamples]
) -> None:
    """Raise ValueError where no part lies in a folder that ``--good`` names."""
    there = {plain(root.absolute().name).casefold() for root in roots} | {
        folder.casefold()
        for parts in samples
        for name in parts.names
        for folder in name.split("/")[:-1]
    }
    for name in good or ():
        if plain(name).casefold() not in there:
            known = ", ".join(sorted(there)) or "none"
            raise ValueError(
                f"--good must be the name of a folder of parts ({known}), got {name!r}"
                + meant(name, there)
            )
