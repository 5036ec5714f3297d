"""What every op does before it calls native code: check the arguments, find the module.

Shapes and dtypes are always checked, which reads no values. What must be read from the tensors
(coordinates are finite, indices in range, offsets ascending) is checked once, where data enter, and
left out with ``check=False``: for callers inside the package that made the tensors themselves. An
op then reads no value on the host, but for those whose docstring says so because the size of their
result, or whether there is one, depends on it; and no tensor is made without its device. These are
the conditions for capturing ops in a CUDA graph. With ``check=False`` wrong values are undefined
behaviour: native code indexes memory by them.
"""

from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from cmad import gpu

MODULES = {"cpu": "cmad._native._cpu", "cuda": gpu.MODULE}
"""The compiled module of each kind of device."""


def expect(op: str, **arguments: tuple[Tensor, str, torch.dtype]) -> dict[str, int]:
    """Check shapes, dtypes and devices of an op's tensors; return the sizes bound to the letters.

    A letter stands for one size throughout the call, a number for itself, and ``B+1`` for one more
    than B.

    Args:
        op: name that the messages begin with.
        arguments: name=(tensor, shape, dtype), such as ``xyz=(xyz, "B N 3", torch.float32)``.

    Raises:
        TypeError: not a tensor, or another dtype.
        ValueError: another shape, or tensors on several devices.

    """
    sizes: dict[str, int] = {}
    device: torch.device | None = None
    for name, (tensor, shape, dtype) in arguments.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{op}: {name} must be a torch tensor, got {type(tensor).__name__}")
        if tensor.dtype != dtype:
            raise TypeError(f"{op}: {name} must be {dtype}, got {tensor.dtype}")
        sides = shape.split()
        got = tuple(tensor.shape)
        said = ", ".join(_said(side, sizes) for side in sides)
        if len(got) != len(sides) or not all(
            _fits(side, size, sizes) for side, size in zip(sides, got, strict=True)
        ):
            raise ValueError(f"{op}: {name} must be ({said}), got {got}")
        if device is not None and tensor.device != device:
            raise ValueError(f"{op}: {name} must be on {device}, got {tensor.device}")
        device = tensor.device
    return sizes


def _said(side: str, sizes: dict[str, int]) -> str:
    letter, plus, more = side.partition("+")
    return f"{side}={sizes[letter] + int(more or 0)}" if letter in sizes else letter + plus + more


def _fits(side: str, size: int, sizes: dict[str, int]) -> bool:
    """Compare a side with its number or its letter, which it binds where that is still free."""
    letter, _, more = side.partition("+")
    if letter.isdigit():
        return size == int(letter)
    size -= int(more or 0)
    return size >= 0 and sizes.setdefault(letter, size) == size


def finite(op: str, **arguments: Tensor) -> None:
    """Check that an op's coordinates are finite: searches index memory by them.

    Raises:
        ValueError: a NaN or an infinity.

    """
    for name, tensor in arguments.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{op}: {name} must be finite, got NaN or infinity")


def in_range(op: str, name: str, tensor: Tensor, low: int, high: int, said: str) -> None:
    """Check that an op's indices lie in [low, high), which the message calls ``said``.

    Raises:
        ValueError: one that does not.

    """
    if tensor.numel() and not low <= int(tensor.min()) <= int(tensor.max()) < high:
        raise ValueError(f"{op}: {name} must be in {said}")


def offsets(op: str, name: str, tensor: Tensor, letter: str, end: int) -> None:
    """Check that offsets ascend from 0 to the size ``end``, which the message calls ``letter``.

    Raises:
        ValueError: they do not.

    """
    ends = len(tensor) > 0 and int(tensor[0]) == 0 and int(tensor[-1]) == end
    if not ends or bool((tensor.diff() < 0).any()):
        raise ValueError(f"{op}: {name} must ascend from 0 to {letter}={end}")


def native(device: torch.device) -> tuple[ModuleType, int]:
    """Return the compiled module for a device and the integer to pass as its ``stream``.

    Raises:
        RuntimeError: this build has no module for the device, or it is another GPU than the one
            that this thread works on.

    """
    if device.type not in MODULES:
        raise RuntimeError(f"cmad: this build has no native ops for device '{device.type}'")
    try:
        module = import_module(MODULES[device.type])
    except ImportError as error:
        said = gpu.missing() if device.type == "cuda" else None
        if said is None:
            raise
        raise RuntimeError(f"cmad: {said}") from error
    if device.type == "cuda":
        return module, gpu.stream_of(device)
    # On the CPU the stream carries how many threads the op may use (csrc/core/device.h).
    return module, torch.get_num_threads()
