"""G2SF's losses by hand, as the paper writes them and as published; negatives and noise."""

import math

import pytest
import torch

from cmad.nn import g2sf_losses as losses
from cmad.nn.g2sf_choices import DIFFERENCES, Published
from cmad.nn.g2sf_pairs import negatives, noisy
from cmad.nn.g2sf_training import Objective, Weights
from cmad.nn.lspn import LSPN, GlobalScales, Local

L0 = torch.tensor([0.5, 2.0, 1.0, 4.0])
ANOMALOUS = torch.tensor([False, False, True, True])


def test_separation_by_hand():
    """Equation 4: 0.5 and 2 of the normal ones; of the others 1/1 - 1/3, and 1/4 - 1/3, which is
    below 0."""
    want = (0.5 + 2 + (1 - 1 / 3)) / 4
    assert float(losses.separation(L0, ANOMALOUS, 3.0)) == pytest.approx(want)


def test_separation_as_published_by_hand():
    """Of squares 0.25, 4, 1, 16, each weighted by its square (of the inverse where anomalous)."""
    plain = [0.25, 4.0, 1 / (1 + 1e-5) - 1 / 8, 0.0]
    weight = [0.33, 3.0, 1 / (1 + 1e-5) ** 2, 1.0]
    got = losses.separation(L0, ANOMALOUS, 8.0, published=True)
    assert float(got) == pytest.approx(sum(p * w for p, w in zip(plain, weight, strict=True)) / 4)
    unweighted = losses.separation(L0, ANOMALOUS, 8.0, published=True, weighted=False)
    assert float(unweighted) == pytest.approx(sum(plain) / 4)


def test_margin_by_hand():
    """Equation 5: m_l is 1, m_u is 2; the normal 2 is 1 above m_l, the anomalous 1 is 1 below."""
    assert float(losses.margin(L0, ANOMALOUS)) == pytest.approx((1 + 1) / 2 / 4)
    squared = (4 - 1 + 4 - 1) / 4 / 4
    assert float(losses.margin(L0, ANOMALOUS, published=True)) == pytest.approx(squared)
    assert float(losses.margin(torch.tensor([1.0, 2.0]), torch.tensor([False, True]))) == 0
    for one_class in (torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)):
        assert float(losses.margin(L0, one_class)) == 0


def test_consistency_by_hand():
    """Equation 6 with k = 1: eta is 1.2 * 3 / 2 = 1.8, so that l_1 = 4 is 0.4 above 1.8 * 2."""
    metric = torch.tensor([[2.0, 4.0, 1.5], [1.0, 0.5, 3.0]])
    distance = torch.tensor([[[1.0, 1.0], [1.0, 2.0], [9.0, 9.0]], [[1.0, 0.0]] * 3])
    assert float(losses.proximal(metric, distance)) == pytest.approx(0.4 / 2)
    assert float(losses.distal(metric)) == pytest.approx(0.5 / 2)
    assert float(losses.consistency(metric, distance)) == pytest.approx(0.9 / 2)
    # Published: the ratios 1.8 and 1.2 meet both samples.
    pairs = [4 - 1.8 * 2, 4 - 1.2 * 2, max(0, 0.5 - 1.8), max(0, 0.5 - 1.2)]
    got = losses.proximal(metric, distance, published=True)
    assert float(got) == pytest.approx(sum(pairs) / 4)


def test_the_published_consistency_is_that_of_all_pairs():
    g = torch.Generator().manual_seed(0)
    metric = torch.rand(300, 11, generator=g).requires_grad_()
    distance = torch.rand(300, 11, 2, generator=g) + 0.2
    distance[7, 0] = 0
    got = losses.proximal(metric, distance, published=True)
    (ours,) = torch.autograd.grad(got, metric)
    both = distance.sum(2)
    want = torch.zeros(())
    for j in range(1, 6):
        eta = 1.2 * (both[:, j] / both[:, 0])[both[:, 0] > 0]
        want = want + (metric[:, j, None] - eta * metric[:, :1]).relu().mean() / 5
    (theirs,) = torch.autograd.grad(want, metric)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=0)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_a_feature_that_is_its_own_prototype_asks_for_no_consistency():
    metric = torch.tensor([[0.0, 2.0, 3.0]], requires_grad=True)
    distance = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]])
    for published in (False, True):
        loss = losses.consistency(metric, distance, published=published)
        assert float(loss.detach()) == 0
        (gradient,) = torch.autograd.grad(loss, metric)
        assert gradient.isfinite().all()


def test_scaling_by_hand():
    """Equation 7: normal scales above 1 are pressed down, anomalous ones drawn to e."""
    w0 = torch.tensor([[1.5, 0.5], [2.0, 0.9], [1.0, 2.0]])
    anomalous = torch.tensor([False, False, True])
    down, up = [0.5, 0, 1, 0], [math.e - 1, math.e - 2]
    got = losses.scaling(w0, anomalous)
    assert float(got) == pytest.approx((sum(down) + sum(up)) / 3)
    published = losses.scaling(w0, anomalous, published=True)
    assert float(published) == pytest.approx(sum(down) / 4 + sum(up) / 2)
    alone = losses.scaling(w0[:2], anomalous[:2], published=True)
    assert float(alone) == pytest.approx(sum(down) / 4)


def test_alignment_and_l1_by_hand():
    w = torch.tensor([[1.0, 2.0], [2.0, 2.5]])
    beside = [math.e - x for x in (1, 2, 2, 2.5)]
    assert float(losses.alignment(w)) == pytest.approx(sum(beside) / 2)
    assert float(losses.alignment(w, published=True)) == pytest.approx(sum(beside) / 4)
    assert float(losses.l1([torch.tensor([1.0, -2.0]), torch.tensor([[-3.0]])])) == 6


def at(count=8, dims=(3, 4)):
    g = torch.Generator().manual_seed(0)
    rows = tuple(torch.randn(count, d, generator=g) for d in dims)
    index = torch.stack([torch.randperm(count, generator=g) for _ in range(6)], 1).view(-1, 3, 2)
    feature = torch.randn(count, sum(dims), generator=g)
    parts = torch.split(feature, list(dims), 1)
    distance = [(parts[m][:, None] - rows[m][index[..., m]]).norm(dim=2) for m in range(2)]
    return Local(feature, rows, index, torch.stack(distance, 2))


def pairs(local, dims=(3, 4)):
    """Prototype and difference of each modality, in the nearest local space."""
    parts = torch.split(local.feature, list(dims), 1)
    near = [local.rows[m][local.index[:, 0, m]] for m in range(2)]
    return near, [p - n for p, n in zip(parts, near, strict=True)]


def of_whom(some, everything):
    """Which row of the other array each row is."""
    return torch.cdist(some, everything).argmin(1).tolist()


def test_negatives_take_feature_or_prototype_of_one_modality_from_another_sample():
    """Equation 8: half of the batch each, and either modality as often."""
    local = at(200)
    made = negatives(local, torch.Generator().manual_seed(1))
    g = torch.Generator().manual_seed(1)
    other, drawn = torch.randperm(200, generator=g), torch.randint(2, (200,), generator=g)
    parts, parts_made = (torch.split(x.feature, [3, 4], 1) for x in (local, made))
    near, near_made = pairs(local)[0], pairs(made)[0]
    first = torch.arange(200) < 100
    for m in range(2):
        mine, here = drawn == m, torch.arange(200)
        assert 40 < int((mine & first).sum()) < 60
        of_features = torch.where(first & mine, other, here)
        assert of_whom(parts_made[m], parts[m]) == of_features.tolist()
        of_prototypes = torch.where(~first & mine, other, here)
        assert of_whom(near_made[m], near[m]) == of_prototypes.tolist()
    torch.testing.assert_close(made.distance[:, 0], lengths_of(pairs(made)[1]))
    assert made.index.shape == (200, 1, 2)


def test_published_negatives_permute_both_modalities():
    local = at()
    g = torch.Generator().manual_seed(1)
    orders = [torch.randperm(4, generator=g).tolist() for _ in range(4)]
    made = negatives(local, torch.Generator().manual_seed(1), published=True)
    parts, parts_made = (torch.split(x.feature, [3, 4], 1) for x in (local, made))
    near, near_made = pairs(local)[0], pairs(made)[0]
    for m in range(2):
        assert of_whom(parts_made[m], parts[m]) == [*orders[m], 4, 5, 6, 7]
        assert of_whom(near_made[m], near[m]) == [0, 1, 2, 3, *(4 + i for i in orders[2 + m])]
    torch.testing.assert_close(made.distance[:, 0], lengths_of(pairs(made)[1]))


def lengths_of(offset):
    return torch.stack([o.norm(dim=1) for o in offset], 1)


def test_noise_moves_features_and_nearest_prototypes_by_a_tenth_at_most():
    local, usual = at(), torch.tensor([2.0, 30.0])
    moved = noisy(local, usual, torch.Generator().manual_seed(1))
    shift = torch.split(moved.feature - local.feature, [3, 4], 1)
    for m in range(2):
        before, after = (x.rows[m][x.index[..., m]] for x in (local, moved))
        assert torch.equal(before[:, 1:], after[:, 1:])
        for by in (shift[m], after[:, 0] - before[:, 0]):
            assert (by > -1e-6).all()
            assert (by.norm(dim=1) <= 0.1 * usual[m]).all()
            assert by.norm(dim=1).max() > 0.05 * usual[m]
        parts = torch.split(moved.feature, [3, 4], 1)[m]
        want = (parts[:, None] - after).norm(dim=2)
        torch.testing.assert_close(moved.distance[..., m], want)
    assert torch.equal(local.index, at().index)


def test_the_overall_loss_adds_the_terms_with_the_papers_weights_or_the_published_ones():
    """Equation 10, with alpha = 10, beta = 60, gamma = 8, mu = 20."""
    local, anomalous = at(), torch.arange(8) % 2 == 0
    lspn, scales = LSPN(3, 4, 0, dropout=0), GlobalScales()
    usual = torch.tensor([1.5, 2.0])
    objective = Objective(lspn, scales, usual, 4.0, Published())
    terms = objective.terms(local, anomalous, Weights(), torch.Generator().manual_seed(1))
    w, s, metric = objective.measure(local)
    torch.testing.assert_close(s, local.distance / usual)
    apart = lspn.local(negatives(local, torch.Generator().manual_seed(1)))[:, 0]
    want = {
        "separation": losses.separation(metric[:, 0], anomalous, 4.0),
        "margin": 10 * losses.margin(metric[:, 0], anomalous),
        "consistency": 60 * losses.consistency(metric, s),
        "scaling": 8 * losses.scaling(w[:, 0], anomalous),
        "alignment": 20 * losses.alignment(apart),
        "l1": 1e-4 * losses.l1([p for n, p in lspn.named_parameters() if n.endswith("weight")]),
    }
    assert list(terms) == list(want)
    for name, term in want.items():
        torch.testing.assert_close(terms[name], term, msg=name)
    checked = objective.validation(metric[:, 0], anomalous, Weights())
    assert checked == pytest.approx((want["separation"] + want["margin"]).item())


def test_the_published_code_has_other_weights():
    assert Weights.of(Published()) == Weights(10, 60, 8, 20, 1e-4, 1.5e-4)
    assert Weights.of(Published.of(DIFFERENCES)) == Weights(10, 40, 3, 20, 5e-4, 1e-4)
    assert Weights.of(Published(gamma=True)) == Weights(10, 60, 3, 20, 1e-4, 1.5e-4)


def test_the_alignment_grows_to_its_weight_unless_as_published():
    whole = Weights()
    grown = [whole.during(epoch, Published()).mu for epoch in (0, 1, 5, 10, 79)]
    assert grown == [0.0, 2.0, 10.0, 20.0, 20.0]
    assert whole.during(0, Published(at_once=True)) == whole
    assert whole.during(10, Published()) == whole
