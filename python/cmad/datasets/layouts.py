"""Recognises how a data set lies on disk."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from cmad.datasets.adam3d import ADAM3D, MASKS
from cmad.datasets.d3_files import ONE_LIGHT, list_of
from cmad.datasets.eyecandies import Eyecandies
from cmad.datasets.files import LazySamples
from cmad.datasets.folder import Folder
from cmad.datasets.folder3d import Folder3D
from cmad.datasets.kinds import GOOD, kind_of
from cmad.datasets.mvtec3d import MVTec3D
from cmad.datasets.names import child, folders_in, plain
from cmad.datasets.parts import divide
from cmad.datasets.real_iad_d3 import RealIADD3, files_of, inside
from cmad.paths import user_path
from cmad.units import Units

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class DataSet:
    """A data set whose layout is known; `open` makes it."""

    kind: str
    """``"MVTec 3D-AD"``, ``"3D-ADAM"``, ``"Real-IAD D3"``, ``"Eyecandies"``, ``"folder"`` or
    ``"Folder3D"``."""
    root: Path
    """Folder that holds the categories."""
    categories: tuple[str, ...]
    """Their folders' names, sorted."""
    units: Units = field(default_factory=Units)
    """How the numbers in its files become metres; other than `Units()` where people say it."""
    good: tuple[str, ...] = ()
    """Names of further folders with good parts; of plain folders."""

    def __post_init__(self) -> None:
        """Check that what is said of the files is not known already."""
        if self.kind not in _UNITS_SAID and self.units != Units():
            own = _OWN_UNITS.get(self.kind)
            known = f"are the reader's to say: cmad.datasets.{own}" if own else "are known"
            raise ValueError(
                f"{self.kind}: unit and camera of its files {known}; leave away unit, intrinsics, "
                "depth_unit and depth_scale"
            )
        if self.kind != "folder" and self.good:
            raise ValueError(
                f"{self.kind}: good is for plain folders; this layout says itself which parts are "
                "good"
            )

    def split(self, category: str, split: str) -> LazySamples:
        """List the parts of one split of one category, without reading them.

        Where the layout has no folder for validation, a fifth of the good training parts is for
        it; plain folders are divided altogether. See `cmad.datasets.parts.divide`.

        Args:
            category: one of ``categories``.
            split: ``"train"``, ``"validation"`` or ``"test"``.

        Returns:
            The parts; those of train and validation are good.

        Raises:
            FileNotFoundError, ValueError: unknown category or split, or see the layout's class.

        """
        category = plain(category)
        if category not in self.categories:
            raise ValueError(
                f"category must be one of {', '.join(self.categories)}, got {category!r}"
            )
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
        how: dict[str, object] = dict(vars(self.units)) if self.kind in _UNITS_SAID else {}
        if self.kind == "folder":
            how["good"] = self.good
        return _READERS[self.kind](self.root, category, split, **how)


def open(
    path: str | Path,
    *,
    good: Sequence[str] = (),
    unit: str | None = None,
    intrinsics: npt.ArrayLike | None = None,
    depth_unit: str | None = None,
    depth_scale: float = 1.0,
) -> DataSet:
    """Recognise the layout of a data set.

    Args:
        path: folder that holds the categories, or one category itself.
        good: of plain folders, names of folders with good parts, beside ``"good"``.
        unit: of the points, ``"m"`` (None) or ``"mm"``; samples are in metres. This and what
            follows is for layouts that people arrange their own data in, see `Folder`.
        intrinsics: of the depth camera, (fx, fy, cx, cy) in pixels or the (3, 3) matrix.
        depth_unit: of the depth images, ``"m"`` or ``"mm"``; None takes ``unit`` where that is
            given, else ``"mm"``.
        depth_scale: units per step of the depth images.

    Returns:
        The data set, with all its categories, or with the one that ``path`` is.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no layout fits, or several do, and the message says what was looked for; or
            something is said that the layout knows itself.

    """
    units, good = Units().given(unit, intrinsics, depth_unit, depth_scale), tuple(good)
    folder = user_path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"open: path must be a folder, got {folder}")
    if kind := _kind(folder, good):
        whole = Path(os.path.abspath(folder))  # without .. and .
        return DataSet(kind, whole.parent, (plain(whole.name),), units, good)
    folder = inside(folder)
    found: dict[str, list[str]] = {}
    for entry in folders_in(folder):
        if kind := _kind(entry, good):
            found.setdefault(kind, []).append(plain(entry.name))
    if len(found) == 1:
        [(kind, names)] = found.items()
        return DataSet(kind, folder, tuple(names), units, good)
    if found:
        several = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in found.items())
        raise ValueError(f"open: {folder} holds several layouts, pass one category ({several})")
    wanted = "; ".join(f"{kind}: {sign}" for kind, (sign, _) in _LAYOUTS.items())
    raise ValueError(
        f"open: no data set is recognised in {folder}; looked there and in each of its folders for "
        f"{wanted}" + ("; there are archives, unpack them" if any(folder.glob("*.zip")) else "")
    )


def _is_adam(folder: Path) -> bool:
    return _is_mvtec(folder) and any(
        (kind / MASKS).is_dir() for split in ("train", "test") for kind in _in(folder, split)
    )


def _is_real_iad_d3(folder: Path) -> bool:
    if list_of(folder) is not None:
        return True
    if not _is_mvtec(folder):
        return False
    return any(
        (kind / "ps").is_dir() or any((kind / "rgb").glob(f"*/*{ONE_LIGHT}*"))
        for kind in _in(folder, "train")
    )


def _is_mvtec(folder: Path) -> bool:
    if not (folder / "test").is_dir():
        return False
    return any((kind / "rgb").is_dir() and (kind / "xyz").is_dir() for kind in _in(folder, "train"))


def _is_eyecandies(folder: Path) -> bool:
    return any((folder / "train" / "data").glob("*_image_4.png"))


def _is_folder(folder: Path) -> bool:
    return (folder / "good" / "rgb").is_dir() and (folder / "good" / "xyz").is_dir()


def _is_folder3d(folder: Path) -> bool:
    return _arrangement(folder) is not None


# The first that fits: 3D-ADAM and Real-IAD D3 have the folders of MVTec 3D-AD and others.
_LAYOUTS: dict[str, tuple[str, Callable[[Path], bool]]] = {
    "Real-IAD D3": (
        "../../realiad_d3_jsons/<category>.json, or train/<kind>/{rgb,xyz,ps}",
        _is_real_iad_d3,
    ),
    "3D-ADAM": ("train/<kind>/{rgb,xyz} and test/<kind>/ground_truth", _is_adam),
    "MVTec 3D-AD": ("train/<kind>/{rgb,xyz} and test/", _is_mvtec),
    "Eyecandies": ("train/data/*_image_4.png", _is_eyecandies),
    "folder": ("good/{rgb,xyz}", _is_folder),
    "Folder3D": ("normal/ with normal_depth/, or train/good/ with train/good_depth/", _is_folder3d),
}


_UNITS_SAID = ("MVTec 3D-AD", "folder", "Folder3D")
"""Layouts that people arrange their own data in; the unit of the others is known."""
_OWN_UNITS = {"3D-ADAM": "ADAM3D(unit=...)", "Real-IAD D3": "RealIADD3(unit=...)"}
"""Readers of the rest that take the unit themselves, which these data sets do not state."""


def _kind(folder: Path, good: Sequence[str]) -> str | None:
    found = next((kind for kind, (_, fits) in _LAYOUTS.items() if fits(folder)), None)
    return found or ("folder" if good and _has_good(folder, good) else None)


def _has_good(folder: Path, good: Sequence[str]) -> bool:
    """Tell whether one of the folders that hold good parts is there."""
    named = (f for f in folders_in(folder) if kind_of(Path(f.name), folder, good) == GOOD)
    return any((f / "rgb").is_dir() and (f / "xyz").is_dir() for f in named)


def _in(folder: Path, name: str) -> list[Path]:
    below = folder / name
    return folders_in(below) if below.is_dir() else []


def _mvtec(root: Path, category: str, split: str, **units: Any) -> LazySamples:
    return _held_out(partial(MVTec3D, **units), root, category, split)


def _adam(root: Path, category: str, split: str) -> LazySamples:
    return _held_out(ADAM3D, root, category, split)


def _held_out(
    reader: Callable[[Path, str, str], LazySamples], root: Path, category: str, split: str
) -> LazySamples:
    if split == "test" or (child(root, category) / "validation").is_dir():
        return reader(root, category, split)
    return _share(reader(root, category, "train"), split, root / category)


def _real_iad_d3(root: Path, category: str, split: str) -> LazySamples:
    held = any(part.defect == "good" for part in files_of(root, category).get("validation", ()))
    if split == "test" or held:
        return RealIADD3(root, category, split)
    return _share(RealIADD3(root, category, "train"), split, root / category)


def _share(train: LazySamples, split: str, folder: Path) -> LazySamples:
    """Take the part of the training parts that is for training, or for validation."""
    return train.take(divide(train.names, test=False, what=str(folder))[split])


def _folder(root: Path, category: str, split: str, **how: Any) -> LazySamples:
    parts = Folder(child(root, category), **how)
    good = [i for i, kind in enumerate(parts.kinds) if kind == GOOD]
    shares = divide([parts.names[i] for i in good], test=True, what=str(root / category))
    chosen = [good[i] for i in shares[split]]
    if split == "test":
        chosen += sorted(set(range(len(parts))) - set(good))
    return parts.take(chosen)


def _folder3d(root: Path, category: str, split: str, **units: Any) -> LazySamples:
    folder = child(root, category)
    return Folder3D(folder, split, **{**(_arrangement(folder) or {}), **units})


def _arrangement(folder: Path) -> dict[str, str] | None:
    """Return the folders of one of the two arrangements that anomalib's documentation shows."""
    if (folder / "normal").is_dir() and (folder / "normal_depth").is_dir():
        return {}
    if not ((folder / "train" / "good").is_dir() and (folder / "train" / "good_depth").is_dir()):
        return None
    others = ("good", "good_depth", "ground_truth", "mask", "masks")
    defects = [f.name for f in _in(folder, "test") if f.name not in others and not _is_depth(f)]
    if len(defects) > 1:
        raise ValueError(
            f"open: {folder / 'test'} holds several kinds of defect ({', '.join(defects)}); "
            "pass each to Folder3D as abnormal_dir"
        )
    names = {"normal_dir": "train/good", "normal_test_dir": "test/good"}
    names["abnormal_dir"] = f"test/{defects[0]}" if defects else "test/abnormal"
    masks = [f"test/{name}" for name in others[2:] if (folder / "test" / name).is_dir()]
    return names | ({"mask_dir": masks[0]} if masks else {})


def _is_depth(folder: Path) -> bool:
    stem = folder.name.removesuffix("_depth")
    return stem != folder.name and (folder.parent / stem).is_dir()


_READERS: dict[str, Callable[..., LazySamples]] = {
    "MVTec 3D-AD": _mvtec,
    "3D-ADAM": _adam,
    "Real-IAD D3": _real_iad_d3,
    "Eyecandies": Eyecandies,
    "folder": _folder,
    "Folder3D": _folder3d,
}
