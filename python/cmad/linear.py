"""Products with weights in float32, by the library that uses the whole processor.

torch multiplies by MKL, which takes AVX-512 on Intel's processors and leaves it on AMD's, where it
has half of their speed; oneDNN, which torch has, too, takes it on both. `torch` could be told so by
`set_float32_matmul_precision("medium")`, but that is the whole program's, in all threads, and where
a processor has units for bfloat16 it gives up float32's accuracy.
"""

from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor

_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
"""What `torch.compile` makes of a linear layer; takes the tensors as they are."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x W^T + b, as `torch.nn.functional.linear`, for frozen weights.

    Args:
        x: (..., K) float32, or any other type that torch multiplies, then by torch.
        weight: (N, K).
        bias: (N,), or None.

    Returns:
        (..., N).

    """
    if by_onednn() and x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu":
        gradient = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
        if not (gradient or torch.is_autocast_enabled("cpu")) and _ONEDNN is not None:
            return torch.as_tensor(_ONEDNN(x, weight, bias, "none", [], ""))
    return functional.linear(x, weight, bias)


@lru_cache(maxsize=1)
def by_onednn() -> bool:
    """Tell whether MKL would leave AVX-512 unused: by the processor, not by a measurement.

    So a machine gives the same numbers in every run.
    """
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return wide and torch._C._has_mkldnn and _vendor() == "AuthenticAMD"


def _vendor() -> str:
    """Return the processor's maker, as it calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return ""
    said = (line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id"))
    return next(said, "")
