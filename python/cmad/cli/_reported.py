"""From tables of parts, and the files that they name, to what a report shows."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from cmad.cli._beside import Beside
from cmad.cli._common import EXPECTED, said
from cmad.datasets import open as open_data
from cmad.datasets.files import IMAGE_SUFFIXES, points_in_metres, read_mask, read_rgb
from cmad.datasets.names import plain
from cmad.datasets.parts import by_stem
from cmad.progress import bar
from cmad.report.page import About, Group, Part
from cmad.types import Region, Sample
from cmad.units import Units

TABLE = "scores.jsonl"
PARTS = "parts"
"""Folder of the tables that `cmad evaluate` writes, one for each category."""
Line = Mapping[str, Any]
Sight = tuple[Sample, tuple[str, ...]]
"""What there is of a part, and what is missing of it."""


def is_evaluation(folder: Path) -> bool:
    """Tell whether a folder was written by `cmad evaluate`."""
    return (folder / "evaluation.json").is_file() or (folder / "categories").is_dir()


def of_scores(folder: Path) -> Group:
    """Gather what `cmad score` wrote, and the files that its table names.

    Raises:
        ValueError: the table is damaged from its first line on, or empty.

    """
    table = folder / TABLE
    lines, damaged = _lines(table)
    known = Beside.read(table)
    units = Units() if known is None else known.units
    group = Group(_about(plain(folder.absolute().name), known, lines, damaged))
    _fill(group, folder, lines, lambda line: _seen(line, units))
    return group


def of_evaluation(folder: Path, wanted: Sequence[str]) -> list[Group]:
    """Gather what `cmad evaluate` wrote, a group for each category.

    Args:
        folder: of the results.
        wanted: categories; empty takes all.

    Raises:
        ValueError: no such category, or an evaluation without its parts.

    """
    tables = {path.stem: path for path in sorted((folder / PARTS).glob("*.jsonl"))}
    if not tables:
        raise ValueError(
            f"{folder} has no {PARTS}/, where cmad evaluate lists the parts that it tested: it was "
            "written by an earlier version; evaluate into another folder"
        )
    for name in wanted:
        if name not in tables:
            raise ValueError(f"--category must be one of {', '.join(tables)}, got {name!r}")
    groups = []
    for name in wanted or tables:
        table = tables[name]
        lines, damaged = _lines(table)
        known = Beside.read(table)
        about = _about(name, known, lines, damaged)
        if without := _unlisted(folder, tables):
            said_so = f"Tested by an earlier version, which did not list the parts: {without}."
            about = replace(about, notes=(*about.notes, said_so))
        metrics = _metrics(folder / "categories" / f"{name}.json")
        if not any(line.get("map") for line in lines):
            without = "No maps were kept: cmad evaluate writes them with --maps DIR."
            about = replace(about, notes=(*about.notes, without))
        group = Group(replace(about, metrics=metrics))
        _fill(group, folder, lines, _tested(known))
        groups.append(group)
    return groups


def _unlisted(folder: Path, tables: Mapping[str, Path]) -> str:
    """Name the categories that have results, but no table of parts."""
    known = {path.stem for path in (folder / "categories").glob("*.json")}
    return ", ".join(sorted(known - set(tables)))


def _lines(table: Path) -> tuple[list[Line], int]:
    """Read a table; the lines that are whole, and how many are not."""
    lines, damaged = list[Line](), 0
    for text in table.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
            _expect_line(line)
        except (ValueError, KeyError, TypeError):
            damaged += 1
        else:
            lines.append(line)
    if not lines:
        why = "is no table of cmad score" if damaged else "lists no part"
        raise ValueError(f"{table} {why}: there is nothing to report")
    return lines, damaged


def _expect_line(line: Line) -> None:
    """Raise KeyError, TypeError or ValueError where a line is none of a part."""
    for name in ("score", "threshold", "p_value"):
        if line[name] is not None:
            float(line[name])
    if not isinstance(line["name"], str):
        raise TypeError("name")
    levels = line.get("levels") or {}
    if not isinstance(levels, dict) or not all(isinstance(v, int | float) for v in levels.values()):
        raise TypeError("levels")
    for region in line.get("regions") or ():
        _region(region)


def _about(name: str, known: Beside | None, lines: Sequence[Line], damaged: int) -> About:
    thresholds = {line.get("threshold") for line in lines} - {None}
    notes = []
    if damaged:
        notes.append(f"{damaged} damaged lines of the table were left out.")
    if len(thresholds) > 1:
        raise ValueError(f"the table of {name} has several thresholds; score the parts again")
    if known is None:
        notes.append(
            "Written by a version that did not keep the calibration beside the scores: score the "
            "parts again for the false-reject rate, the regions' threshold and fixed colours."
        )
        return About(name, next(iter(thresholds), None), notes=tuple(notes))
    return About(
        name,
        next(iter(thresholds), None),
        known.calibration,
        facts=known.facts,
        notes=(*notes, *known.notes),
    )


def _fill(group: Group, folder: Path, lines: Sequence[Line], seen: Callable[[Line], Sight]) -> None:
    with bar("packing", len(lines)) as step:
        for line in lines:
            sample, missing = seen(line)
            group.add(_part(folder, line, sample, missing))
            step(line["name"])


def _part(folder: Path, line: Line, sample: Sample, missing: tuple[str, ...]) -> Part:
    """Put together what a line and the files say; what does not fit is missing."""
    lacks = list(missing)
    map_: Any = None
    if line.get("map"):
        map_ = _read(lacks, "map", lambda: _map(folder / line["map"]))
    arrays = {"rgb": sample.rgb, "xyz": sample.xyz, "map": map_, "mask": sample.mask}
    first = next((a for a in (arrays["map"], arrays["rgb"]) if a is not None), None)
    for name, array in arrays.items():
        if first is not None and array is not None and array.shape[:2] != first.shape[:2]:
            lacks.append(f"{name}: has another size than the part had when it was scored")
            arrays[name] = None
    regions = line.get("regions")
    warnings = tuple(line.get("warnings") or ())
    return Part(
        name=line["name"],
        score=line["score"],
        p_value=line.get("p_value"),
        regions=None if regions is None else tuple(_region(one) for one in regions),
        inspected=line.get("inspected", line.get("verdict") != "not inspected"),
        defect=line.get("defect"),
        warnings=warnings,
        error=line.get("error"),
        missing=tuple(lacks),
        levels=line.get("levels") or {},
        **arrays,
    )


def _region(values: Mapping[str, Any]) -> Region:
    known = {f.name: values[f.name] for f in fields(Region)}
    for name in ("box", "centroid", "peak_pixel"):
        known[name] = known[name] and tuple(known[name])
    return Region(**known)


def _map(path: Path) -> Any:
    map_ = tifffile.imread(path)
    if map_.ndim != 2 or map_.dtype.kind != "f":
        raise ValueError(f"{path} is no map of cmad score")
    return map_.astype(np.float32, copy=False)


def _seen(line: Line, units: Units) -> Sight:
    """Read the files that a line of `cmad score` names, as far as they are there."""
    lacks: list[str] = []
    rgb: Any = None
    xyz: Any = None
    mask: Any = None
    if line.get("rgb"):
        rgb = _read(lacks, "image", lambda: read_rgb(line["rgb"]))
    if line.get("xyz"):
        size = None if rgb is None else rgb.shape[:2]
        xyz = _read(lacks, "points", lambda: points_in_metres(line["xyz"], size, units))
    if rgb is not None and (path := _mask_of(Path(line["rgb"]))) is not None:
        mask = _read(lacks, "true defect", lambda: read_mask(path))
    return Sample(rgb, xyz, mask, line.get("defect")), tuple(lacks)


def _mask_of(rgb: Path) -> Path | None:
    """Return the mask in ``gt/`` beside ``rgb/``, where there is one."""
    folder = rgb.parent.parent / "gt"
    if rgb.parent.name != "rgb" or not folder.is_dir():
        return None
    return by_stem(folder, IMAGE_SUFFIXES).get(plain(rgb.stem))


def _tested(known: Beside | None) -> Callable[[Line], Sight]:
    """Return what reads a tested part from its data set, by its name."""
    try:
        if known is None or known.data is None or known.category is None:
            raise ValueError("it is not written where")
        found = open_data(known.data, good=known.good, **vars(known.units))
        parts = found.split(known.category, "test")
    except EXPECTED as error:
        why = f"the data set: {said(error)}"
        return lambda line: (Sample(None, None, None, line.get("defect")), (why,))
    places = {name: i for i, name in enumerate(parts.names)}

    def read(line: Line) -> Sight:
        lacks: list[str] = []
        i = places.get(line["name"])
        if i is None:
            lacks.append("it is no longer in the data set")
        sample = None if i is None else _read(lacks, "part", lambda: parts[i])
        return sample or Sample(None, None, None, line.get("defect")), tuple(lacks)

    return read


def _metrics(path: Path) -> dict[str, float]:
    """Return a category's metrics; none where its file cannot be read."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))["result"]
        return {str(name): float(value) for name, value in result["metrics"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _read(lacks: list[str], what: str, read: Callable[[], Any]) -> Any:
    """Read something of a part; None where that fails, and why is added to what it lacks."""
    try:
        return read()
    except EXPECTED as error:
        lacks.append(f"{what}: {said(error)}")
        return None
