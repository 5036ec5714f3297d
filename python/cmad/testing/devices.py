"""Which devices the ops are tested on, and how to send an op there.

Beside the CPU and a GPU there is ``"emulated"``: the CUDA kernels run on the CPU's tensors by an
emulator that finds their mistakes (csrc/emulate). It is there after

    cmake -S . -B build/emulate -DCMAD_EMULATE=ON -DPython_EXECUTABLE=$(which python)
    cmake --build build/emulate --target _emulator _cuda_emulated

with both modules copied to where ``cmad._native`` is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from unittest.mock import patch

import torch

from cmad.ops import _call

EMULATED = "cmad._native._cuda_emulated"
DEVICES = ["cpu"]
if find_spec("cmad._native._cuda") is not None and torch.cuda.is_available():
    DEVICES.append("cuda")
if find_spec(EMULATED) is not None:
    DEVICES.append("emulated")

_MODULES = {"cpu": "cmad._native._cpu", "cuda": "cmad._native._cuda", "emulated": EMULATED}
_NATIVE = {"box_cascade": "smooth"}
"""Ops that call a native one of another name."""


def has(device: str, op: str) -> bool:
    """Whether an op can run on a device: not every op has a kernel."""
    return hasattr(import_module(_MODULES[device]), _NATIVE.get(op, op))


@contextmanager
def running_on(device: str, seed: int = 0) -> Iterator[None]:
    """Let ops use a device's module; those of the emulated one have the CPU's tensors.

    Args:
        device: one of `DEVICES`.
        seed: of the order of the emulated threads.

    """
    if device == "emulated":
        import_module(EMULATED)._seed(seed)
    tensors = "cpu" if device == "emulated" else device
    with patch.dict(_call.MODULES, {tensors: _MODULES[device]}):
        yield
