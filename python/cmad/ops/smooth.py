"""Smoothing of anomaly maps."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from cmad.ops._call import expect, native


def smooth(maps: Tensor, sigma: float = 4.0) -> Tensor:
    """Smooth maps by a Gaussian (CFM, section 3.3).

    The kernel is cut at 4 sigma and normalised; beyond the edge a map continues as its mirror
    image (the edge pixel repeated).

    Args:
        maps: (B, H, W) float32, H and W at least 1.
        sigma: standard deviation in pixels, above 0, finite.

    Returns:
        (B, H, W) float32.

    """
    if not 0 < sigma < math.inf:
        raise ValueError(f"smooth: sigma must be positive and finite, got {sigma}")
    radius = int(4 * sigma + 0.5)
    kernel = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(-radius, radius + 1)]
    return _convolve("smooth", maps, [[k / math.fsum(kernel) for k in kernel]], mirror=True)


def box_cascade(maps: Tensor) -> Tensor:
    """Smooth maps as the published CFM code does: five 5×5 and three 7×7 box filters.

    Zeros beyond the edge. Its standard deviation is sqrt(22) = 4.69 pixels.

    Args:
        maps: (B, H, W) float32, H and W at least 1.

    Returns:
        (B, H, W) float32.

    """
    return _convolve("box_cascade", maps, [[1 / 5] * 5] * 5 + [[1 / 7] * 7] * 3, mirror=False)


def _convolve(op: str, maps: Tensor, kernels: list[list[float]], mirror: bool) -> Tensor:
    n = expect(op, maps=(maps, "B H W", torch.float32))
    if n["H"] < 1 or n["W"] < 1:
        raise ValueError(f"{op}: maps must not be empty, got {tuple(maps.shape)}")
    out = maps.detach().contiguous()
    scratch = torch.empty_like(out)
    lib, stream = native(maps.device)
    for taps in kernels:
        kernel = _on_device(tuple(taps), maps.device)
        source, out = out, torch.empty_like(out)
        lib.smooth(source, kernel, scratch, out, mirror, stream)
    return out


@lru_cache(maxsize=64)
def _on_device(taps: tuple[float, ...], device: torch.device) -> Tensor:
    """Make a kernel; kept, as a copy to a GPU waits for all work before it."""
    with torch.inference_mode(False):  # whoever is first may be in that mode, the next one not
        return torch.tensor(taps, dtype=torch.float32, device=device)
