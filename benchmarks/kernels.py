"""Say what the compiler makes of each CUDA kernel: no GPU is needed, nvcc and the emulator are.

    python benchmarks/kernels.py [--architectures 80,90a] [--only fps,group]

Registers, static shared memory and spills are nvcc's report. Blocks, threads and dynamic shared
memory are those that the op starts the kernel with on its timed case (the first; of several starts
the one with most blocks). Occupancy is the share of a multiprocessor's warps that fit into its
registers, shared memory and places for blocks. How to build the emulator: cmad/testing/devices.py.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cmad import ops
from cmad.testing.cases import CASES, to_torch
from cmad.testing.devices import EMULATED, has, running_on

CSRC = Path(__file__).parents[1] / "csrc"


class Multiprocessor(NamedTuple):
    """What blocks share (CUDA C++ Programming Guide, compute capabilities)."""

    warps: int
    blocks: int
    shared: int
    """Bytes; each block takes 1024 more than it asks for."""
    registers: int = 65536
    """In units of 256 for each warp."""


MULTIPROCESSORS = {
    "80": Multiprocessor(64, 32, 164 * 1024),
    "86": Multiprocessor(48, 16, 100 * 1024),
    "89": Multiprocessor(48, 24, 100 * 1024),
    "90a": Multiprocessor(64, 32, 228 * 1024),
    "100": Multiprocessor(64, 32, 228 * 1024),
    "120": Multiprocessor(48, 24, 100 * 1024),
}


class Kernel(NamedTuple):
    name: str
    registers: int
    shared: int
    spilled: int


class Launch(NamedTuple):
    blocks: int
    threads: int
    shared: int


def compiled(source: Path, architecture: str) -> list[Kernel]:
    """Read the compiler's report on the kernels of a file."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["nvcc", "-std=c++17", "--fmad=false", f"-I{CSRC}", "-cubin", "-Xptxas=-v"]
        command += [f"-arch=sm_{architecture}", str(source), "-o", f"{folder}/cubin"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"error: {source.name}, sm_{architecture}: {run.stderr.strip()}")
    report = subprocess.run(["c++filt"], input=run.stderr, capture_output=True, text=True).stdout
    kernels = []
    for part in report.split("Compiling entry function '")[1:]:
        name = re.match(r"[^(]*(?:\(anonymous namespace\)::)?\b(\w+_kernel)(<[^>]*>)?", part)
        shared = re.search(r"(\d+) bytes smem", part)
        kernels.append(
            Kernel(
                name[1] + _instance(name[2] or ""),
                int(re.search(r"Used (\d+) registers", part)[1]),
                int(shared[1]) if shared else 0,
                int(re.search(r"(\d+) bytes spill stores", part)[1]),
            )
        )
    return kernels


def _instance(parameters: str) -> str:
    """Return of a template's parameters what tells instances apart: numbers and types of them."""
    told = re.findall(r"\b(?:\d+|float|double)\b", parameters)
    return f"<{', '.join(told)}>" if told else ""


def launches(op: str) -> dict[str, Launch]:
    """List what an op starts on its timed case: by kernel, the start with most blocks."""
    emulated = import_module(EMULATED)
    case = next(c for c in CASES if c.timed and c.op == op)
    args = to_torch(case.make(np.random.default_rng(0)), "emulated")
    emulated._list(True)
    try:
        # Kernels do not run, so an op that reads what they write may end early, as pixel_weights.
        with running_on("emulated"), suppress(RuntimeError, ValueError, IndexError):
            getattr(ops, op)(**args)
    finally:
        emulated._list(False)
    found: dict[str, Launch] = {}
    for name, blocks, threads, shared in emulated._launches():
        kernel = name.rpartition(" ")[2]
        before = found.get(kernel, Launch(0, threads, 0))
        found[kernel] = max(before, Launch(blocks, threads, shared))
    return found


def occupancy(kernel: Kernel, launch: Launch, architecture: str) -> float:
    """Compute the share of a multiprocessor's warps that such blocks can fill."""
    has = MULTIPROCESSORS[architecture]
    warps = -(-launch.threads // 32)
    registers = -(-kernel.registers * 32 // 256) * 256 * warps
    blocks = min(
        has.blocks,
        has.warps // warps,
        has.registers // registers,
        has.shared // (kernel.shared + launch.shared + 1024),
    )
    return blocks * warps / has.warps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architectures", default="80,90a", help=", ".join(MULTIPROCESSORS))
    parser.add_argument("--only", help="ops, separated by commas")
    given = parser.parse_args()
    architectures = given.architectures.split(",")
    if unknown := set(architectures) - set(MULTIPROCESSORS):
        parser.error(f"--architectures: not {', '.join(sorted(unknown))}")
    try:
        found = [op for op in ops.__all__ if has("emulated", op)]
    except ImportError:
        sys.exit("error: the emulator is not built (cmad/testing/devices.py says how)")
    wanted = given.only.split(",") if given.only else found

    print("| kernel | blocks × threads | shared, KiB |", end="")
    print("".join(f" sm_{a}: registers, spilled bytes, occupancy |" for a in architectures))
    print("|---|---|---|" + "---|" * len(architectures))
    for op in wanted:
        source = CSRC / "ops" / f"{op}.cu"
        if not source.exists():  # an op that calls another's kernel
            continue
        started = launches(op)
        report = {a: {k.name: k for k in compiled(source, a)} for a in architectures}
        for name, kernel in report[architectures[0]].items():
            launch = started.get(name.partition("<")[0])
            size = f"{launch.blocks} × {launch.threads}" if launch else "not started here"
            shared = (kernel.shared + (launch.shared if launch else 0)) / 1024
            print(f"| {op}: {name} | {size} | {shared:.1f} |", end="")
            for a in architectures:
                k = report[a][name]
                share = f"{occupancy(k, launch, a):.0%}" if launch else "–"
                print(f" {k.registers}, {k.spilled}, {share} |", end="")
            print(flush=True)


if __name__ == "__main__":
    main()
