"""The picture of a verdict: the map over the part, on the scale of its threshold."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from cmad.report.pictures import outline, overlay
from cmad.types import Prediction

Rgb = npt.NDArray[np.uint8]


def scale(prediction: Prediction) -> tuple[float, float]:
    """Choose the colour scale of a part's map, in units of its score.

    With a threshold T it runs from T / 2 to 3 T / 2: the threshold is in the middle, and colours
    compare between the parts of one model. Before calibration it runs from half the part's own
    score to the score.

    Returns:
        Start and end.

    """
    if prediction.threshold is not None and prediction.threshold > 0:
        return prediction.threshold / 2, prediction.threshold * 1.5
    end = prediction.score if prediction.score > 0 else 1.0
    return end / 2, end


def in_score_units(prediction: Prediction) -> npt.NDArray[np.float32]:
    """Scale the map so that its peak is the score.

    In preset "paper" the score is the map's maximum, and this only undoes what resampling to the
    input's pixels took from the peak; in "official" the two are scaled differently, per part.
    """
    peak = float(prediction.map.max())
    factor = prediction.score / peak if peak > 0 else 1.0
    scaled: npt.NDArray[np.float32] = prediction.map * np.float32(factor)
    return scaled


def draw(rgb: Rgb, prediction: Prediction) -> Image.Image:
    """Draw the map over the part, with a line around what is above the threshold.

    Args:
        rgb: (H, W, 3) uint8.
        prediction: of that image, its map (H, W).

    Returns:
        RGB, W x H. There is a line if and only if the part is rejected.

    """
    map_ = in_score_units(prediction)
    picture = overlay(rgb, map_, *scale(prediction))
    if prediction.threshold is not None and prediction.rejected:
        # Rounding must not take the line from a part that is only just rejected.
        above = (map_ > prediction.threshold) | (map_ == map_.max())
        picture = outline(picture, above, line=(255, 255, 255), width=1)
    return picture


def caption(prediction: Prediction) -> str:
    """Say score, verdict and colour scale in one line."""
    low, high = scale(prediction)
    colours = f"colours {low:.3g} (clear) to {high:.3g}"
    if prediction.threshold is None:
        return f"score {prediction.score:.4g}, no threshold; {colours}, this part's own scale"
    verdict = "rejected" if prediction.rejected else "accepted"
    compared = ">" if prediction.rejected else "<="
    return (
        f"{verdict}: score {prediction.score:.4g} {compared} threshold {prediction.threshold:.4g}; "
        f"{colours}"
    )
