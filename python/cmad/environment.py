"""What a measured number needs beside it: versions, machine, memory."""

import os
import platform
import resource
from contextlib import suppress
from pathlib import Path

import torch

from cmad.version import __version__, installed

PACKAGES = ("torch", "timm", "numpy", "scipy", "scikit-learn", "open3d")


def environment() -> dict[str, object]:
    """Describe the software and the machine, in values fit for JSON."""
    about: dict[str, object] = {
        "cmad": __version__,
        "python": platform.python_version(),
        "versions": installed(*PACKAGES),
        "system": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "simd": torch.backends.cpu.get_cpu_capability(),
        "memory GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    }
    if torch.cuda.is_available():
        about["gpu"] = torch.cuda.get_device_name()
    return about


def machine() -> str:
    """Say in a few words what a measured time depends on most."""
    threads = torch.get_num_threads()
    what = f"{threads} thread{'s' * (threads > 1)}, {torch.backends.cpu.get_cpu_capability()}"
    return f"{_cpu() or 'an unknown processor'}, {what}"


def forget_peak() -> None:
    """Let `peak_memory` count from now on, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in MB (2^20 bytes)."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cpu() -> str:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(n for n in lines if n.startswith("model name")).split(":")[1].strip()
    return platform.processor()
