"""Area under the ROC curve, of images and of pixels."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def image_auroc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Compute the probability that a defective part scores above a good one, ties counting half.

    Args:
        scores: (N,) larger is more anomalous; not NaN.
        labels: (N,) true or 1 for defective.

    Returns:
        In [0, 1].

    Raises:
        ValueError: sizes differ, a score is NaN, or only good or only defective parts.

    """
    s = np.asarray(scores, np.float64).ravel()
    positive = np.asarray(labels).ravel().astype(bool)
    if s.shape != positive.shape:
        raise ValueError(f"auroc: needs as many labels as scores, got {len(positive)}, {len(s)}")
    if np.isnan(s).any():
        raise ValueError("auroc: scores must not be NaN")
    p, n = int(positive.sum()), int((~positive).sum())
    if p == 0 or n == 0:
        raise ValueError(f"auroc: needs good and defective ones, got {n} good and {p} defective")
    _, inverse, count = np.unique(s, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2  # mean rank of each distinct score, from 1
    return float((rank[inverse][positive].sum() - p * (p + 1) / 2) / (p * n))


def pixel_auroc(maps: Iterable[npt.ArrayLike], masks: Iterable[npt.ArrayLike]) -> float:
    """Compute the AUROC of all pixels of all images taken together.

    Args:
        maps: (H, W) each, sizes may differ.
        masks: (H, W) each, true on defects.

    Returns:
        In [0, 1].

    """
    s = np.concatenate([np.asarray(m).ravel() for m in maps])
    return image_auroc(s, np.concatenate([np.asarray(m).ravel() for m in masks]))
