"""CFM's loss against its definition, and its gradient against differences in float64."""

import pytest
import torch

from cmad.nn import cosine_losses
from cmad.nn.mapping import EPS


def rows(seed, n=9, d=6):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def defined(a, b):
    """1 - the mean cosine, in float64, with lengths of at least `EPS`."""
    length = [x.norm(dim=1).clamp_min(EPS) for x in (a, b)]
    return 1 - ((a * b).sum(1) / (length[0] * length[1])).mean()


@pytest.mark.parametrize("short", [(), (0,), (0, 3)])
def test_loss_and_gradient_are_the_definitions(short):
    a, b, c, d = (rows(seed) for seed in range(4))
    a[list(short)] *= 1e-8  # shorter than the least length
    b[2] *= 1e-8
    b[4] = 0
    a.requires_grad_()
    c.requires_grad_()
    loss_2d, loss_3d = cosine_losses(a, c, b, d)
    (2 * loss_2d + 3 * loss_3d).backward()
    for got, loss, observed, factor in ((a, loss_2d, b, 2), (c, loss_3d, d, 3)):
        exact = got.detach().double().requires_grad_()
        want = defined(exact, observed.double())
        (factor * want).backward()
        assert loss.item() == pytest.approx(want.item(), abs=2e-7)  # float32 of about 1
        largest = exact.grad.abs().max(1, keepdim=True).values.clamp_min(1e-12)
        assert float(((got.grad - exact.grad) / largest).abs().max()) < 1e-5


def test_zero_rows_have_a_finite_gradient():
    a = torch.zeros(3, 4, requires_grad=True)
    loss, _ = cosine_losses(a, a, rows(1, 3, 4), rows(2, 3, 4))
    loss.backward()
    assert loss.item() == 1
    assert a.grad.isfinite().all()


def test_half_precision_predictions_get_gradients_of_their_type():
    a = rows(0).bfloat16().requires_grad_()
    loss, _ = cosine_losses(a, a, rows(1), rows(1))
    loss.backward()
    assert loss.dtype == torch.float32
    assert a.grad.dtype == torch.bfloat16
    want = defined(a.detach().double(), rows(1).double())
    assert loss.item() == pytest.approx(want.item(), abs=1e-6)  # float32 of about 1
