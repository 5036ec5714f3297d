"""The picture of a verdict: the map over the part, on the scale of its threshold."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from cmad.report.pictures import outline, overlay
from cmad.types import Prediction, Region

Rgb = npt.NDArray[np.uint8]


def scale(prediction: Prediction) -> tuple[float, float]:
    """Choose the colour scale of a part's map.

    With a pixel threshold T it runs from T / 2 to 3 T / 2: the threshold is in the middle, and
    colours compare between the parts of one model. Without, it is in units of the score: from T / 2
    to 3 T / 2 of the score's threshold T, and before calibration from half the part's own score to
    the score.

    Returns:
        Start and end.

    """
    if prediction.pixel_threshold is not None and prediction.pixel_threshold > 0:
        return prediction.pixel_threshold / 2, prediction.pixel_threshold * 1.5
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
        RGB, W x H, with a line around each region. Without a pixel threshold, which older models
        do not have, there is a line if and only if the part is rejected.

    """
    if prediction.mask is not None:
        picture = overlay(rgb, prediction.map, *scale(prediction))
        return outline(picture, prediction.mask, line=(255, 255, 255), width=1)
    map_ = in_score_units(prediction)
    picture = overlay(rgb, map_, *scale(prediction))
    if prediction.threshold is not None and prediction.verdict == "rejected":
        # Rounding must not take the line from a part that is only just rejected.
        above = (map_ > prediction.threshold) | (map_ == map_.max())
        picture = outline(picture, above, line=(255, 255, 255), width=1)
    return picture


def caption(prediction: Prediction) -> str:
    """Say verdict, score, p-value, regions and colour scale in one line."""
    low, high = scale(prediction)
    colours = f"colours {low:.3g} (clear) to {high:.3g}"
    if prediction.threshold is None:
        unseen = "" if prediction.verdict is None else f"{prediction.verdict}: "
        return (
            f"{unseen}score {prediction.score:.4g}, no threshold; {colours}, this part's own scale"
        )
    compared = "<=" if prediction.score <= prediction.threshold else ">"
    score = f"score {prediction.score:.4g} {compared} threshold {prediction.threshold:.4g}"
    parts = [f"{prediction.verdict}: {score}"]
    if prediction.p_value is not None:
        parts.append(f"p-value {prediction.p_value:.3g}")
    if prediction.pixel_threshold is not None:
        parts.append(_regions(prediction.regions))
    return f"{', '.join(parts)}; {colours}"


def _regions(regions: Sequence[Region]) -> str:
    """Count the regions, and say the size of the first and which modality disagreed."""
    if not regions:
        return "no region"
    first = regions[0]
    size = f"{first.pixels} pixels" if first.area is None else f"{first.area:.3g} mm^2"
    said = f"{size}, {first.modality}" if first.modality else size
    return f"1 region ({said})" if len(regions) == 1 else f"{len(regions)} regions (first {said})"
