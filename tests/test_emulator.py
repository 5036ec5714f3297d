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
    "aligned": (
        np.where(np.arange(64) < 63, BLOCKS, BLOCKS[:, :1]),
        "uses an element that is not aligned to 4 bytes",
    ),
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
    "copy": (BLOCKS[:, ::-1], "reads element .*, to which thread .* copies and has not waited"),
    "copy_barrier": (BLOCKS[:, ::-1], "has not waited|nothing wrote|with no barrier between them"),
    "copy_commit": (BLOCKS[:, ::-1], "copies and has not waited"),
    "copy_newest": (BLOCKS[:, ::-1], "element (3[2-9]|[45].|6[0-3]) of 64 .* has not waited"),
    "copy_early": (BLOCKS[:, ::-1], "has not waited|with no barrier between them"),
    "copy_written": (BLOCKS[:, ::-1], "writes element 0 of 64 .* has not waited"),
    "copy_outside": (BLOCKS[:, ::-1], "copies outside: element 16 of 16 of dynamic shared"),
    "copy_past": (np.append(N[4:], 4 * [0]), "reads outside: element 32 of 32 of in"),
    "copy_aligned": (BLOCKS[:, ::-1], "cp_async_16 at faults_mma.cpp.*: not aligned to 16 bytes"),
    "copy_from_aligned": (BLOCKS[:, ::-1], "the source is not in .* or not aligned to 16 bytes"),
    "ldmatrix_aligned": (0 * N + 1, "ldmatrix_x4 at faults_mma.cpp.*: not aligned to 16 bytes"),
    "ldmatrix_outside": (0 * N + 1, "reads outside: element 16 of 16 of dynamic shared"),
    "ldmatrix_barrier": (0 * N + 1, "nothing wrote|with no barrier between them"),
    "ldmatrix_lanes": (0 * N + 1, "ldmatrix_x4 at .* waits for lane 8, which has ended"),
    "ldmatrix_shared": (0 * N + 1, "not aligned to 16 bytes"),
    "mma_lanes": (0 * N + 16, "mma_m16n8k16 at .* waits for lane 30, which has ended"),
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


@pytest.mark.parametrize("turned", [False, True])
def test_lanes_hold_of_matrices_what_ptx_documents(turned):
    """Of ldmatrix: a lane has row lane / 4, or of matrices turned round that column."""
    matrices = np.arange(256, dtype=np.float32).reshape(4, 8, 8)
    got = np.reshape(emulator.ldmatrix(matrices.ravel(), turned, 0), (32, 4, 2))
    lane = np.arange(32)
    for m, matrix in enumerate(matrices.transpose(0, 2, 1) if turned else matrices):
        for half in (0, 1):
            np.testing.assert_array_equal(got[:, m, half], matrix[lane // 4, lane % 4 * 2 + half])


@pytest.mark.parametrize("turned", [False, True])
def test_product_of_a_warp_is_that_of_the_matrices(turned):
    for seed in SEEDS:
        a, b = np.random.default_rng(seed).standard_normal((2, 16, 16)).astype(np.float16)
        got = np.reshape(emulator.product(a.ravel(), b.ravel(), turned, seed), (16, 16))
        want = a.astype(np.float64) @ (b if turned else b.T)
        np.testing.assert_allclose(got, want, atol=1e-5)  # 16 products summed in float32


def test_numbers_of_16_bits_are_rounded_as_by_numpy():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    every = np.sort(every[np.isfinite(every)])
    middle = (every[:-1] + every[1:]) / 2
    edges = np.float32([65519, 65520, np.inf, 1e-8, 2**-25])
    values = np.concatenate([middle[::7], np.nextafter(middle[::97], np.inf), edges, -edges])
    with np.errstate(over="ignore"):
        want = values.astype(np.float16)
    np.testing.assert_array_equal([emulator.float16(value) for value in values], want)
    assert np.isnan(emulator.float16(np.nan))


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


def test_more_shared_memory_than_every_gpu_has_is_named():
    emulator.share(99 * 1024)
    with pytest.raises(RuntimeError, match="share: 101377 bytes of dynamic shared memory"):
        emulator.share(99 * 1024 + 1)


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
    said = r"interpolate_kernel, .*: reads outside: element 1[234] of 12 of an input of shape"
    with running_on("emulated"), pytest.raises(RuntimeError, match=said):
        ops.interpolate(feature, start, index, weight, check=False)
