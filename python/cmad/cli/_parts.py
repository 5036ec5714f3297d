"""Which good parts a command is given."""

from collections.abc import Sequence
from pathlib import Path

from cmad.datasets import Folder, LazySamples
from cmad.datasets import open as open_data
from cmad.datasets.names import folders_in, plain
from cmad.units import Units


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
        raise ValueError(
            f"{data} has a folder train/: pass {data}/train, or its parent folder and "
            f"--category {data.absolute().name}"
        )
    if data.is_dir() and (
        known := [plain(f.name) for f in folders_in(data) if (f / "train").is_dir()]
    ):
        raise ValueError(f"{data} holds several categories; add --category with one of {known}")
    return Folder(data, good or (), **vars(units))
