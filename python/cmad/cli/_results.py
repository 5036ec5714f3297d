"""The files that `cmad score` writes, each line and picture as soon as it is known."""

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from cmad.cli._earlier import PICTURES, clear
from cmad.datasets.names import plain
from cmad.report import captioned, verdict
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


class Results:
    """The folder of results, open while the body of a ``with`` runs.

    Pictures are in place, whole, before the line that lists them; a run that comes after removes
    what is listed.
    """

    def __init__(self, folder: Path, *, maps: bool, overlays: bool) -> None:
        """Make the folder, remove an earlier run's maps and overlays, and begin the tables.

        Raises:
            OSError: see `cmad.cli._earlier.clear`; or the folder cannot be written to.

        """
        folder.mkdir(parents=True, exist_ok=True)
        self.removed = clear(folder)
        """Files of an earlier run."""
        self.count = 0
        """Lines so far."""
        self._folder, self._maps, self._overlays = folder, maps, overlays
        self._taken: set[str] = set()
        self._csv = (folder / "scores.csv").open("w", newline="", encoding="utf-8")
        self._jsonl = (folder / "scores.jsonl").open("w", encoding="utf-8")
        columns = [f.name for f in fields(Result)]
        behind = columns.index("regions") + 1
        self._table = csv.DictWriter(self._csv, [*columns[:behind], *LARGEST, *columns[behind:]])
        self._table.writeheader()
        self._csv.flush()

    def __enter__(self) -> "Results":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the tables."""
        self._csv.close()
        self._jsonl.close()

    def unique(self, name: str) -> str:
        """Return the name, with a number behind it where an earlier part has it."""
        # Without regard to case and form of accents, as on file systems that ignore them.
        name = plain(name)
        free, i = name, 1
        while free.lower() in self._taken:
            i += 1
            free = f"{name}-{i}"
        self._taken.add(free.lower())
        return free

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
                self._draw(result, rgb, full, drawn)
            line = asdict(result)
            row = {**line, **_row(result)}
            listed = True
            self._jsonl.write(json.dumps(line, allow_nan=False) + "\n")
            self._table.writerow({k: "" if v is None else v for k, v in row.items()})
            self.count += 1
        except BaseException:  # Ctrl-C, too: no picture without its line
            for path in () if listed else drawn:
                path.unlink(missing_ok=True)
            raise
        self._jsonl.flush()
        self._csv.flush()

    def _draw(self, result: Result, rgb: Rgb, full: Prediction, drawn: list[Path]) -> None:
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
