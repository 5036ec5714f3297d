"""Which files of Real-IAD D3 make a part: by its list, or by their order in folders."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cmad.datasets.contents import expect_unswapped
from cmad.datasets.files import IMAGE_SUFFIXES, POINTS_SUFFIXES
from cmad.datasets.names import child, folders_in, passed_over, plain

LISTS = "realiad_d3_jsons"
GOOD = ("ok", "good")
"""Names of good parts: ``OK`` in the lists, ``GOOD`` or ``good`` in the authors' code."""
ONE_LIGHT = "L05"
"""In the name of the image that the authors' code takes of those under several lights."""


@dataclass(frozen=True)
class D3Files:
    """The files of one part."""

    name: str
    defect: str
    """``"good"``, or the kind of defect."""
    rgb: Path
    xyz: Path
    mask: Path | None


def list_of(folder: Path) -> Path | None:
    """Return the list that belongs to a category's folder, or None where there is none.

    It is ``realiad_d3_jsons/<category>.json`` beside the folder that holds the category.
    """
    folder = Path(os.path.abspath(folder))  # without .. and .
    for above in (folder.parent.parent, folder.parent):
        path = child(above, f"{LISTS}/{folder.name}.json")
        if path.is_file():
            return path
    return None


def files_of_list(folder: Path, path: Path) -> dict[str, list[D3Files]]:
    """Read a category's list: by split, objects with paths below the category's folder.

    Raises:
        FileNotFoundError: a file of the list is not there.
        ValueError: not such a list, or a defect without mask.

    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        splits = {split: parts for split, parts in content.items() if isinstance(parts, list)}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: must be a JSON object of splits ({error})") from error
    return {
        split: sorted((_listed(folder, path, split, part) for part in parts), key=_by_name)
        for split, parts in splits.items()
    }


def _by_name(part: D3Files) -> str:
    return part.name


def _listed(folder: Path, path: Path, split: str, part: object) -> D3Files:
    if not isinstance(part, dict):
        raise ValueError(f"{path}: a part of {split} must be an object, got {type(part).__name__}")
    wanted = ("anomaly_class", "image_path", "xyz_path")
    if lacking := [key for key in wanted if not isinstance(part.get(key), str)]:
        raise ValueError(f"{path}: a part of {split} has no {', '.join(lacking)}")
    kind, masked = part["anomaly_class"], part.get("mask_path")
    defect = "good" if kind.casefold() in GOOD else plain(kind)
    if defect != "good" and not masked:
        raise ValueError(f"{path}: {part['image_path']} ({kind}) has no mask_path")
    rgb, xyz = _there(folder, part["image_path"], path), _there(folder, part["xyz_path"], path)
    mask = _there(folder, masked, path) if masked else None
    where = Path(plain(part["image_path"])).parent.as_posix()
    return D3Files(f"{split}/{where}/{_named(rgb, xyz)}", defect, rgb, xyz, mask)


def _there(folder: Path, name: str, path: Path) -> Path:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"{path}: paths must lie below the category's folder, got {name}")
    found = child(folder, name)
    if not found.is_file():
        raise FileNotFoundError(f"{found}: no such file, but {path} names it")
    return found


def files_of_folders(folder: Path, splits: Sequence[str]) -> dict[str, list[D3Files]]:
    """List ``<split>/<kind>/{rgb,xyz,gt}``: the files of a kind belong together by their order.

    Images lie in ``rgb/`` or one folder deeper, masks in ``gt/`` or in ``gt/rgb/``.

    Raises:
        ValueError: the numbers of files differ, or equal names stand at different places.

    """
    found: dict[str, list[D3Files]] = {}
    for split in splits:
        for kind in folders_in(folder / split) if (folder / split).is_dir() else ():
            found.setdefault(split, []).extend(_of_kind(split, kind))
    return found


def _of_kind(split: str, kind: Path) -> list[D3Files]:
    defect = "good" if plain(kind.name).casefold() in GOOD else plain(kind.name)
    expect_unswapped(kind)
    rgb = _files(kind / "rgb", IMAGE_SUFFIXES)
    deeper = [f for below in _folders(kind / "rgb") for f in _files(below, IMAGE_SUFFIXES)]
    if not rgb:
        rgb = [f for f in deeper if ONE_LIGHT in f.name] or deeper
    xyz = _files(kind / "xyz", POINTS_SUFFIXES)
    _expect_pairs(rgb, xyz, kind, "xyz")
    masks: list[Path] = []
    if defect != "good":
        truth = kind / "gt" / "rgb" if (kind / "gt" / "rgb").is_dir() else kind / "gt"
        masks = _files(truth, IMAGE_SUFFIXES)
        _expect_pairs(rgb, masks, kind, "gt")
    return [
        D3Files(
            f"{split}/{plain(kind.name)}/{_named(rgb[i], xyz[i])}",
            defect,
            rgb[i],
            xyz[i],
            masks[i] if masks else None,
        )
        for i in range(len(rgb))
    ]


def _folders(folder: Path) -> list[Path]:
    return folders_in(folder) if folder.is_dir() else []


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(f for f in there if f.suffix.lower() in suffixes and not passed_over(f.name))


def _named(rgb: Path, xyz: Path) -> str:
    """Name a part by its image, and by its points where they are called otherwise."""
    image, points = plain(rgb.stem), plain(xyz.stem)
    return image if image == points else f"{image}+{points}"


def _expect_pairs(rgb: Sequence[Path], other: Sequence[Path], kind: Path, name: str) -> None:
    if len(rgb) != len(other):
        raise ValueError(
            f"{kind}: files belong together by their order, but rgb/ has {len(rgb)} and {name}/ "
            f"{len(other)}"
        )
    place = {plain(f.stem): i for i, f in enumerate(other)}
    for i, image in enumerate(rgb):
        if (j := place.get(plain(image.stem), i)) != i:
            raise ValueError(
                f"{image}: files belong together by their order, but {other[j]} has its name and "
                f"{other[i]} its place; a file is missing before them"
            )
