"""From per-pixel discrepancies to the anomaly map and the score."""

from torch import Tensor

from cmad import ops


def on_grid(values: Tensor, pixel: Tensor, size: int) -> Tensor:
    """Place values at their pixels, zeros elsewhere.

    Args:
        values: (P,) float32.
        pixel: (P,) int64, row * S + column.
        size: S.

    Returns:
        (S, S) float32.

    """
    grid = values.new_zeros(size * size)
    grid[pixel] = values
    return grid.view(size, size)


def fuse(psi_2d: Tensor, psi_3d: Tensor) -> Tensor:
    """Combine the modalities by their product: both must disagree (CFM, section 3.3)."""
    return psi_2d * psi_3d


def paper_map(fused: Tensor) -> tuple[Tensor, float]:
    """Smooth a fused map by a Gaussian of sigma 4; the score is its maximum (CFM, section 3.3).

    Args:
        fused: (S, S) float32.

    Returns:
        The map (S, S) and the score.

    """
    smoothed = ops.smooth(fused[None], 4.0)[0]
    return smoothed, float(smoothed.max())


def official_map(fused: Tensor) -> tuple[Tensor, Tensor, float]:
    """Smooth and scale a fused map as the published evaluation does.

    Args:
        fused: (S, S) float32.

    Returns:
        The map that AUPRO is computed from, s / mean of its non-zero values; the one that the pixel
        AUROC is computed from, s / sqrt(mean of all); and the score, max s / sqrt(mean of the
        non-zero values). All zeros for a map without a non-zero value.

    """
    s = ops.box_cascade(fused[None])[0]
    nonzero = s[s != 0]
    if len(nonzero) == 0:
        return s, s, 0.0
    mean = nonzero.mean()
    return s / mean, s / s.mean().sqrt(), float(s.max() / mean.sqrt())
