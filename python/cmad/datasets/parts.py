"""Which files make a part, by name, and which parts make a split where no folder says so."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmad.datasets.contents import expect_unswapped
from cmad.datasets.files import IMAGE_SUFFIXES, NEEDS_CAMERA, POINTS_SUFFIXES, drawn
from cmad.datasets.images import DEPTH_SUFFIXES
from cmad.datasets.names import folders_in, passed_over, plain, walk


def find_parts(
    folder: Path, truth: str = "gt", *, depth: bool = False
) -> list[tuple[str, Path, Path, Path | None]]:
    """Find the files of each part in the subfolders ``rgb``, ``xyz`` and, where it is, of masks.

    Files belong together by their name without extension, accents in either form. Other types of
    file are passed over.

    Args:
        folder: that holds the subfolders.
        truth: name of the subfolder of masks.
        depth: whether ``xyz`` may hold depth images, PNG files too.

    Returns:
        Name, rgb, xyz and mask file (None where there is none) of each part, sorted by name.

    Raises:
        ValueError: an image without points, points without image, two files for one thing, or
            images and points in each other's folder.

    """
    expect_unswapped(folder)
    rgb = by_stem(folder / "rgb", IMAGE_SUFFIXES)
    xyz = points_by_stem(folder / "xyz", depth=depth)
    masks = by_stem(folder / truth, IMAGE_SUFFIXES)
    expect_pairs(rgb, xyz, folder / "rgb", folder / "xyz")
    return [(stem, rgb[stem], xyz[stem], masks.get(stem)) for stem in sorted(rgb)]


def points_by_stem(
    folder: Path, endings: tuple[str, ...] = (), *, depth: bool = False
) -> dict[str, Path]:
    """List a folder's files of points, and with ``depth`` those of depth images; see `by_stem`."""
    return by_stem(folder, (*POINTS_SUFFIXES, *(DEPTH_SUFFIXES if depth else ())), endings)


def expect_pairs(
    rgb: Mapping[str, Path],
    xyz: Mapping[str, Path],
    images: Path,
    points: Path,
    endings: tuple[str, ...] = (),
) -> None:
    """Raise ValueError where an image in a folder lacks its points in another, or the reverse."""
    for stem in sorted(rgb.keys() ^ xyz.keys()):
        if stem in xyz:
            raise ValueError(
                f"{xyz[stem]}: has no image, {images / stem}.png is missing"
                + _alone(images, rgb.keys() - xyz.keys(), rgb, "points")
            )
        depth = by_stem(points, DEPTH_SUFFIXES, endings).get(stem)
        if depth is not None:
            raise ValueError(f"{depth} {NEEDS_CAMERA}")
        raise ValueError(
            f"{rgb[stem]}: has no points, {points / stem}.tiff is missing"
            + _alone(points, xyz.keys() - rgb.keys(), xyz, "image")
        )


def _alone(folder: Path, stems: Collection[str], files: Mapping[str, Path], lack: str) -> str:
    """Say which files of the other folder lack a partner too: then the names do not fit."""
    if not stems:
        return ""
    names = [files[stem].name for stem in sorted(stems)]
    said = ", ".join(names[:2]) + f" and {len(names) - 2} more"
    if len(names) <= 2:
        said = " and ".join(names)
    verb = "has" if len(names) == 1 else "have"
    return (
        f"; in {folder.name}/ {said} {verb} no {lack}: files belong together by their names, "
        "give both the same"
    )


def parts_in(
    folder: Path, truth: str = "gt", *, depth: bool = False
) -> Iterator[tuple[str, str, Path, Path, Path | None]]:
    """Yield name, kind of defect and files of each part of a split, by its folders of kinds.

    Args:
        folder: of the split, that holds ``<kind>/{rgb,xyz}``; its name begins those of the parts.
        truth: name of the subfolder of masks, which every defective part needs.
        depth: whether ``xyz`` may hold depth images, PNG files too.

    Raises:
        ValueError: see `find_parts`; or a defect without mask.

    """
    for kind in folders_in(folder):
        defect = "good" if plain(kind.name).casefold() == "good" else plain(kind.name)
        for stem, rgb, xyz, mask in find_parts(kind, truth, depth=depth):
            if mask is None and defect != "good":
                raise ValueError(f"{rgb}: has no mask, {kind / truth / stem}.png is missing")
            yield f"{folder.name}/{plain(kind.name)}/{stem}", defect, rgb, xyz, mask


def by_stem(
    folder: Path, suffixes: tuple[str, ...], endings: tuple[str, ...] = ()
) -> dict[str, Path]:
    """List a folder's files by `plain` name without extension, and any of these endings."""
    found: dict[str, Path] = {}
    for stem, paths in grouped(folder, suffixes, endings).items():
        found[stem] = paths[0]
        for path in paths[1:]:
            raise ValueError(_beside(path, paths[0]))
    return found


def grouped(
    folder: Path, suffixes: tuple[str, ...], endings: tuple[str, ...] = ()
) -> dict[str, list[Path]]:
    """List a folder's files likewise; several of one name, which `by_stem` refuses, together."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in suffixes and not passed_over(path.name):
            whole = plain(path.stem)
            stem = next((whole.removesuffix(e) for e in endings if whole.endswith(e)), "")
            found.setdefault(stem or whole, []).append(path)
    return found


def _beside(path: Path, first: Path) -> str:
    return f"{path}: the same part has {first.name} beside it"


@dataclass(frozen=True)
class Coming:
    """What is there of a part in a folder that parts arrive in."""

    name: str
    """As `Folder` names it."""
    folder: Path
    """That holds ``rgb/`` and ``xyz/``."""
    rgb: tuple[Path, ...]
    """Images of this name: one, where the part is whole."""
    xyz: tuple[Path, ...]
    """Points or depth images, likewise."""

    @property
    def fault(self) -> str | None:
        """What `find_parts` says of it where it is no pair; None for a pair."""
        for found in (self.rgb, self.xyz):
            if len(found) > 1:
                return _beside(found[1], found[0])
        stem = Path(self.name).name
        of_rgb, of_xyz = (dict(zip([stem], found, strict=False)) for found in (self.rgb, self.xyz))
        try:
            expect_pairs(of_rgb, of_xyz, self.folder / "rgb", self.folder / "xyz")
        except ValueError as error:
            return str(error)
        return None


def coming(root: Path, *, depth: bool = False) -> Iterator[Coming]:
    """Yield what is there of each part at any depth below a folder, whole or not, by name.

    Args:
        root: folder of all parts.
        depth: whether ``xyz`` may hold depth images, PNG files too.

    Raises:
        OSError: a folder cannot be read, or has gone while it was.

    """
    suffixes = (*POINTS_SUFFIXES, *(DEPTH_SUFFIXES if depth else ()))
    for folder in walk(root):
        rgb, xyz = grouped(folder / "rgb", IMAGE_SUFFIXES), grouped(folder / "xyz", suffixes)
        below = Path(plain(str(folder.relative_to(root))))
        for stem in sorted(rgb.keys() | xyz.keys()):
            files = (tuple(found.get(stem, ())) for found in (rgb, xyz))
            yield Coming((below / stem).as_posix(), folder, *files)


def divide(names: Sequence[str], *, test: bool, what: str) -> dict[str, list[int]]:
    """Divide good parts among the splits that a folder does not name, the same way each time.

    In the order that `cmad.datasets.files.drawn` gives for seed 0, the first fifth, rounded, is
    for validation, the next for the test if asked for, and the others are for training; at least
    one for each. A part's split depends on the names only.

    Args:
        names: of the good parts.
        test: whether parts are needed for the test.
        what: for messages, the folder.

    Returns:
        Positions among ``names``, ascending, for ``"train"``, ``"validation"`` and ``"test"``.

    Raises:
        ValueError: too few parts.

    """
    needed = 3 if test else 2
    if len(names) < needed:
        into = "training, validation and test" if test else "training and validation"
        raise ValueError(f"{what}: needs at least {needed} good parts for {into}, got {len(names)}")
    order = drawn(names, 0)
    fifth = max(1, round(len(names) / 5))
    held = 2 * fifth if test else fifth
    shares = {"train": order[held:], "validation": order[:fifth], "test": order[fifth:held]}
    return {split: sorted(chosen) for split, chosen in shares.items()}
