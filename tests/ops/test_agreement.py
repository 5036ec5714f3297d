import numpy as np
import pytest
import torch

from cmad import ops
from cmad.testing import reference
from cmad.testing.cases import CASES, DEVICES, to_torch


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", [c for c in CASES if not c.timed], ids=str)
def test_native_agrees_with_reference(case, device):
    args = case.make(np.random.default_rng(0))
    want = as_tuple(getattr(reference, case.op)(**args))
    got = as_tuple(getattr(ops, case.op)(**to_torch(args, device)))
    for w, g in zip(want, got, strict=True):
        w, g = torch.as_tensor(w), torch.as_tensor(g).cpu()
        torch.testing.assert_close(g, w, atol=case.atol, rtol=0)
