import inspect

import numpy as np
import pytest
import torch

from cmad import ops
from cmad.testing import reference
from cmad.testing.cases import CASES, to_torch
from cmad.testing.devices import DEVICES, has, running_on

SMALL = [case for case in CASES if not case.timed]
# The first timed case of each op, large enough to be split; fps splits by cloud.
LARGE = [next(c for c in CASES if c.timed and c.op == op) for op in ops.__all__ if op != "fps"]
SPLIT = [*LARGE, next(c for c in CASES if str(c) == "fps-batch_all_points")]


ON_DEVICES = [pytest.param(c, d, id=f"{d}-{c}") for d in DEVICES for c in SMALL if has(d, c.op)]
OPS_ON_DEVICES = [(op, device) for device in DEVICES for op in ops.__all__ if has(device, op)]


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("case", "device"), ON_DEVICES)
def test_native_agrees_with_reference(case, device):
    args = case.make(np.random.default_rng(0))
    want = as_tuple(getattr(reference, case.op)(**args))
    with running_on(device):
        got = as_tuple(getattr(ops, case.op)(**to_torch(args, device)))
    for w, g in zip(want, got, strict=True):
        g = g.cpu() if isinstance(g, torch.Tensor) else torch.as_tensor(g)
        torch.testing.assert_close(g, torch.as_tensor(w), atol=case.atol, rtol=0)


@pytest.mark.parametrize("op", ops.__all__)
def test_op_takes_and_names_the_arguments_of_its_reference(op):
    native, plain = (inspect.signature(getattr(m, op)).parameters for m in (ops, reference))
    assert [(p.name, p.kind, p.default) for p in native.values() if p.name != "check"] == [
        (p.name, p.kind, p.default) for p in plain.values()
    ]


CHECKED = [op for op in ops.__all__ if "check" in inspect.signature(getattr(ops, op)).parameters]


def test_ops_that_read_values_can_be_told_not_to():
    assert set(ops.__all__) - {*CHECKED} == {"box_cascade", "components", "discrepancy", "smooth"}


@pytest.mark.parametrize("case", [case for case in SMALL if case.op in CHECKED], ids=str)
def test_leaving_out_the_checks_changes_no_result(case):
    args = to_torch(case.make(np.random.default_rng(0)), "cpu")
    want, got = (getattr(ops, case.op)(**args, check=check) for check in (True, False))
    for w, g in zip(as_tuple(want), as_tuple(got), strict=True):
        assert torch.equal(torch.as_tensor(w), torch.as_tensor(g))


@pytest.mark.parametrize("case", SPLIT, ids=str)
def test_number_of_threads_does_not_change_the_result(case, threads):
    args = to_torch(case.make(np.random.default_rng(0)), "cpu")
    results = []
    for count in (1, 2, 5):
        threads(count)
        results.append(as_tuple(getattr(ops, case.op)(**args)))
    # The first layer at the tokens is torch's product, whose sums some processors split by threads.
    last_digit = 2.4e-7 if case.op == "mapping_discrepancy" else 0
    for other in results[1:]:
        for w, g in zip(results[0], other, strict=True):
            torch.testing.assert_close(
                torch.as_tensor(g), torch.as_tensor(w), rtol=0, atol=last_digit, equal_nan=True
            )


@pytest.mark.parametrize(("op", "device"), OPS_ON_DEVICES)
def test_inputs_may_require_grad_and_stay_as_they_are(op, device):
    case = next(c for c in SMALL if c.op == op and "non_contiguous" not in c.name)
    args = to_torch(case.make(np.random.default_rng(0)), device)
    tensors = {k: v for k, v in args.items() if isinstance(v, torch.Tensor)}
    before = {k: v.clone() for k, v in tensors.items()}
    with running_on(device):
        want = as_tuple(getattr(ops, op)(**args))
        for tensor in tensors.values():
            tensor.requires_grad_(tensor.is_floating_point())
        got = as_tuple(getattr(ops, op)(**args))
    for w, g in zip(want, got, strict=True):
        assert torch.equal(torch.as_tensor(w), torch.as_tensor(g))
        assert not getattr(g, "requires_grad", False)
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor.detach(), before[name], atol=0, rtol=0, equal_nan=True)


@pytest.mark.parametrize("op", ops.__all__)
def test_results_share_no_memory_with_the_inputs(op):
    case = next(c for c in SMALL if c.op == op and "non_contiguous" not in c.name)
    args = to_torch(case.make(np.random.default_rng(0)), "cpu")
    taken = {v.untyped_storage().data_ptr() for v in args.values() if isinstance(v, torch.Tensor)}
    for result in as_tuple(getattr(ops, op)(**args)):
        if isinstance(result, torch.Tensor):
            assert result.untyped_storage().data_ptr() not in taken


@pytest.mark.parametrize("op", ops.__all__)
def test_a_device_without_a_build_is_named(op):
    case = next(c for c in SMALL if c.op == op)
    args = to_torch(case.make(np.random.default_rng(0)), "cpu")
    args = {k: v.to("meta") if isinstance(v, torch.Tensor) else v for k, v in args.items()}
    with pytest.raises(RuntimeError, match="cmad: this build has no native ops for device 'meta'"):
        getattr(ops, op)(**args)
