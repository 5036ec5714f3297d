"""What of a frame moves where lamp, camera or sensor do, in a few numbers."""

import torch
from torch import Tensor

from cmad.types import Frame


def levels(frame: Frame) -> dict[str, float]:
    """Measure a frame; takes a millisecond for 224 pixels.

    Args:
        frame: its image, and the points that the sensor gave.

    Returns:
        Of an image ``brightness``, the mean luminance, 0 to 255, and ``sharpness``, the mean of how
        much a pixel differs from its four neighbours' mean: blur lowers it, noise raises it. Of
        points ``x``, ``y`` and ``z``, their mean, and ``roughness``, the median distance of a
        point's z from its four neighbours' mean; metres.

    """
    found: dict[str, float] = {}
    if frame.rgb is not None:
        light = frame.rgb.float().mean(0)
        found["brightness"] = float(light.mean(dtype=torch.float64))
        found["sharpness"] = float(_apart(light).abs().mean(dtype=torch.float64))
    if frame.xyz is not None and frame.seen is not None and bool(frame.seen.any()):
        centre = frame.xyz[frame.seen].mean(0, dtype=torch.float64)
        found |= dict(zip("xyz", centre.tolist(), strict=True))
        known = frame.seen
        inside = known[1:-1, 1:-1] & known[:-2, 1:-1] & known[2:, 1:-1]
        inside &= known[1:-1, :-2] & known[1:-1, 2:]
        apart = _apart(frame.xyz[..., 2])[inside]
        found["roughness"] = float(apart.abs().median()) if len(apart) else 0.0
    return found


def _apart(values: Tensor) -> Tensor:
    """Subtract the mean of the four neighbours; (H - 2, W - 2)."""
    beside = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    return values[1:-1, 1:-1] - beside / 4
