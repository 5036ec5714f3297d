"""mapping_discrepancy on a GPU, or its kernels emulated: chunks, the list of small distances."""

from importlib import import_module

import numpy as np
import pytest
import torch

from cmad import ops
from cmad.nn import Mappings
from cmad.nn.folded import FoldedMappings
from cmad.testing import reference
from cmad.testing.cases import to_torch
from cmad.testing.devices import DEVICES, running_on
from cmad.testing.mapping_cases import NETWORK, mapping_case

module = import_module("cmad.ops.mapping_discrepancy")
GPUS = [device for device in DEVICES if device != "cpu"]
pytestmark = pytest.mark.skipif(not GPUS, reason="no GPU, and the emulator is not built")
LIMITS = {"fp32": 3e-6, "fp16": 1e-3}  # of sums in float32; of numbers with eleven binary digits


@pytest.fixture(params=GPUS or ["none"])
def device(request):
    with running_on(request.param):
        yield request.param


def measured(inputs, device, **more):
    return ops.mapping_discrepancy(**to_torch(inputs, device), **more).cpu().numpy()


def near_and_far(pixels, dims=(30, 40)):
    """Of 30 rows the first half is almost as predicted, and the other is opposite."""
    inputs = mapping_case("random", dims, pixels, near=0.01).make(np.random.default_rng(1))
    inputs["target"][15:] *= -1
    return inputs


@pytest.mark.parametrize("precision", LIMITS)
def test_near_and_far_pixels_are_told_apart(device, precision):
    """More pixels than a tile's rows are far, and more are near: f is formed for the near ones."""
    inputs = near_and_far(300)
    got = measured(inputs, device, precision=precision)
    want = reference.mapping_discrepancy(**inputs)
    assert (want < 0.1).sum() == (want > 1.9).sum() == 150
    np.testing.assert_allclose(got, want, rtol=0, atol=LIMITS[precision])


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("near", [0.09, 0.11, 0.3])
def test_distances_beside_the_limit_keep_their_digits(device, precision, near):
    inputs = mapping_case("random", (96, 64), 30, near=near).make(np.random.default_rng(2))
    got = measured(inputs, device, precision=precision)
    want = reference.mapping_discrepancy(**inputs)
    np.testing.assert_allclose(got, want, rtol=0, atol=LIMITS[precision])


def test_a_common_direction_of_all_predictions_costs_few_digits(device):
    """As on a CPU; see there."""
    rng = np.random.default_rng(3)
    inputs = mapping_case("random", (100, 60), 40, near=0.0, rows=(40, 20)).make(rng)
    spike = rng.standard_normal((60, 1)) @ rng.standard_normal((1, 80))
    inputs["last"] = (inputs["last"] + 30 * spike).astype(np.float32)
    exact = reference.mapping(inputs["source"], *[inputs[n] for n in NETWORK])
    noise = rng.standard_normal(exact.shape)
    noise *= np.linalg.norm(exact, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1)[:, None]
    inputs["target"] = (exact + 0.12 * noise).astype(np.float32)
    want = reference.mapping_discrepancy(**inputs)
    for precision, limit in (("fp32", 8e-6), ("fp16", 2e-3)):  # 3e-6 and 8e-4 by the spike
        got = measured(inputs, device, precision=precision)
        np.testing.assert_allclose(got, want, rtol=0, atol=limit)


def test_chunks_and_the_order_of_threads_change_no_bit(device, monkeypatch):
    inputs = near_and_far(150)
    want = measured(inputs, device, precision="fp16")
    monkeypatch.setattr(module, "CHUNK", 50)
    for seed in range(2 if device == "emulated" else 1):
        with running_on(device, seed=seed + 1):
            np.testing.assert_array_equal(measured(inputs, device, precision="fp16"), want)


def test_nan_stays_at_the_pixels_that_read_it(device):
    inputs = near_and_far(60, (20, 30))
    want = measured(inputs, device)
    for role in ("source", "target"):
        rows = inputs[role].copy()
        rows[3, 5] = np.nan
        got = measured({**inputs, role: rows}, device)
        reads = inputs[f"{role}_index"] == 3  # every pixel has one entry
        np.testing.assert_array_equal(got, np.where(reads, np.nan, want))


def test_rows_may_begin_at_any_number_of_another_tensor(device):
    inputs = mapping_case("random", (20, 64), 20).make(np.random.default_rng(6))
    args = to_torch(inputs, device)
    want = ops.mapping_discrepancy(**args)
    shared = torch.cat([args["target"].new_zeros(1), args["target"].flatten()])
    args["target"] = shared[1:].view(args["target"].shape)
    assert torch.equal(ops.mapping_discrepancy(**args), want)


@pytest.mark.parametrize("precision", LIMITS)
def test_weights_beyond_the_range_of_float16_are_stored_in_units(device, precision):
    """Neither a prediction's length nor the target's counts."""
    inputs = mapping_case("random", (40, 64), 60).make(np.random.default_rng(4))
    want = measured(inputs, device, precision=precision)
    for length in (2.0**-30, 2.0**30):
        longer = {k: inputs[k] * np.float32(length) for k in ("last", "bias3")}
        got = measured({**inputs, **longer}, device, precision=precision)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_precision_is_what_the_device_computes_in(device):
    args = to_torch(near_and_far(1), device)
    network = [args[n] for n in NETWORK]
    folded = {p: module.fold(*network, precision=p) for p in module.PRECISIONS}
    assert {p: f.precision for p, f in folded.items()} == {
        "fp32": "fp32",
        "fp16": "fp16",
        "bf16": "fp16",
    }
    assert len(folded["fp32"].middle) == 2 * len(folded["fp16"].middle) == 4 * 64 * 64
    with pytest.raises(RuntimeError, match="this machine has no path 'avx2'"):
        module.fold(*network, path="avx2")
    with pytest.raises(RuntimeError, match="this machine has no path 'mma'"):
        module.fold(*network, path="mma")


def test_both_networks_agree_with_the_plain_ones(device):
    """Their own check: on random rows, with a limit for each precision."""
    mappings = Mappings(24, 40, seed=0).eval().to("cpu" if device == "emulated" else device)
    for precision in (torch.float32, torch.float16, torch.bfloat16):
        folded = FoldedMappings(mappings, precision)
        assert folded.agrees(mappings)
    with torch.no_grad():  # activations beyond 65504
        mappings.CFM_2Dto3D.input.weight *= 1e5
    assert not FoldedMappings(mappings, torch.float16).agrees(mappings)


def test_a_cpu_needs_no_scratch():
    folded = module.fold(*[to_torch(near_and_far(1), "cpu")[n] for n in NETWORK])
    scratch = module._scratch(folded, 1000, 128, 128, torch.device("cpu"))
    assert [t.numel() for t in scratch] == [0, 0, 1, 0]
