"""The parts that `cmad evaluate` tested, listed as `cmad score` lists them."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from cmad.cli._beside import Beside
from cmad.cli._reported import PARTS
from cmad.cli._words import in_options
from cmad.datasets import DataSet
from cmad.datasets.names import shown
from cmad.detectors import Detector
from cmad.evaluate import write_whole
from cmad.serve.results import Result
from cmad.types import GridMaps, Sample
from cmad.units import Units


class Tested:
    """Collects the parts of a category while it is tested, and lists them once it is done."""

    def __init__(self, out: Path, found: DataSet, units: Units, good: tuple[str, ...]) -> None:
        """Begin with none.

        Args:
            out: folder of the evaluation.
            found: the data set.
            units: of its files.
            good: what `--good` named.

        """
        self._folder, self._found, self._units, self._good = out / PARTS, found, units, good
        self._lines: list[str] = []
        self._by: Beside | None = None
        self._files: dict[str, tuple[Path, Path] | None] = {}

    def add(
        self,
        category: str,
        detector: Detector,
        sample: Sample,
        grid: GridMaps,
        seconds: float,
        map_: Path | None,
    ) -> None:
        """Take in a part, as `cmad.evaluate.Plan` passes it to ``told``."""
        if self._by is None:
            self._by = Beside.of(
                detector,
                units=self._units,
                data=shown(os.path.abspath(self._found.root)),
                category=category,
                good=self._good,
            )
            parts = self._found.split(category, "test")
            self._files = dict(zip(parts.names, parts.files, strict=True))
        full = detector.decide(grid, sample.xyz)
        rgb, xyz = (shown(os.path.abspath(p)) for p in self._files.get(sample.name) or ("", ""))
        result = Result(
            sample.name,
            rgb=rgb if self._files.get(sample.name) else None,
            xyz=xyz if self._files.get(sample.name) else None,
            score=full.score,
            threshold=full.threshold,
            rejected=full.rejected,
            verdict=full.verdict,
            p_value=full.p_value,
            inspected=full.inspected,
            regions=None if full.pixel_threshold is None else full.regions,
            defect=sample.defect,
            label=sample.label,
            seconds=seconds,
            warnings=[in_options(warning) for warning in full.warnings],
            map=None if map_ is None else shown(os.path.abspath(map_)),
        )
        self._lines.append(json.dumps(asdict(result), allow_nan=False) + "\n")

    def keep(self, category: str) -> None:
        """Write the table of a category, whole, and what judged its parts beside it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        table = self._folder / f"{category}.jsonl"
        write_whole(table, "".join(self._lines))
        if self._by is not None:
            self._by.write(table)
        self._lines, self._by = [], None
