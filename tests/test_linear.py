"""Products by oneDNN: the same numbers but for rounding, and no setting of the program's."""

import pytest
import torch

from cmad import linear as module
from cmad.linear import by_onednn, linear


@pytest.fixture(autouse=True)
def afresh():
    by_onednn.cache_clear()
    yield
    by_onednn.cache_clear()


@pytest.fixture
def called(monkeypatch):
    """oneDNN is taken, whatever the processor; counts its calls."""
    calls, real = [], module._ONEDNN
    monkeypatch.setattr(module, "by_onednn", lambda: True)
    monkeypatch.setattr(module, "_ONEDNN", lambda *a: calls.append(1) or real(*a))
    return calls


def drawn(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.mark.parametrize("shape", [(5, 64), (2, 7, 64), (0, 64)])
@pytest.mark.parametrize("biased", [True, False])
def test_onednn_gives_the_numbers_of_float32(called, shape, biased):
    x, weight, bias = drawn(*shape), drawn(96, 64), drawn(96) if biased else None
    before = torch.get_float32_matmul_precision(), torch.get_num_threads()
    with torch.inference_mode():
        got = linear(x, weight, bias)
    assert called == [1]
    want = x.double() @ weight.double().T + (0 if bias is None else bias.double())
    torch.testing.assert_close(got.double(), want, rtol=0, atol=2e-5)
    assert (torch.get_float32_matmul_precision(), torch.get_num_threads()) == before


def test_what_onednn_is_not_asked_for(called):
    x, weight = drawn(5, 64), drawn(96, 64)
    for half in (torch.bfloat16, torch.float64):
        assert linear(x.to(half), weight.to(half), None).dtype == half
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight, None).dtype == torch.bfloat16
    linear(x, weight.requires_grad_(), None).sum().backward()
    assert weight.grad is not None
    assert called == []


@pytest.mark.parametrize(
    ("capability", "vendor", "want"),
    [
        ("AVX512", "AuthenticAMD", True),
        ("AVX512", "GenuineIntel", False),
        ("AVX2", "AuthenticAMD", False),
        ("DEFAULT", "", False),
    ],
)
def test_the_processor_decides(monkeypatch, capability, vendor, want):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(module, "_vendor", lambda: vendor)
    assert by_onednn() == want
