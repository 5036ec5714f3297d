"""Connected components of a mask."""

import torch
from torch import Tensor

from cmad.ops._call import expect, native


def components(mask: Tensor) -> Tensor:
    """Label the marked pixels of a mask by 8-connected component.

    Args:
        mask: (H, W) bool.

    Returns:
        (P,) int64, the component of each of the P marked pixels in row-major order; components are
        numbered from 0 by their first pixel.

    """
    expect("components", mask=(mask, "H W", torch.bool))
    lib, stream = native(mask.device)
    label = torch.empty(int(mask.count_nonzero()), dtype=torch.int64, device=mask.device)
    lib.components(mask.contiguous(), label, stream)
    return label
