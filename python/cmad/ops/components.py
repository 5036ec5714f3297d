"""Connected components of a mask."""

import numpy as np
import torch
from torch import Tensor

from cmad.ops._call import expect, native


def components(mask: Tensor) -> Tensor:
    """Label the marked pixels of a mask by 8-connected component.

    Reads on the host how many pixels are marked, which is the size of the result.

    Args:
        mask: (H, W) bool, fewer than 2^31 pixels.

    Returns:
        (P,) int64, the component of each of the P marked pixels in row-major order; components are
        numbered from 0 by their first pixel.

    Raises:
        TypeError, ValueError: another dtype or shape, or a larger mask.

    """
    n = expect("components", mask=(mask, "H W", torch.bool))
    pixels = n["H"] * n["W"]
    if pixels >= 2**31:
        raise ValueError(f"components: mask must have fewer than 2^31 pixels, got {pixels}")
    lib, stream = native(mask.device)
    # A view of other bytes may hold true values that are not 1, which the op looks for. On the CPU
    # NumPy compares: for small masks torch takes ten times as long.
    given = mask.contiguous().view(torch.uint8)
    marked = torch.from_numpy(given.numpy() != 0) if given.is_cpu else given != 0
    count = np.count_nonzero(marked.numpy()) if marked.is_cpu else marked.count_nonzero()
    label = torch.empty(int(count), dtype=torch.int64, device=mask.device)
    parent, number = (label.new_empty(pixels, dtype=torch.int32) for _ in range(2))
    total = label.new_empty((2, -(-pixels // 256)), dtype=torch.int32)
    lib.components(marked, label, parent, number, total, stream)
    return label
