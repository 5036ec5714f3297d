"""A process that has used torch's threads forks, and its child goes on."""

import os
import subprocess
import sys

import pytest

FORK = """
import multiprocessing, sys
import numpy as np, torch
import cmad

torch.set_num_threads(2)

def work():
    # A product, a loop over many numbers, and one of the package's own ops.
    values = torch.linspace(0, 1, 1 << 20)
    matrix = values.reshape(1024, 1024)
    smooth = cmad.ops.box_cascade(matrix[None].contiguous())
    return torch.stack([(matrix @ matrix).sum(), torch.sin(values).exp().sum(), smooth.sum()])

def child(queue):
    queue.put((torch.get_num_threads(), work().tolist()))

want = work().tolist()
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(queue,), daemon=True)
process.start()
try:
    threads, got = queue.get(timeout=30)
except Exception:
    process.kill()
    sys.exit("no answer from the forked process")
process.join()
assert threads == 1, threads
np.testing.assert_allclose(got, want, rtol=1e-4)  # sums of float32 in another order
assert torch.get_num_threads() == 2  # the parent's are left alone
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_computes_with_one_thread():
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
