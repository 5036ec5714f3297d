"""Seeded initial weights that leave torch's global generators alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make torch's default generator start from a seed while the body runs, one thread at a time.

    torch initialises layers from this one generator only, which all threads share, and in the
    default dtype, which is float32 here whatever a program has set. Afterwards both are as they
    were; the generators of GPUs are not touched, as ``torch.manual_seed`` would.

    Args:
        seed: 0 or more.

    """
    with _lock, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(default)
