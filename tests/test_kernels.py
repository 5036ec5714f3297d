"""CUDA kernels use arrays only in the ways that the emulator checks (decisions/emulator.md)."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KERNELS = sorted((ROOT / "csrc" / "ops").glob("*.cu"))
PARTS = sorted((ROOT / "csrc" / "ops").glob("*.cuh"))


def unchecked(source):
    """The parts of a kernel's source that the emulator could not check."""
    source = re.sub(r"//.*|__launch_bounds__\([^)]*\)", "", source)
    found = re.findall(r"__shared__\s+(?!Shared<)\w+|<<<|reinterpret_cast|const_cast", source)
    source = re.sub(r"__launch_bounds__\([^)]*\)", "", source)
    for parameters in re.findall(r"__global__[^(]*\(([^)]*)\)", source):
        found += re.findall(r"\w+\s*[*&]", parameters)
    return found


@pytest.mark.parametrize("file", KERNELS + PARTS, ids=lambda file: file.name)
def test_kernel_can_be_checked(file):
    assert unchecked(file.read_text()) == []


@pytest.mark.parametrize(
    ("source", "want"),
    [
        ("__global__ void f(const float* a, int n) {}", ["float*"]),
        ("__global__ void f(Pointer<float> a,\n int* n) {}", ["int*"]),
        ("__global__ void __launch_bounds__(256, 2)\n f(int* n) {}", ["int*"]),
        ("__global__ void f(Pointer<const float> a, int n) { n * n; }", []),
        ("__global__ void __launch_bounds__(2 * k)\n f(int* n) {}", ["int*"]),
        ("__shared__ float line[32];", ["__shared__ float"]),
        ("extern __shared__ char bytes[];", ["__shared__ char"]),
        ("__shared__ Shared<float[32]> line;  // not __shared__ float", []),
        ("f<<<1, 1>>>();", ["<<<"]),
        ("reinterpret_cast<int&>(x)", ["reinterpret_cast"]),
    ],
)
def test_what_cannot_be_checked_is_seen(source, want):
    assert unchecked(source) == want


def test_every_kernel_is_built_and_bound():
    ops = {file.stem for file in KERNELS if file.suffix == ".cu"}
    built = re.search(r"set\(CUDA_OPS ([^)]*)\)", (ROOT / "CMakeLists.txt").read_text())
    bound = re.findall(r"bind_(\w+)<Cuda>", (ROOT / "csrc/bind/cuda_ops.h").read_text())
    assert ops == set(built.group(1).split()) == set(bound)


@pytest.mark.parametrize("file", KERNELS, ids=lambda file: file.name)
def test_a_launch_names_its_kernel(file):
    # For messages, and for benchmarks/kernels.py, which joins launches and the compiler's report.
    named = re.findall(r'launch\(\s*"(?:\w+: )?([^"]*)",\s*(\w+)', file.read_text())
    assert named
    assert [kernel for _, kernel in named] == [name for name, _ in named]
