"""The files that `cmad score` and `cmad watch` write, each part's as soon as they are known."""

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from cmad.datasets.names import plain
from cmad.report import captioned, verdict
from cmad.serve.earlier import PICTURES, clear
from cmad.types import Prediction, Region

Rgb = npt.NDArray[np.uint8]
LARGEST = (
    "largest_area",
    *(f"largest_centroid_{axis}" for axis in "xyz"),
    *(f"largest_box_{side}" for side in ("top", "left", "bottom", "right")),
    "largest_modality",
)
"""Columns of scores.csv for the largest region, behind the number of regions."""


@dataclass
class Result:
    """One line of scores.csv and scores.jsonl; None where not known."""

    name: str
    rgb: str | None = None
    """Absolute path of the image."""
    xyz: str | None = None
    """Absolute path of the points or the depth image."""
    score: float | None = None
    threshold: float | None = None
    rejected: bool | None = None
    verdict: str | None = None
    """``"accepted"``, ``"rejected"`` or ``"not inspected"``, see `cmad.Prediction`."""
    p_value: float | None = None
    inspected: bool | None = None
    """Whether enough of it was seen for a verdict."""
    regions: Sequence[Region] | None = None
    """scores.jsonl has the fields of each, scores.csv their number and the largest."""
    defect: str | None = None
    label: int | None = None
    """0 for a good part, 1 for a defective one."""
    seconds: float | None = None
    """That the prediction took, without reading and writing files."""
    warnings: list[str] = field(default_factory=list)
    """What a user should know of the part; scores.csv has them in one cell, "; " between them."""
    error: str | None = None
    map: str | None = None
    """Of the file, below the folder of results."""
    overlay: str | None = None
    """Likewise."""
    levels: dict[str, float] | None = None
    """See `cmad.Prediction.levels`; what drifts is found by them. scores.csv has none."""

    def take(self, full: Prediction, warnings: Sequence[str]) -> None:
        """Fill in what a detector says of the part.

        Args:
            full: the prediction.
            warnings: its warnings, in the words of who asked.

        """
        self.score, self.rejected, self.verdict = full.score, full.rejected, full.verdict
        self.warnings, self.p_value = list(warnings), full.p_value
        self.inspected = full.inspected
        self.levels = {n: float(v) for n, v in full.levels.items() if math.isfinite(v)} or None
        if full.pixel_threshold is not None:
            self.regions = full.regions


_FIELDS = [f.name for f in fields(Result) if f.name != "levels"]
_BEHIND = _FIELDS.index("regions") + 1
COLUMNS = (*_FIELDS[:_BEHIND], *LARGEST, *_FIELDS[_BEHIND:])
"""Of scores.csv."""


class Names:
    """The names of parts, each once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._taken: set[str] = set()

    def take(self, name: str) -> None:
        """Take a name, as it is."""
        # Without regard to case and form of accents, as on file systems that ignore them.
        self._taken.add(plain(name).lower())

    def unique(self, name: str) -> str:
        """Return the name, with a number behind it where an earlier part has it; and take it."""
        name = plain(name)
        free, i = name, 1
        while free.lower() in self._taken:
            i += 1
            free = f"{name}-{i}"
        self.take(free)
        return free


class Pictures:
    """Maps and overlays below a folder of results."""

    def __init__(self, folder: Path, *, maps: bool, overlays: bool, sync: bool = False) -> None:
        """Write nothing yet; with ``sync`` they are on the disk before they are in their place."""
        self._folder, self._maps, self._overlays, self._sync = folder, maps, overlays, sync

    def draw(self, result: Result, rgb: Rgb, full: Prediction, drawn: list[Path]) -> None:
        """Write the pictures beside their places, then put all there; list them in ``drawn``."""
        places: list[tuple[Path, Path]] = []
        if self._maps:
            result.map, part, place = self._place("maps", result.name, drawn)
            tifffile.imwrite(part, full.map)
            places.append((part, place))
        if self._overlays:
            result.overlay, part, place = self._place("overlays", result.name, drawn)
            text = f"{result.name}\n{verdict.caption(full)}"
            captioned(verdict.draw(rgb, full), text).save(part)
            places.append((part, place))
        for part, place in places:
            if self._sync:
                synced(part)
            os.replace(part, place)
            drawn.append(place)

    def _place(self, kind: str, name: str, drawn: list[Path]) -> tuple[str, Path, Path]:
        """Return what the tables call a picture, the file to write it to, and its place."""
        listed = f"{kind}/{name}{PICTURES[kind]}"
        place = self._folder / listed
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".partial{PICTURES[kind]}")
        drawn.append(part)
        return listed, part, place


def synced(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    at = os.open(path, os.O_RDONLY)
    try:
        os.fsync(at)
    finally:
        os.close(at)


def whole(line: Mapping[str, object]) -> bytes:
    """Return a line of scores.jsonl."""
    return (json.dumps(line, allow_nan=False) + "\n").encode()


class Results:
    """The folder of results, open while the body of a ``with`` runs.

    Pictures are in place, whole, before the line that lists them; a run that comes after removes
    what is listed.
    """

    def __init__(self, folder: Path, *, maps: bool, overlays: bool) -> None:
        """Make the folder, remove an earlier run's maps and overlays, and begin the tables.

        Raises:
            OSError: see `cmad.serve.earlier.clear`; or the folder cannot be written to.

        """
        folder.mkdir(parents=True, exist_ok=True)
        self.removed = clear(folder)
        """Files of an earlier run."""
        self.count = 0
        """Lines so far."""
        self._pictures = Pictures(folder, maps=maps, overlays=overlays)
        self.unique = Names().unique
        self._csv = (folder / "scores.csv").open("w", newline="", encoding="utf-8")
        self._jsonl = (folder / "scores.jsonl").open("wb")
        self._table = csv.DictWriter(self._csv, COLUMNS)
        self._table.writeheader()
        self._csv.flush()

    def __enter__(self) -> "Results":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the tables."""
        self._csv.close()
        self._jsonl.close()

    def add(self, result: Result, rgb: Rgb | None = None, full: Prediction | None = None) -> None:
        """Write a part's map and overlay, then its line to both tables.

        Args:
            result: of the part; the paths of what is drawn are filled in.
            rgb: (H, W, 3) of the part.
            full: the prediction; None, as without ``rgb``, draws nothing.

        """
        drawn: list[Path] = []
        listed = False
        try:
            if rgb is not None and full is not None:
                self._pictures.draw(result, rgb, full, drawn)
            line, cells = whole(asdict(result)), row(result)
            listed = True
            self._jsonl.write(line)
            self._table.writerow(cells)
            self.count += 1
        except BaseException:  # Ctrl-C, too: no picture without its line
            for path in () if listed else drawn:
                path.unlink(missing_ok=True)
            raise
        self._jsonl.flush()
        self._csv.flush()


def row(result: Result) -> dict[str, object]:
    """Return a part's line of scores.csv."""
    line = {**asdict(result), **_row(result)}
    return {name: "" if line[name] is None else line[name] for name in COLUMNS if name in line}


def _row(result: Result) -> dict[str, object]:
    """Return what scores.csv has in another form than scores.jsonl."""
    row: dict[str, object] = {"warnings": "; ".join(result.warnings)}
    if result.regions is None:
        return row
    row["regions"] = len(result.regions)
    if result.regions:
        largest = _largest(result.regions)
        place = largest.centroid or (None, None, None)
        values = (largest.area, *place, *largest.box, largest.modality)
        row |= dict(zip(LARGEST, values, strict=True))
    return row


def _largest(regions: Sequence[Region]) -> Region:
    """Return the region with the largest area, or with the most pixels where one has no area."""
    areas = [region.area for region in regions if region.area is not None]
    if len(areas) == len(regions):
        return regions[areas.index(max(areas))]
    return max(regions, key=lambda region: region.pixels)
