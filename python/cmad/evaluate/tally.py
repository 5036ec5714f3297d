"""How well a detector did on parts whose truth is known: the one place that compares."""

import numpy as np
import numpy.typing as npt

from cmad.detectors import Detector, passes
from cmad.metrics import LIMITS, Pixels, image_auroc, image_average_precision, pool
from cmad.preprocess import mask_to_grid
from cmad.types import GridMaps, Sample

GRID = 99
"""Thresholds of the grid that CFM's AUPRO was published with; docs/evaluation.md."""
AREAS = tuple(f"AUPRO@{100 * limit:g}%" for limit in LIMITS)
METRICS = ("I-AUROC", "I-AP", "P-AUROC", "P-AP", *AREAS)


class Tally:
    """Collects what a detector says of parts, and what is known of these.

    Pixels are compared on the detector's grid, the masks sampled to it, as is published.
    """

    def __init__(self, detector: Detector) -> None:
        """Begin with nothing.

        Args:
            detector: its preparation, preset and thresholds are used.

        """
        self._how = detector.pipeline.preprocessing
        self._detector = detector
        self.on_grid = detector.choices.grid_thresholds
        """Whether AUPRO is quoted with the published grid of thresholds."""
        self.kinds: list[str] = []
        """Of the parts whose kind of defect is known; ``"good"`` for none."""
        self.scores: list[float] = []
        """Of the same parts."""
        self._rejected: list[bool] = []  # of the same, each by its own modalities' threshold
        self._maps: list[npt.NDArray[np.float32]] = []
        self._roc_maps: list[npt.NDArray[np.float32]] = []
        self._masks: list[npt.NDArray[np.bool_]] = []
        self._pooled: tuple[int, Pixels] | None = None  # of so many maps

    def add(self, sample: Sample, grid: GridMaps) -> None:
        """Take in a part and its grid maps; what is not known of it is left out."""
        if sample.defect is not None:
            self.kinds.append(sample.defect)
            self.scores.append(grid.score)
            known = self._detector.calibration_of(grid)
            self._rejected.append(known is not None and not passes(grid, known))
        if sample.mask is not None:
            self._maps.append(grid.map)
            self._roc_maps.append(grid.roc_map)
            self._masks.append(mask_to_grid(sample.mask, self._how))

    @property
    def defective(self) -> npt.NDArray[np.bool_]:
        """(N,) bool, of the parts in ``kinds``."""
        return np.array([kind != "good" for kind in self.kinds], bool)

    @property
    def good(self) -> int:
        """Number of good parts."""
        return self.kinds.count("good")

    def metrics(self) -> dict[str, float]:
        """Compute what can be computed, by the names in `METRICS`, in [0, 1].

        AUPRO is with every threshold. Metrics of scores need good and defective parts, those of
        pixels good and defective pixels; they are left out where there are none.

        """
        found: dict[str, float] = {}
        bad = self.defective
        if bad.any() and not bad.all():
            found["I-AUROC"] = image_auroc(self.scores, bad)
            found["I-AP"] = image_average_precision(self.scores, bad)
        if self._has_pixels():
            pixels = self._pixels()
            # The official preset scales the maps in another way for the ROC (presets.md).
            same = all(a is b for a, b in zip(self._maps, self._roc_maps, strict=True))
            roc = pixels if same else pool(self._roc_maps, self._masks)
            found |= {"P-AUROC": roc.auroc(), "P-AP": roc.average_precision()}
            found |= dict(zip(AREAS, pixels.aupro(), strict=True))
        return found

    def grid(self) -> dict[str, float]:
        """Compute AUPRO with the published grid of thresholds, by the names in `AREAS`."""
        if not self._has_pixels():
            return {}
        return dict(zip(AREAS, self._pixels().aupro(thresholds=GRID), strict=True))

    def wrong(self) -> tuple[int, int] | None:
        """Count good parts that are rejected and defective ones that are not.

        None where the detector has no threshold.
        """
        if self._detector.threshold is None:
            return None
        rejected, bad = np.array(self._rejected, bool), self.defective
        return int((rejected & ~bad).sum()), int((~rejected & bad).sum())

    def by_kind(self) -> dict[str, tuple[int, int, float]]:
        """Return for each kind of defect: rejected parts, all parts, and AUROC against good ones.

        Needs good parts; without a threshold none is rejected.
        """
        kinds, scores, bad = np.array(self.kinds), np.array(self.scores), self.defective
        rejected = np.array(self._rejected, bool)
        found = {}
        for kind in dict.fromkeys(kinds[bad].tolist()):
            own, chosen = kinds == kind, ~bad | (kinds == kind)
            auroc = image_auroc(scores[chosen], bad[chosen])
            found[kind] = int(rejected[own].sum()), int(own.sum()), auroc
        return found

    def _has_pixels(self) -> bool:
        return any(m.any() for m in self._masks) and not all(m.all() for m in self._masks)

    def _pixels(self) -> Pixels:
        if self._pooled is None or self._pooled[0] != len(self._maps):
            self._pooled = len(self._maps), pool(self._maps, self._masks)
        return self._pooled[1]
