"""Own data: folders of rgb/xyz pairs."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from cmad.datasets.files import LazySamples, read_sample
from cmad.datasets.parts import find_parts
from cmad.types import Sample


class Folder(LazySamples):
    """Every rgb/xyz pair below a folder.

    A pair is two files of the same name in the subfolders ``rgb/`` and ``xyz/`` of one folder, at
    any depth; a mask of that name in ``gt/`` beside them is read too. The folder that holds
    ``rgb/`` names the defect and ``good`` says that there is none, as in MVTec 3D-AD. Where
    ``rgb/`` lies directly in the folder given, that takes a mask: a part is good if its mask is
    zeros and else its defect is ``"defect"``; without masks nothing is known of it.

    The name of a sample is its path below the folder, such as ``"test/bent/000"``.
    """

    def __init__(self, path: str | Path) -> None:
        """List the pairs, sorted by folder and name; reads none of them.

        Args:
            path: folder to search, links included.

        Raises:
            FileNotFoundError: the folder is not there.
            ValueError: no pair is found, a file or folder lacks its partner, or ``gt/`` lacks the
                mask of a defective part.

        """
        root = Path(path)
        if not root.is_dir():
            raise FileNotFoundError(f"Folder: path must be a folder, got {root}")
        sources: list[partial[Sample]] = []
        for parent, folders, _ in os.walk(root, followlinks=True):
            folder = Path(parent)
            if ("rgb" in folders) != ("xyz" in folders):
                there, missing = ("rgb", "xyz") if "rgb" in folders else ("xyz", "rgb")
                raise ValueError(f"Folder: {folder} has {there}/ but no {missing}/ beside it")
            if "rgb" in folders:
                sources += _sources(root, folder, masked="gt" in folders)
            folders[:] = sorted(
                f for f in folders if f not in ("rgb", "xyz", "gt") and not f.startswith(".")
            )
        if not sources:
            raise ValueError(f"Folder: {root} holds no pairs (rgb/NAME.png with xyz/NAME.tiff)")
        super().__init__(sources, [source.args[-1] for source in sources])


def _sources(root: Path, folder: Path, masked: bool) -> list[partial[Sample]]:
    below = folder.relative_to(root)
    defect = folder.name if folder != root else None
    sources = []
    for stem, rgb, xyz, mask in find_parts(folder):
        if masked and mask is None and defect != "good":
            raise ValueError(f"{rgb}: has no mask, {folder / 'gt' / stem}.png is missing")
        read = _read_by_mask if masked and defect is None else read_sample
        sources.append(partial(read, rgb, xyz, mask, defect, (below / stem).as_posix()))
    return sources


def _read_by_mask(rgb: Path, xyz: Path, mask: Path | None, defect: str | None, name: str) -> Sample:
    """Read a part of which only the mask tells whether it is good."""
    sample = read_sample(rgb, xyz, mask, defect, name)
    return replace(
        sample, defect="good" if sample.mask is None or not sample.mask.any() else "defect"
    )
