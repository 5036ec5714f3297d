"""What a fitted detector does with parts: features, maps, verdicts."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from cmad import notices
from cmad.calibrate import Calibration
from cmad.card import Card
from cmad.checks import checked
from cmad.detectors._fusing import Fusion
from cmad.detectors._inputs import as_samples, in_metres, one_of, parts_of
from cmad.detectors._outputs import means, on_input
from cmad.detectors._unlike import compared
from cmad.detectors.method import Method, check_modalities
from cmad.drift import SCORE, Monitor
from cmad.pipeline import Pipeline
from cmad.progress import bar
from cmad.ranges import Ranges, levels
from cmad.types import Array, Features, GridMaps, Prediction, Sample
from cmad.units import Units

BATCH = {"cpu": 8, "cuda": 32}
"""Parts of a batch that go through the extractors in one call; bounds the memory."""


class Judge(Method):
    """The part of a detector that judges."""

    pipeline: Pipeline
    units: Units
    ranges: Ranges | None
    calibrations: dict[str, Calibration]
    card: Card
    fusion: Fusion[Method] | None = None
    """Of several 3D extractors: ``fusion.members`` are detectors that look at one each."""

    @property
    def way(self) -> "Judge | Fusion[Method]":
        """What learns and judges: the detector itself, or its fusion."""
        return self if self.fusion is None else self.fusion

    @property
    def calibration(self) -> Calibration | None:
        """Thresholds and scores for parts of which all modalities are seen; None before."""
        return self.calibrations.get(joined(self.modalities))

    @calibration.setter
    def calibration(self, calibration: Calibration | None) -> None:
        """Take another one; those for parts with a modality missing are forgotten."""
        self.calibrations = {} if calibration is None else {joined(self.modalities): calibration}
        self.card = replace(self.card, calibrated=None)

    @property
    def threshold(self) -> float | None:
        """The score above which a part is rejected; None before `calibrate`."""
        return None if self.calibration is None else self.calibration.threshold

    @property
    def false_reject_rate(self) -> float | None:
        """The rate that the threshold was asked for; None before `calibrate`."""
        return None if self.calibration is None else self.calibration.false_reject_rate

    def calibration_of(self, grid: GridMaps) -> Calibration | None:
        """Return the calibration for parts judged by the same modalities as this one."""
        return self.calibrations.get(joined(grid.modalities))

    def monitor(
        self, false_alarm: float = 0.01, most_rejected: float = 0.5, seed: int = 0
    ) -> Monitor:
        """Return a monitor that watches whether parts still are like the calibration parts.

        Pass it each prediction's score and levels: ``monitor.watch(prediction)``.

        Args:
            false_alarm: the chance of ever alarming while they are, at most; in (0, 1).
            most_rejected: the share of rejected parts that is still usual on the line, in (0, 1).
            seed: of what decides between equal ranks.

        Raises:
            RuntimeError: not calibrated, or by a version that kept no levels.
            ValueError: see `cmad.drift.Monitor`.

        """
        known = self.calibration
        if known is None or not known.levels:
            why = "not calibrated" if known is None else "calibrated before levels were kept"
            raise RuntimeError(f"{self.who}: {why}; call calibrate")
        return Monitor(
            {SCORE: known.scores, **known.levels},
            known.threshold,
            false_alarm=false_alarm,
            most_rejected=most_rejected,
            seed=seed,
        )

    @overload
    def predict(
        self,
        rgb: Array | Sequence[Array] | None,
        xyz: Array | Sequence[Array] | None,
        *,
        unit: str | None = None,
        resolution: Literal["input"] = "input",
        strict: bool = False,
    ) -> Prediction | list[Prediction]: ...

    @overload
    def predict(
        self,
        rgb: Array | Sequence[Array] | None,
        xyz: Array | Sequence[Array] | None,
        *,
        unit: str | None = None,
        resolution: Literal["grid"],
        strict: bool = False,
    ) -> GridMaps | list[GridMaps]: ...

    def predict(
        self,
        rgb: Array | Sequence[Array] | None,
        xyz: Array | Sequence[Array] | None,
        *,
        unit: str | None = None,
        resolution: str = "input",
        strict: bool = False,
    ) -> Prediction | list[Prediction] | GridMaps | list[GridMaps]:
        """Judge one part, or a batch of them.

        Args:
            rgb: (H, W, 3) uint8, or float in [0, 1]; for a batch (B, H, W, 3) or a list. None for
                parts without an image, where the method can do without.
            xyz: (H, W, 3) float in ``unit``; for a batch (B, H, W, 3) or a list. A pixel without
                a 3D point has a coordinate that is not finite, or zeros. None likewise.
            unit: of ``xyz``, ``"m"`` or ``"mm"``; None takes what `fit` was told, ``units.unit``.
            resolution: ``"input"`` for predictions, on the input's own pixels; ``"grid"`` for the
                maps on the (S, S) grid they are computed on, without verdict, mask and regions.
            strict: raise where a part is unlike the training parts (docs/inputs.md: another unit,
                BGR, exchanged axes, another camera pose or light, too little seen); otherwise that
                is a warning, also in ``Prediction.warnings``.

        Returns:
            One prediction, or a list for a batch, or the same of grid maps.

        Raises:
            RuntimeError: not trained.
            ValueError: the method needs what is None; the score is not finite; ``strict``.
            TypeError, ValueError: see `cmad.checks.checked` and `cmad.preprocess.prepare`.

        """
        one_of(self.who, "resolution", resolution, ("input", "grid"))
        samples, single = as_samples(rgb, xyz, self.units.unit if unit is None else unit)
        grids = self.grids(samples, strict=strict)
        if resolution == "grid":
            return grids[0] if single else grids
        predictions = [self.decide(g, s.xyz) for g, s in zip(grids, samples, strict=True)]
        return predictions[0] if single else predictions

    @notices.run()
    def grids(self, samples: Sequence[Sample], *, strict: bool = False) -> list[GridMaps]:
        """Judge parts on the method's own grid, without a verdict.

        Args:
            samples: ``xyz`` in metres.
            strict: see `predict`.

        Raises:
            RuntimeError, ValueError, TypeError: see `predict`.

        """
        self._trained()
        found: list[GridMaps] = []
        for begin in range(0, len(samples), self._together):
            seen = self.features(samples[begin : begin + self._together], strict=strict)
            found += map(self._judged, self.way.all_maps(seen), seen)
        return found

    @property
    def _together(self) -> int:
        return BATCH[self.pipeline.device.type]

    def features(self, samples: Sequence[Sample], *, strict: bool = False) -> list[Features]:
        """Prepare parts, compare them with training's, and extract their features in one call.

        Args:
            samples: ``xyz`` in metres.
            strict: see `predict`.

        Raises:
            ValueError, TypeError: see `predict`.

        """
        for sample in samples:
            check_modalities(self, sample)
        frames = [compared(self.pipeline, self.ranges, sample, strict) for sample in samples]
        found = self.pipeline.features(frames)
        return [replace(f, levels=levels(g)) for f, g in zip(found, frames, strict=True)]

    def judge(self, features: Features) -> GridMaps:
        """Judge a part by its features, without a verdict.

        Args:
            features: from `features`.

        Raises:
            ValueError: the score or a map is not finite.

        """
        return self._judged(self.way.maps(features), features)

    def _judged(self, grid: GridMaps, features: Features) -> GridMaps:
        """Check a part's maps, and give them its notes."""
        shown = (grid.map, *grid.maps.values())
        if not (math.isfinite(grid.score) and all(np.isfinite(m).all() for m in shown)):
            named = f"{grid.name}: " if grid.name else ""
            raise ValueError(f"{named}{self.who} gives no finite score: no verdict")
        return replace(grid, notes=features.notes, levels={**means(grid), **features.levels})

    @notices.run()
    def score_samples(
        self,
        samples: Iterable[Sample],
        *,
        unit: str = "m",
        progress: bool = False,
        strict: bool = False,
    ) -> npt.NDArray[np.float64]:
        """Score parts: larger is more anomalous, as everywhere here.

        They are the scores of `predict` and compare with ``threshold``. **scikit-learn's methods of
        this name give the opposite sign**, larger for more normal: negate them for code that is
        made for these. ``sklearn.metrics.roc_auc_score(defective, scores)`` takes them as they are.

        Args:
            samples: iterated once, a few in memory at a time; labels are not looked at.
            unit: of their ``xyz``, ``"m"`` or ``"mm"``, as in `fit`.
            progress: show how far it is, see `cmad.progress.bar`.
            strict: see `predict`.

        Returns:
            (N,) float64, in the order of the samples.

        Raises:
            RuntimeError, ValueError, TypeError: see `predict`.

        """
        self._trained()
        scores: list[float] = []
        parts = iter(in_metres(samples, Units(unit).unit))
        with bar("scoring", parts_of(samples), show=progress) as step:
            while some := list(itertools.islice(parts, self._together)):
                for grid in self.grids(some, strict=strict):
                    scores.append(grid.score)
                    step()
        return np.array(scores, np.float64)

    def decide(self, grid: GridMaps, xyz: Array | None) -> Prediction:
        """Bring a part's grid maps to its own pixels, decide, and find the regions.

        Args:
            grid: from `grids`.
            xyz: (H, W, 3) float, metres, of the same part; None where it has no points.

        Raises:
            TypeError, ValueError: points that the method does not look at, but that measure its
                regions, are not what `cmad.checks.checked` asks for.

        """
        if xyz is not None and "3d" not in grid.modalities:
            _, xyz = checked(Sample(None, xyz, name=grid.name))
            size = grid.window.height, grid.window.width
            if xyz is not None and tuple(xyz.shape[:2]) != size:
                named = f"{grid.name}: " if grid.name else ""
                raise ValueError(
                    f"{named}rgb and xyz must have the same height and width, got "
                    f"{size[0]}x{size[1]} and {xyz.shape[0]}x{xyz.shape[1]}"
                )
        return on_input(grid, xyz, self.calibration_of(grid))

    def _trained(self) -> None:
        if not self.way.tensors():
            raise RuntimeError(
                f"{self.who}: not trained yet; call fit, or load a model with cmad.load"
            )


def joined(modalities: Sequence[str]) -> str:
    """The name of a set of modalities, as in model files."""
    return "+".join(modalities)
