"""The losses that G2SF's metric is learnt by (section III-E), term by term.

Where the paper sums over the samples, this is the mean, so that a loss does not grow with the
batch. What the published code does otherwise is behind a flag of each function.
"""

import math

import torch
from torch import Tensor

ETA = 1.2
"""The proximal bound on l, beside the ratio of distances (G2SF, supplement B-C)."""
LEAST = 1e-5
"""Of a metric value that is inverted."""


def separation(
    l0: Tensor,
    anomalous: Tensor,
    bound: float,
    *,
    published: bool = False,
    weighted: bool = True,
) -> Tensor:
    """Make l small for normal and large for anomalous samples: L_sep (G2SF, equation 4).

    Args:
        l0: (N,), l in the nearest local spaces.
        anomalous: (N,) bool, y.
        bound: m_0; above it nothing is gained.
        published: of squared l, each sample weighted by its own term squared, in [0.33, 3].
        weighted: without these weights, as the published validation.

    """
    d = l0.square() if published else l0
    inverse = 1 / (d + LEAST) if published else 1 / d.clamp_min(LEAST)
    beyond = (inverse - 1 / bound).relu()
    if published and weighted:
        d = d * d.square().clamp(0.33, 3)
        beyond = beyond * inverse.square().clamp(0.33, 3)
    return torch.where(anomalous, beyond, d).mean()


def margin(l0: Tensor, anomalous: Tensor, *, published: bool = False) -> Tensor:
    """Keep the classes from overlapping: L_mar (G2SF, equation 5).

    Args:
        l0: (N,).
        anomalous: (N,) bool.
        published: of squared l.

    Returns:
        0 where a class is missing.

    """
    d = l0.square() if published else l0
    normal, other = d[~anomalous], d[anomalous]
    if len(normal) == 0 or len(other) == 0:
        return d.sum() * 0
    lower, upper = other.min(), normal.max()
    overlap = (normal - lower).relu().sum() + (upper - other).relu().sum()
    return overlap / upper.clamp_min(LEAST) / len(d)


def consistency(metric: Tensor, distance: Tensor, *, published: bool = False) -> Tensor:
    """Keep l alike in near local spaces and large in far ones: L_cns (G2SF, equation 6).

    Args:
        metric: (N, 2k + 1), l by rank.
        distance: (N, 2k + 1, 2), s.
        published: the bound of each sample meets the ratio of every sample of the batch.

    """
    return proximal(metric, distance, published=published) + distal(metric)


def proximal(metric: Tensor, distance: Tensor, *, published: bool = False) -> Tensor:
    """Compute the first half of `consistency`: l_j is at most eta_j l_0 for j in 1 .. k."""
    k = metric.shape[1] // 2
    first, near = metric[:, :1], metric[:, 1 : k + 1]
    both = distance.sum(-1)
    at_all = both[:, :1] > 0  # nothing is near to a sample that is its own prototype
    eta = ETA * both[:, 1 : k + 1] / torch.where(at_all, both[:, :1], torch.inf)
    if not published:
        return torch.where(at_all, near - eta * first, 0.0).relu().sum(1).mean() / k
    total = metric.new_zeros(())
    for j in range(k):
        total = total + _crosswise(near[:, j], first[:, 0], eta[at_all[:, 0], j])
    return total / k


def distal(metric: Tensor) -> Tensor:
    """Compute the second half of `consistency`: l_j is at least l_0 for j in k + 1 .. 2k."""
    k = metric.shape[1] // 2
    return (metric[:, :1] - metric[:, k + 1 :]).relu().sum(1).mean() / k


def _crosswise(near: Tensor, first: Tensor, eta: Tensor) -> Tensor:
    """Average relu(near_i - eta_n first_i) over all pairs (i, n), without forming them.

    Only eta below near_i / first_i give something, and that is linear in their sum.
    """
    if len(eta) == 0:
        return near.sum() * 0
    ascending = eta.double().sort().values
    sums = torch.cat([ascending.new_zeros(1), ascending.cumsum(0)])
    with torch.no_grad():
        ratio = torch.where(first > 0, near / first.clamp_min(1e-30), torch.inf)
        below = torch.searchsorted(ascending, ratio.double())
    found = below * near.double() - sums[below] * first.double()
    return (found / len(eta)).mean().to(near.dtype)


def scaling(w0: Tensor, anomalous: Tensor, *, published: bool = False) -> Tensor:
    """Suppress the scales of normal, amplify those of anomalous samples: L_sc (G2SF, equation 7).

    Args:
        w0: (N, 2), in the nearest local spaces.
        anomalous: (N,) bool.
        published: the mean over the entries of each class, added, instead of the mean over samples
            of the sum over modalities.

    """
    down, up = (w0 - 1).relu(), math.e - w0
    if published:
        each = (t for t in (down[~anomalous], up[anomalous]) if len(t))
        return torch.stack([t.mean() for t in each]).sum()
    return torch.where(anomalous[:, None], up, down).sum(1).mean()


def alignment(w: Tensor, *, published: bool = False) -> Tensor:
    """Amplify where the modalities do not belong together: L_cma (G2SF, equation 9).

    Args:
        w: (N, 2), of the negative samples of equation 8.
        published: the mean over modalities, too, instead of their sum.

    """
    beside = math.e - w
    return beside.mean() if published else beside.sum(1).mean()


def l1(weights: list[Tensor]) -> Tensor:
    """Sum the magnitudes of weights."""
    return torch.stack([w.abs().sum() for w in weights]).sum()
