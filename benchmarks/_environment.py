"""What benchmarks share: what a number needs beside it, and a line where something is missing."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import torch

from cmad.environment import environment as of_this_machine


def environment() -> dict[str, object]:
    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    return {
        "commit": commit + ("-dirty" if git("status", "--porcelain") else ""),
        **of_this_machine(),
        "load": os.getloadavg()[0],
    }


@contextmanager
def one_line():
    """End with the message of an error alone: for the steps that open data and weights."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise SystemExit(f"error: {error}") from None


def fastest_float32():
    """Let torch multiply float32 as fast as it can with float32's accuracy, in this process.

    "medium" takes AVX-512 on processors where the default does not, and is as accurate there; where
    it stands for bfloat16 it is another computation.
    """
    a, b = torch.randn(2, 768, 768, generator=torch.Generator().manual_seed(0))
    exact = a.double() @ b.double()
    for setting in ("medium", "high", "highest"):
        torch.set_float32_matmul_precision(setting)
        if ((a @ b).double() - exact).abs().max() < 1e-3:  # of numbers around 28; bfloat16: 0.3
            break
