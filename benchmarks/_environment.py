"""What benchmarks share: what a number needs beside it, and a line where something is missing."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

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
