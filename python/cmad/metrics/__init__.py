"""How good scores and maps are: arrays in, float out."""

from cmad.metrics.images import image_auroc, image_average_precision
from cmad.metrics.pixels import (
    LIMITS,
    Pixels,
    aupro,
    pixel_auroc,
    pixel_average_precision,
    pool,
    pro_curve,
)

__all__ = [
    "LIMITS",
    "Pixels",
    "aupro",
    "image_auroc",
    "image_average_precision",
    "pixel_auroc",
    "pixel_average_precision",
    "pool",
    "pro_curve",
]
