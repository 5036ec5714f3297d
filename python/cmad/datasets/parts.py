"""Which files make a part, by name, and which parts make a split where no folder says so."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cmad.datasets.files import IMAGE_SUFFIXES, NEEDS_CAMERA, POINTS_SUFFIXES, drawn
from cmad.datasets.images import DEPTH_SUFFIXES
from cmad.datasets.names import folders_in, passed_over, plain


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
        ValueError: an image without points, points without image, or two files for one thing.

    """
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
            raise ValueError(f"{xyz[stem]}: has no image, {images / stem}.png is missing")
        depth = by_stem(points, DEPTH_SUFFIXES, endings).get(stem)
        if depth is not None:
            raise ValueError(f"{depth} {NEEDS_CAMERA}")
        raise ValueError(f"{rgb[stem]}: has no points, {points / stem}.tiff is missing")


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
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in suffixes and not passed_over(path.name):
            whole = plain(path.stem)
            stem = next((whole.removesuffix(e) for e in endings if whole.endswith(e)), "")
            if (stem := stem or whole) in found:
                raise ValueError(f"{path}: the same part has {found[stem].name} beside it")
            found[stem] = path
    return found


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
