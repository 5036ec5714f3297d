"""What a page is made of: parts as they were judged, in groups that one model judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cmad.calibrate import Calibration
from cmad.types import Prediction, Region, Sample


@dataclass(frozen=True, eq=False)
class Part:
    """One part: what was said of it, what is known of it, and what there is to be looked at."""

    name: str
    score: float | None = None
    """None where it could not be scored."""
    p_value: float | None = None
    regions: tuple[Region, ...] | None = None
    """None where there is no pixel threshold."""
    inspected: bool = True
    """Whether enough of it was seen, see `cmad.Prediction`."""
    defect: str | None = None
    """Kind of defect, ``"good"`` for none; None where not known."""
    warnings: tuple[str, ...] = ()
    error: str | None = None
    """Why it could not be scored."""
    rgb: npt.NDArray[np.uint8] | None = None
    """(H, W, 3)."""
    xyz: npt.NDArray[np.floating] | None = None
    """(H, W, 3), metres; no point where a coordinate is not finite or all are 0."""
    map: npt.NDArray[np.float32] | None = None
    """(H, W), the anomaly map."""
    mask: npt.NDArray[np.bool_] | None = None
    """(H, W), true on defects; None where the truth is not known."""
    missing: tuple[str, ...] = ()
    """What of it cannot be shown, and why."""
    levels: Mapping[str, float] = field(default_factory=dict)
    """See `cmad.Prediction.levels`; none where not known."""

    @classmethod
    def of(
        cls,
        name: str,
        sample: Sample,
        prediction: Prediction,
        warnings: tuple[str, ...] | None = None,
    ) -> "Part":
        """Take a part as it was judged.

        Args:
            name: that it is listed under.
            sample: its image and points, in metres; None of either is left out.
            prediction: of the sample.
            warnings: in other words than the prediction's; None takes those.

        """
        return cls(
            name=name,
            score=prediction.score,
            p_value=prediction.p_value,
            regions=None if prediction.pixel_threshold is None else prediction.regions,
            inspected=prediction.inspected,
            defect=sample.defect,
            warnings=prediction.warnings if warnings is None else warnings,
            rgb=None if sample.rgb is None else np.asarray(sample.rgb, np.uint8),
            xyz=None if sample.xyz is None else np.asarray(sample.xyz),
            map=prediction.map,
            mask=sample.mask,
            levels=prediction.levels,
        )


@dataclass(frozen=True)
class About:
    """What judged the parts of a group."""

    name: str
    """Of the group, such as a category."""
    threshold: float | None = None
    """The score above which a part is rejected; None before calibration."""
    calibration: Calibration | None = None
    """None before calibration, or where it is not known."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the page's foot says of it: model, method, data, ..."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """How well it did where the truth is known, such as ``"I-AUROC"``, in [0, 1]."""
    repeat: Mapping[str, object] | None = None
    """How repeatable the station is, see `cmad.report.page.line.repeated`; None where not asked."""
    notes: tuple[str, ...] = ()
    """What a reader must know, such as that weights were random or maps are missing."""
