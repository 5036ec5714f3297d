"""Distance between normalised feature vectors."""

import torch
from torch import Tensor

from cmad.ops._call import expect, native


def discrepancy(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Compare corresponding rows after dividing each by its length (CFM, equation 3).

    Lengths below 1e-12 count as 1e-12, so a zero row stays zero. Not differentiable.

    Args:
        a: (P, D) float32.
        b: (P, D) float32.

    Returns:
        The Euclidean distance ``|a/|a| - b/|b||`` and the cosine distance ``1 - a·b/(|a||b|)``,
        (P,) float32 each, in [0, 2]. The Euclidean one is not squared.

    """
    n = expect("discrepancy", a=(a, "P D", torch.float32), b=(b, "P D", torch.float32))
    euclidean, cosine = a.new_empty(n["P"]), a.new_empty(n["P"])
    lib, stream = native(a.device)
    lib.discrepancy(a.detach().contiguous(), b.detach().contiguous(), euclidean, cosine, stream)
    return euclidean, cosine
