"""The published checkpoints of CFM's mappings: a file for each direction and category."""

from pathlib import Path

from cmad.paths import user_path

DIRECTIONS = ("CFM_2Dto3D", "CFM_3Dto2D")


def find(folder: str | Path, category: str) -> tuple[Path, Path]:
    """Find both files of a category, ``CFM_2Dto3D_CATEGORY_50ep_4bs.pth`` and likewise 3Dto2D.

    Args:
        folder: that holds them, or a folder of the category's name with them.
        category: as in their names, such as ``"cable_gland"``.

    Returns:
        The files of 2D to 3D and of 3D to 2D.

    Raises:
        FileNotFoundError: no such folder, or no such file in it; says of which categories are some.
        ValueError: several files for a direction, or two files of different trainings.

    """
    root = user_path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"from_official: no such folder: {folder}")
    places = [p for p in (root, root / category) if p.is_dir()]
    found = []
    for direction in DIRECTIONS:
        stem = f"{direction}_{category}"
        files = sorted(
            file
            for place in places
            for file in place.glob(f"{direction}_*.pth")
            if file.stem == stem or file.stem.startswith(f"{stem}_")
        )
        if not files:
            raise FileNotFoundError(
                f"from_official: no {stem}_*.pth in {folder} or in its folder {category}"
                + _others(root, direction)
            )
        if len(files) > 1:
            names = ", ".join(str(file.relative_to(root)) for file in files)
            raise ValueError(
                f"from_official: {len(files)} files for {stem} in {folder}: {names}; pass the one "
                "that is meant to load_mappings"
            )
        found.append(files[0])
    first, second = found
    if first.stem.removeprefix(DIRECTIONS[0]) != second.stem.removeprefix(DIRECTIONS[1]):
        raise ValueError(
            f"from_official: {first.name} and {second.name} in {folder} are of different "
            "trainings; pass those that are meant to load_mappings"
        )
    return first, second


def _others(root: Path, direction: str) -> str:
    """Say which files of the direction there are."""
    names = sorted({file.name for file in (*root.glob(f"{direction}_*.pth"), *_below(root))})
    names = [name for name in names if name.startswith(direction)]
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"; there are {', '.join(names[:3])}{more}"


def _below(root: Path) -> list[Path]:
    return [file for file in root.glob("*/CFM_*.pth") if file.is_file()]
