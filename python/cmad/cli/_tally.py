"""How well a model did on parts whose truth is known."""

import numpy as np
import numpy.typing as npt
import typer

from cmad.cli._common import table
from cmad.evaluate import GRID
from cmad.metrics import aupro, image_auroc, pixel_auroc
from cmad.preprocess import Preprocessing, mask_to_grid
from cmad.types import Prediction, Sample


class Tally:
    """Collects predictions; pixels are compared on the model's grid, as is published."""

    def __init__(self, how: Preprocessing, threshold: float | None) -> None:
        """Begin with nothing."""
        self._how, self._threshold = how, threshold
        self._grid = how.preset == "official"
        self._kinds: list[str] = []
        self._scores: list[float] = []
        self._maps: list[npt.NDArray[np.float32]] = []
        self._roc_maps: list[npt.NDArray[np.float32]] = []
        self._masks: list[npt.NDArray[np.bool_]] = []

    def add(self, sample: Sample, prediction: Prediction) -> None:
        """Take in a part and its prediction on the grid; what is not known of it is left out."""
        if sample.defect is not None:
            self._kinds.append(sample.defect)
            self._scores.append(prediction.score)
        if sample.mask is not None:
            self._maps.append(prediction.map)
            self._roc_maps.append(prediction.maps.get("pixel_auroc", prediction.map))
            self._masks.append(mask_to_grid(sample.mask, self._how))

    def show(self) -> None:
        """Print what is known: detection by kind of defect, verdicts, and the metrics."""
        if not self._kinds:
            return
        bad = np.array([kind != "good" for kind in self._kinds])
        scores = np.array(self._scores)
        if self._threshold is not None:
            rejected = scores > self._threshold
            typer.echo(
                f"false rejects {int(rejected[~bad].sum())} of {int((~bad).sum())} good, "
                f"missed {int((~rejected[bad]).sum())} of {int(bad.sum())} defective"
            )
        rows = [
            ("I-AUROC", image_auroc(scores, bad) if bad.any() and not bad.all() else None),
            ("P-AUROC", self._pixels("roc")),
            ("AUPRO@30%" + self._grid * " grid", self._pixels("pro")),
        ]
        table(
            f"{int((~bad).sum())} good, {int(bad.sum())} defective parts",
            ("metric", "value"),
            [(name, "-" if value is None else f"{value:.4f}") for name, value in rows],
        )

    def _pixels(self, curve: str) -> float | None:
        """Compute a metric of pixels; None without both good and defect pixels."""
        marked = [bool(mask.any()) for mask in self._masks]
        if not any(marked) or all(mask.all() for mask in self._masks):
            return None
        if curve == "roc":
            return pixel_auroc(self._roc_maps, self._masks)
        thresholds = GRID if self._grid else None
        return aupro(self._maps, self._masks, (0.3,), thresholds)[0]
