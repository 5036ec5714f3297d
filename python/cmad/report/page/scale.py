"""The colour scale of a page: one for all parts of a model, so that a colour means one value."""

from collections.abc import Iterable
from dataclasses import dataclass

from cmad.calibrate import Calibration


@dataclass(frozen=True)
class Scale:
    """From which value of a map to which its colours run."""

    low: float
    """Clear here and below."""
    high: float
    """The brightest colour here and above."""
    mark: float | None
    """The pixel threshold, in the middle; None where there is none."""
    why: str
    """Where it comes from, a sentence."""


def scale_of(calibration: Calibration | None, peaks: Iterable[float]) -> Scale:
    """Choose the colours of all parts of a model.

    With a pixel threshold T they run from T / 2 to 3 T / 2, as in the pictures of `cmad score`: of
    good parts at most the false-reject rate reaches T anywhere, so they stay dark. Without, from
    half of the largest value of all maps to that value.

    Args:
        calibration: of the model; None where there is none.
        peaks: the largest value of each part's map; looked at where there is no calibration.

    """
    threshold = 0.0 if calibration is None else calibration.pixel_threshold
    if calibration is not None and threshold > 0:
        return Scale(
            threshold / 2,
            threshold * 1.5,
            threshold,
            f"One scale for all parts, from the calibration: at most "
            f"{100 * calibration.false_reject_rate:g} % of good parts are above the threshold "
            "anywhere.",
        )
    most = max((peak for peak in peaks if peak > 0), default=1.0)
    return Scale(
        most / 2,
        most,
        None,
        "There is no calibration: one scale for all parts, that ends at the largest value in any "
        "of their maps. Colours say which places are odder than others, not what is a defect.",
    )
