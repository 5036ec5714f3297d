"""The emulator that runs CUDA kernels on the host (csrc/emulate) finds mistakes planted in some."""

import importlib
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from cmad import ops
from cmad.testing.devices import DEVICES, running_on

emulator = pytest.importorskip(
    "cmad._native._emulator", reason="the emulator is not built (cmake -DCMAD_EMULATE=ON)"
)

SEEDS = range(20)
N = np.arange(128, dtype=np.float32)  # what the kernels are given, 64 to a block
BLOCKS = N.reshape(2, 64)
LANES = N.reshape(4, 32)


def swapped(bits):
    """Of each warp, the first 16 lanes with lane ^ bits in place of lane."""
    lanes = LANES.copy()
    lanes[:, :16] = LANES[:, np.arange(16) ^ bits]
    return lanes


# Each kernel: what it computes where it is right, and what the emulator says where it is not.
KERNELS = {
    "barrier": (BLOCKS[:, ::-1], "nothing wrote"),
    "second_barrier": (np.roll(BLOCKS, -2, 1), "with no barrier between them"),
    "divergent_barrier": (N, "not reached by all threads: 40 of 64 .* thread 40, which has ended"),
    "two_barriers": (N, "not reached by all threads: one waits at faults.cpp"),
    "off_by_one": (np.roll(N, 1), "writes outside: element 128 of 128 of out"),
    "off_by_one_shared": (BLOCKS[:, ::-1], "writes outside: element 64 of 64 of dynamic shared"),
    "off_by_one_row": (LANES[:, ::-1], "column 32 of a row of 32"),
    "unwritten": (N, "reads element .* of 64 of shared memory, faults.cpp:.*, which nothing wrote"),
    "unwritten_output": (N, "reads element .* of 128 of out, which nothing wrote"),
    "left_over": (0 * N, "reads element 0 of 1 of shared memory, .* which nothing wrote"),
    "warp_barrier": (
        np.where(np.arange(32) < 16, swapped(1) + swapped(2), LANES),
        "nothing wrote|with no barrier between them",
    ),
    "wrong_mask": (swapped(1), "__shfl_xor_sync .* waits for lane 16, which has ended"),
    "wrong_lane": (
        np.where(np.arange(32) < 15, LANES + 1, LANES),
        "__shfl_down_sync .* reads lane 16, which its mask does not name",
    ),
    "count": (0 * N + 64, "with no barrier between them"),
    "early_count": (0 * N + 64, "nothing wrote|with no barrier between them"),
    "blocks_writing": (N, "writes element .*, which thread .* of block 0 wrote"),
    "blocks": (N, "thread .* of block 0 wrote with no barrier between them"),
}


def test_every_kernel_is_tried():
    assert set(emulator.kernels()) == set(KERNELS)


@pytest.mark.parametrize("name", KERNELS)
def test_right_kernel_gives_its_result_in_every_order_of_threads(name):
    for seed in SEEDS:
        np.testing.assert_array_equal(emulator.run(name, True, seed), KERNELS[name][0].ravel())


@pytest.mark.parametrize("name", KERNELS)
def test_mistake_is_found_in_every_order_of_threads(name):
    for seed in SEEDS:
        said = f"^{name}, block .*, thread .*: .*({KERNELS[name][1]})"
        with pytest.raises(RuntimeError, match=said):
            emulator.run(name, False, seed)


def test_shuffles_and_reductions_give_what_cuda_documents():
    warp, quarter = N % 32, N % 8
    want = [
        LANES[:, 5].repeat(32),
        N - quarter + 9 % 8,
        np.where(warp >= 3, N - 3, N),
        np.where(quarter + 3 < 8, N + 3, N),
        LANES[:, np.arange(32) ^ 5].ravel(),
        0 * N + 11,  # multiples of 3 below 32
        0 * N + 1,  # any, but not all
        0 * N + 31 * 32 / 2,
        0 * N - 40,
        0 * N + 31,
        0 * N,
        N,
    ]
    for seed in SEEDS:
        for w, g in zip(want, emulator.intrinsics(seed), strict=True):
            np.testing.assert_array_equal(g, w)


def test_no_update_of_an_atomic_is_lost():
    for seed in SEEDS:
        assert emulator.atomics(seed) == [128, -127, 127, 128]


@pytest.mark.parametrize(
    ("threads", "message"),
    [
        (2000, r"barrier: a block of \(2000, 1, 1\) threads"),
        (0, r"barrier: a block of \(0, 1, 1\) threads"),
        (63, "barrier, .* reads element 63 of 64 of shared memory, .* which nothing wrote"),
    ],
)
def test_wrong_number_of_threads_is_named(threads, message):
    with pytest.raises(RuntimeError, match=message):
        emulator.run("barrier", True, 0, threads)


def test_lane_that_the_block_does_not_have_is_named():
    with pytest.raises(RuntimeError, match="waits for lane 8, which the block does not have"):
        emulator.run("warp_barrier", True, 0, 40)


def test_run_after_a_fault_is_as_any_other():
    with pytest.raises(RuntimeError):
        emulator.run("divergent_barrier", False, 0)
    assert emulator.run("barrier", True, 0) == [*BLOCKS[0][::-1], *BLOCKS[1][::-1]]


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("place=4", "out of bounds|buffer-overflow"),
        ("bits=40", "shift exponent 40 is too large"),
        ("more=20", "signed integer overflow"),
    ],
)
def test_sanitizers_find_mistakes_with_a_threads_own_values(mistake, said):
    if not emulator.sanitized:
        pytest.skip("not built with sanitizers (.ci/sanitize)")
    run = "from cmad._native import _emulator; _emulator.own({})"
    right, wrong = (
        subprocess.run([sys.executable, "-c", run.format(a)], capture_output=True, text=True)
        for a in ("", mistake)
    )
    assert right.returncode == 0, right.stderr
    assert wrong.returncode != 0
    assert re.search(said, wrong.stderr)


def test_cuda_module_is_imported_without_a_gpu():
    cuda = pytest.importorskip("cmad._native._cuda", reason="not built (cmake -DCMAD_CUDA=ON)")
    if "emulated" in DEVICES:
        emulated = importlib.import_module("cmad._native._cuda_emulated")
        names = {name for name in dir(emulated) if not name.startswith("_")}
        assert names == {name for name in dir(cuda) if not name.startswith("_")}


def test_index_outside_an_array_of_an_op_is_found():
    if "emulated" not in DEVICES:
        pytest.skip("the emulated ops are not built (cmake -DCMAD_EMULATE=ON)")
    feature, start = torch.ones(4, 3), torch.tensor([0, 2])
    index, weight = torch.tensor([0, 4], dtype=torch.int32), torch.ones(2)
    said = r"interpolate, .*: reads outside: element 1[234] of 12 of an input of shape \(4, 3\)"
    with running_on("emulated"), pytest.raises(RuntimeError, match=said):
        ops.interpolate(feature, start, index, weight, check=False)
