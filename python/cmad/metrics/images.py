"""Metrics of image scores."""

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
    good, bad = _counts("image_auroc", scores, labels)
    below = np.cumsum(good) - good
    return float(bad @ (below + good / 2) / (bad.sum() * good.sum()))


def image_average_precision(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Compute the mean precision over the recall of defective parts, at every distinct score.

    Not interpolated: the sum of (R_n - R_n-1) P_n over the distinct scores in descending order.

    Args:
        scores: (N,) larger is more anomalous; not NaN.
        labels: (N,) true or 1 for defective.

    Returns:
        In (0, 1].

    Raises:
        ValueError: sizes differ, a score is NaN, or only good or only defective parts.

    """
    good, bad = (n[::-1] for n in _counts("image_average_precision", scores, labels))
    found, wrong = np.cumsum(bad), np.cumsum(good)
    return float(bad @ (found / (found + wrong)) / bad.sum())


def _counts(
    who: str, scores: npt.ArrayLike, labels: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Good and defective parts at each distinct score, ascending."""
    s = np.asarray(scores, np.float64).ravel()
    given = np.asarray(labels).ravel()
    if given.dtype.kind not in "biuf" or not np.isin(given, (0, 1)).all():
        raise ValueError(f"{who}: labels must be 0 or 1, got {given[:5].tolist()} ...")
    defective = given.astype(bool)
    if s.shape != defective.shape:
        raise ValueError(f"{who}: needs as many labels as scores, got {len(defective)}, {len(s)}")
    if np.isnan(s).any():
        raise ValueError(f"{who}: scores must not be NaN")
    p, n = int(defective.sum()), int((~defective).sum())
    if p == 0 or n == 0:
        raise ValueError(f"{who}: needs good and defective ones, got {n} good and {p} defective")
    level, inverse = np.unique(s, return_inverse=True)
    bad = np.bincount(inverse, weights=defective, minlength=len(level)).astype(np.float64)
    return np.bincount(inverse, minlength=len(level)) - bad, bad
