"""What a measured number needs beside it: commit, load, and what `cmad.environment` tells."""

import os
import subprocess
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
