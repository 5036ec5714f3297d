"""Ops whose threads meet in atomics give the same result in every order of threads."""

import numpy as np
import pytest
import torch

from cmad import ops
from cmad.testing.cases import CASES, to_torch
from cmad.testing.devices import DEVICES, has, running_on

NAMES = [
    "components-snake_of_columns",
    "components-noise_50",
    "components-noise_30",
    "count_between-runs_of_many_levels_f4",
    "count_between-ties_f8",
    "plane-two_sheets",
    "clusters-border_between_two_clusters",
    "clusters-ties_at_eps",
    "clusters-dense",
]


@pytest.mark.skipif("emulated" not in DEVICES, reason="the emulated ops are not built")
@pytest.mark.parametrize("name", NAMES)
def test_order_of_threads_does_not_change_the_result(name):
    case = next(c for c in CASES if str(c) == name)
    args = to_torch(case.make(np.random.default_rng(0)), "cpu")
    run = getattr(ops, case.op)
    want = run(**args)
    assert has("emulated", case.op)
    for seed in (1, 2):
        with running_on("emulated", seed):
            got = run(**args)
        torch.testing.assert_close(got, want, atol=case.atol, rtol=0)
