"""How `mapping_discrepancy` lays out the weights of a mapping network: see the op's C++ header."""

import math
from enum import IntEnum

import torch
import torch.nn.functional as functional
from torch import Tensor

FULL = 64
"""Widths are filled up with zeros to a multiple of it."""


class Number(IntEnum):
    """What weights are stored as, `MappingNumber` in C++."""

    FLOAT32 = 0
    BFLOAT16 = 1
    BFLOAT16_PAIRS = 2
    FLOAT16 = 3
    TWO_FLOAT16 = 4

    @property
    def precision(self) -> str:
        """What it is computed in."""
        if self is Number.FLOAT16:
            return "fp16"
        return "fp32" if self in (Number.FLOAT32, Number.TWO_FLOAT16) else "bf16"


def filled(weight: Tensor) -> Tensor:
    """Fill up all sides to multiples of `FULL`."""
    sides = [pad for size in reversed(weight.shape) for pad in (0, -size % FULL)]
    return functional.pad(weight.detach(), sides).contiguous()


def panels(weight: Tensor, width: int, triangular: bool, number: Number) -> Tensor:
    """Lay out a layer's weight (neurons, inputs) for a CPU, as bytes."""
    pairs = number == Number.BFLOAT16_PAIRS
    stored = weight if number == Number.FLOAT32 else weight.to(torch.bfloat16)
    step = 2 if pairs else 1
    stored = stored if pairs else stored.float()
    parts = []
    for n in range(0, len(stored), width):
        part = stored[n : n + width, n if triangular else 0 :]
        parts.append(part.reshape(width, -1, step).transpose(0, 1).reshape(-1))
    return torch.cat(parts).view(torch.uint8) if parts else stored.new_empty(0, dtype=torch.uint8)


def unit(weight: Tensor) -> float:
    """Return the power of two of which a weight is 512 to 1024: float16 has few small numbers."""
    largest = float(weight.abs().max()) if weight.numel() else 0.0
    if not 0 < largest < math.inf:
        return 1.0
    return float(2.0 ** (math.frexp(largest)[1] - 10))


def halves(weight: Tensor, two: bool) -> Tensor:
    """Lay out a layer's weight for a GPU, as bytes; of two numbers the second is the rest."""
    high = weight.half()
    both = torch.stack([high, (weight - high.float()).half()]) if two else high
    return both.contiguous().view(-1).view(torch.uint8)
