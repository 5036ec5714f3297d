"""What a measured number needs beside it: commit, versions, machine, load."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("cmad-vision", "torch", "timm", "numpy", "scipy", "scikit-learn", "open3d")


def environment() -> dict[str, object]:
    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    cpuinfo = Path("/proc/cpuinfo")
    names = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((n.split(":")[1].strip() for n in names if n.startswith("model name")), "")
    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    return {
        "commit": commit + ("-dirty" if git("status", "--porcelain") else ""),
        "python": platform.python_version(),
        "versions": {package: installed(package) for package in PACKAGES},
        "cpu": model or platform.processor(),
        "avx": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
    }
