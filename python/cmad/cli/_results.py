"""The files that `cmad score` writes, each line and picture as soon as it is known."""

import csv
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from cmad.datasets.names import plain
from cmad.report import captioned, verdict
from cmad.types import Prediction


@dataclass
class Result:
    """One line of scores.csv and scores.jsonl; None where not known."""

    name: str
    score: float | None = None
    threshold: float | None = None
    rejected: bool | None = None
    verdict: str | None = None
    """``"accepted"``, ``"rejected"`` or ``"not inspected"``, see `cmad.Prediction`."""
    p_value: float | None = None
    regions: list[dict[str, object]] | None = None
    """The fields of each `cmad.types.Region`; scores.csv has their number."""
    defect: str | None = None
    label: int | None = None
    """0 for a good part, 1 for a defective one."""
    seconds: float | None = None
    """That the prediction took, without reading and writing files."""
    warnings: list[str] = field(default_factory=list)
    """What a user should know of the part; scores.csv has them in one cell, "; " between them."""
    error: str | None = None


class Results:
    """The folder of results, open while the body of a ``with`` runs."""

    def __init__(self, folder: Path, *, maps: bool, overlays: bool) -> None:
        """Make the folder and begin the tables."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._maps, self._overlays = folder, maps, overlays
        self._taken: set[str] = set()
        self._csv = (folder / "scores.csv").open("w", newline="", encoding="utf-8")
        self._jsonl = (folder / "scores.jsonl").open("w", encoding="utf-8")
        self._table = csv.DictWriter(self._csv, [f.name for f in fields(Result)])
        self._table.writeheader()

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

    def draw(self, name: str, rgb: npt.NDArray[np.uint8], prediction: Prediction) -> None:
        """Write the map and the overlay of a part."""
        if self._maps:
            tifffile.imwrite(self._path("maps", f"{name}.tiff"), prediction.map)
        if self._overlays:
            picture = verdict.draw(rgb, prediction)
            text = f"{name}\n{verdict.caption(prediction)}"
            captioned(picture, text).save(self._path("overlays", f"{name}.png"))

    def add(self, result: Result) -> None:
        """Write a line to both tables."""
        line = asdict(result)
        self._jsonl.write(json.dumps(line, allow_nan=False) + "\n")
        if result.regions is not None:
            line["regions"] = len(result.regions)
        line["warnings"] = "; ".join(result.warnings)
        self._table.writerow({k: "" if v is None else v for k, v in line.items()})
        self._jsonl.flush()
        self._csv.flush()

    def _path(self, kind: str, name: str) -> Path:
        path = self._folder / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
