"""MVTec 3D-AD in its original layout."""

from functools import partial
from pathlib import Path

import numpy.typing as npt

from cmad.datasets.files import LazySamples, read_sample
from cmad.datasets.names import child, folders_in, plain
from cmad.datasets.parts import parts_in
from cmad.paths import user_path
from cmad.units import Units

SPLITS = ("train", "validation", "test")


class MVTec3D(LazySamples):
    """One split of one category of MVTec 3D-AD (Bergmann et al., 2021).

    Reads ``root/category/split/<defect>/{rgb,xyz,gt}/NNN.{png,tiff}``, sorted by defect and number,
    each sample when it is asked for. Coordinates are in metres; other data in this layout may have
    another unit, or depth images. The mask of a good part is zeros.
    The data set's licence, CC BY-NC-SA 4.0, does not allow commercial use.
    """

    def __init__(
        self,
        root: str | Path,
        category: str,
        split: str,
        *,
        unit: str | None = None,
        intrinsics: npt.ArrayLike | None = None,
        depth_unit: str | None = None,
        depth_scale: float = 1.0,
    ) -> None:
        """List the files of one split; reads none of them.

        Args:
            root: folder that holds the categories.
            category: such as ``"bagel"``.
            split: ``"train"``, ``"validation"`` or ``"test"``.
            unit: of the points, ``"m"`` (None) or ``"mm"``; samples are in metres.
            intrinsics: of the depth camera, (fx, fy, cx, cy) in pixels or the (3, 3) matrix; with
                them ``xyz/`` may hold depth images, PNG or TIFF with one channel of at least 16
                bits.
            depth_unit: of the depth images, ``"m"`` or ``"mm"``; None takes ``unit`` where that is
                given, else ``"mm"``.
            depth_scale: units per step of the depth images; 0.1 for tenths.

        Raises:
            FileNotFoundError: root or the split's folder is not there.
            ValueError: unknown category or split, an image without points or points without image,
                a defect without mask, no samples at all, or see `cmad.units.Units`.

        """
        units = Units().given(unit, intrinsics, depth_unit, depth_scale)
        folder = split_folder("MVTec3D", root, category, split)
        sources, names = [], []
        read = partial(read_sample, units=units)
        for name, defect, rgb, xyz, mask in parts_in(folder, depth=units.intrinsics is not None):
            names.append(name)
            sources.append(partial(read, rgb, xyz, mask, defect, name))
        if not sources:
            raise ValueError(f"MVTec3D: {folder} holds no samples (<defect>/rgb and <defect>/xyz)")
        super().__init__(sources, names)


def split_folder(what: str, root: str | Path, category: str, split: str) -> Path:
    """Return the folder ``root/category/split``, or say what is wrong with them.

    Args:
        what: for messages, the class that reads it.
        root: folder that holds the categories.
        category: name of one.
        split: one of ``SPLITS``.

    Raises:
        FileNotFoundError: root or the split's folder is not there.
        ValueError: unknown category or split.

    """
    root = user_path(root)
    if split not in SPLITS:
        raise ValueError(f"{what}: split must be one of {', '.join(SPLITS)}, got {split!r}")
    if not root.is_dir():
        raise FileNotFoundError(f"{what}: root must be a folder, got {root}")
    folders = folders_in(root)
    known = [plain(f.name) for f in folders if any((f / split).is_dir() for split in SPLITS)]
    if not known:
        hint = "; it is a category itself" if any(f.name in SPLITS for f in folders) else ""
        raise ValueError(f"{what}: root must hold folders of categories, got {root}{hint}")
    if plain(category) not in known:
        raise ValueError(f"{what}: category must be one of {', '.join(known)}, got {category!r}")
    folder = child(root, category) / split
    if not folder.is_dir():
        raise FileNotFoundError(f"{what}: {root / category} has no folder {split}/")
    return folder
