"""How good scores and maps are: arrays in, float out."""

from cmad.metrics.auroc import image_auroc, pixel_auroc
from cmad.metrics.pro import aupro, pro_curve

__all__ = ["aupro", "image_auroc", "pixel_auroc", "pro_curve"]
