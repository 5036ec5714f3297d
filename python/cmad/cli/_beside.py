"""What a file beside a table of parts says of what judged them, for `cmad report`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from cmad.calibrate import Calibration
from cmad.datasets.names import plain
from cmad.detectors import Detector
from cmad.evaluate import write_whole
from cmad.units import Units

ENDING = ".model.json"
"""Of the file's name, behind that of the table: ``scores.model.json`` of ``scores.jsonl``."""


@dataclass(frozen=True)
class Beside:
    """What judged the parts of a table."""

    model: str | None = None
    """Absolute path of the model; None where there was no file of it."""
    method: str = ""
    extractors: Mapping[str, str] = field(default_factory=dict)
    units: Units = field(default_factory=Units)
    """Of the parts' files."""
    calibration: Calibration | None = None
    data: str | None = None
    """Absolute path of the data set that was evaluated; None of `cmad score`."""
    category: str | None = None
    good: tuple[str, ...] = ()
    """What `--good` named."""

    @classmethod
    def of(cls, detector: Detector, **known: Any) -> "Beside":
        """Take from a detector what it knows.

        Args:
            detector: that judges.
            known: other fields.

        """
        return cls(
            method=detector.who,
            extractors={m.upper(): said for m, said in detector.pipeline.describe().items()},
            calibration=detector.calibration,
            **known,
        )

    def write(self, table: Path) -> None:
        """Write it beside a table.

        Raises:
            FileExistsError: a file is there that is none of this kind.
            OSError: the file cannot be written.

        """
        path = beside(table)
        if path.exists() and not path.read_text("utf-8", "replace").startswith('{"judged by": '):
            raise FileExistsError(
                f"{path} is no file of cmad and would be written over: name another folder with "
                "--out, or move it away"
            )
        known = asdict(self)
        write_whole(path, json.dumps({"judged by": self.method, **known}) + "\n")

    @classmethod
    def read(cls, table: Path) -> "Beside | None":
        """Read what is beside a table; None where there is nothing.

        Raises:
            ValueError: the file is damaged.

        """
        path = beside(table)
        if not path.is_file():
            return None
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            known.pop("judged by")
            found = cls(**known)
            camera = cast("Sequence[float] | None", known["units"]["intrinsics"])
            units = Units(**{**known["units"], "intrinsics": camera and tuple(camera)})
            calibration = known["calibration"] and _calibration(known["calibration"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error}): score the parts again") from error
        return cls(
            **{**vars(found), "units": units, "calibration": calibration, "good": tuple(found.good)}
        )

    @property
    def facts(self) -> dict[str, str]:
        """What the foot of a report says of it, by title."""
        known = {"Model": plain(Path(self.model).name)} if self.model else {}
        known["Method"] = self.method
        known |= {f"{which} extractor": said for which, said in self.extractors.items()}
        if self.calibration is not None:
            known["Calibration"] = (
                f"{len(self.calibration.scores)} good parts, false-reject rate "
                f"{100 * self.calibration.false_reject_rate:g} %"
            )
        return {name: said for name, said in known.items() if said}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know."""
        if any("random weights" in said for said in self.extractors.values()):
            return (
                "Random weights: an extractor was not pretrained; good for tests and timing, not "
                "for judging real parts.",
            )
        return ()


def beside(table: Path) -> Path:
    """Return where it is written for a table."""
    return table.with_name(table.name.removesuffix(".jsonl") + ENDING)


def _calibration(known: Mapping[str, Any]) -> Calibration:
    given = [float(score) for score in known["scores"]]
    order = sorted(range(len(given)), key=given.__getitem__)
    scores = tuple(given[i] for i in order)
    levels = {str(k): [float(v) for v in of] for k, of in known.get("levels", {}).items()}
    if any(len(of) != len(given) for of in levels.values()):
        raise ValueError("not as many levels as scores")
    thresholds = {str(k): float(v) for k, v in known["map_thresholds"].items()}
    rate, threshold, pixel = (
        float(known[k]) for k in ("false_reject_rate", "threshold", "pixel_threshold")
    )
    sorted_levels = {k: tuple(of[i] for i in order) for k, of in levels.items()}
    return Calibration(rate, scores, threshold, pixel, thresholds, sorted_levels)
