"""What every op does before it calls native code: check the arguments, find the module."""

from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor


def expect(op: str, **arguments: tuple[Tensor, str, torch.dtype]) -> dict[str, int]:
    """Check shapes, dtypes and devices of an op's tensors; return the sizes bound to the letters.

    A letter stands for one size throughout the call, a number for itself.

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
        letters = shape.split()
        got = tuple(tensor.shape)
        said = ", ".join(f"{x}={sizes[x]}" if x in sizes else x for x in letters)
        if len(got) != len(letters) or any(
            g != (int(x) if x.isdigit() else sizes.setdefault(x, g))
            for x, g in zip(letters, got, strict=True)
        ):
            raise ValueError(f"{op}: {name} must be ({said}), got {got}")
        if device is not None and tensor.device != device:
            raise ValueError(f"{op}: {name} must be on {device}, got {tensor.device}")
        device = tensor.device
    return sizes


def finite(op: str, **arguments: Tensor) -> None:
    """Check that an op's coordinates are finite: searches index memory by them.

    Raises:
        ValueError: a NaN or an infinity.

    """
    for name, tensor in arguments.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{op}: {name} must be finite, got NaN or infinity")


def native(device: torch.device) -> tuple[ModuleType, int]:
    """Return the compiled module for a device and the integer to pass as its ``stream``.

    Raises:
        RuntimeError: this build has no module for the device.

    """
    if device.type != "cpu":
        raise RuntimeError(f"cmad: this build has no native ops for device '{device.type}'")
    # On the CPU the stream carries how many threads the op may use (csrc/core/device.h).
    return import_module("cmad._native._cpu"), torch.get_num_threads()
