"""G2SF's network: definition, local spaces, folded form, directions, dropout, scales."""

import math
from dataclasses import replace

import pytest
import torch

from cmad.nn.folded_lspn import FoldedLSPN
from cmad.nn.lspn import LSPN, GlobalScales, Local, directions, lengths, metric

DIMS = (6, 9)


def batch(seed=0, count=20, ranks=4):
    """Features and prototypes, one of which is the feature itself."""
    g = torch.Generator().manual_seed(seed)
    rows = tuple(torch.randn(11, d, generator=g) for d in DIMS)
    feature = torch.randn(count, sum(DIMS), generator=g)
    index = torch.randint(0, 11, (count, ranks, 2), generator=g)
    feature[0, : DIMS[0]] = rows[0][index[0, 0, 0]]
    parts = torch.split(feature, list(DIMS), 1)
    distance = [(parts[m][:, None] - rows[m][index[..., m]]).norm(dim=2) for m in range(2)]
    return Local(feature, rows, index, torch.stack(distance, 2))


def pair_by_pair(lspn, at):
    """What the paper writes: every pair's prototypes and directions through the network."""
    found = []
    for j in range(at.index.shape[1]):
        prototype = torch.cat([at.rows[m][at.index[:, j, m]] for m in range(2)], 1)
        towards = directions(at.feature - prototype, lspn.dims, lspn.joint)
        found.append(lspn(towards, prototype))
    return torch.stack(found, 1)


@pytest.mark.parametrize("joint", [False, True])
def test_local_spaces_give_what_every_pair_by_itself_gives(joint):
    lspn, at = LSPN(*DIMS, 3, joint=joint).eval(), batch()
    want = pair_by_pair(lspn, at)
    torch.testing.assert_close(lspn.local(at), want, atol=2e-6, rtol=0)
    assert want.shape == (20, 4, 2)
    assert (want > 1 / math.e).all()
    assert (want < math.e).all()
    assert want.std() > 1e-3


@pytest.mark.parametrize("joint", [False, True])
def test_gradients_in_local_spaces_are_those_of_every_pair(joint):
    lspn, at = LSPN(*DIMS, 3, joint=joint).eval(), batch()
    weight = torch.randn(20, 4, 2, generator=torch.Generator().manual_seed(1))
    found = []
    for w in (lspn.local(at), pair_by_pair(lspn, at)):
        lspn.zero_grad()
        (w * weight).sum().backward()
        found.append([p.grad.clone() for p in lspn.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("kept", [0, 1, 2])
def test_the_folded_network_is_the_same_whatever_is_kept(joint, kept):
    lspn, at = LSPN(*DIMS, 3, joint=joint).eval(), batch(count=1500)
    at = replace(at, index=1 + at.index % 4 * 2)  # not every row occurs
    folded = FoldedLSPN(lspn, at.rows, budget=kept * 22 * 512 * 4)
    want = lspn.local(at).detach()
    for _ in range(2):
        got = folded(at.feature, at.index, at.distance)
        torch.testing.assert_close(got, want, atol=2e-6, rtol=0)
    assert len(folded._kept) == 2 * kept
    none = folded(at.feature[:0], at.index[:0], at.distance[:0])
    assert none.shape == (0, 4, 2)


def test_directions_have_length_one_each_or_five_together_and_are_none_at_distance_zero():
    difference = torch.tensor([[3.0, 4.0, 0.0, 12.0], [0.0, 0.0, 0.0, 2.0], [0.0] * 4])
    each = directions(difference, (2, 2), joint=False)
    torch.testing.assert_close(each[0], torch.tensor([0.6, 0.8, 0.0, 1.0]))
    assert each[1].tolist() == [0, 0, 0, 1]
    assert each[2].tolist() == [0] * 4
    both = directions(difference, (2, 2), joint=True)
    torch.testing.assert_close(both[0], difference[0] * 5 / 13)
    assert both[2].tolist() == [0] * 4
    near = lengths(torch.tensor([[1e-4, 0.0]]), joint=True)
    assert near[0].tolist() == pytest.approx([5000, 5000])  # 5 / 1e-3


def test_the_network_has_the_published_size_and_names():
    lspn = LSPN(768, 1152, 0)
    assert sum(p.numel() for p in lspn.parameters()) == 2_164_738
    assert list(lspn.state_dict())[:2] == [
        f"residual_transformer.network.0.linear.{kind}" for kind in ("weight", "bias")
    ]
    assert {n.split(".")[1] for n in lspn.state_dict() if n.startswith("reg")} == {"0", "3"}


def test_scales_are_near_one_at_first():
    """On which the paper rests: the metric begins as the Euclidean one."""
    w = LSPN(*DIMS, 0).eval().local(batch())
    assert (w - 1).abs().max() < 0.3


def test_dropout_drops_its_share_in_training_only_and_from_its_own_seed():
    ones = torch.ones(200, 517)
    for share in (0.5, 0.25):
        lspn = LSPN(*DIMS, 3, dropout=share)
        dropped = lspn._dropped(ones)
        assert float((dropped == 0).float().mean()) == pytest.approx(share, abs=0.01)
        assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - share)])
        assert torch.equal(lspn.eval()._dropped(ones), ones)
    before = torch.random.get_rng_state()
    one, same, other = (LSPN(*DIMS, seed).local(batch()) for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)
    again = LSPN(*DIMS, 3)
    assert not torch.equal(again.local(batch()), again.local(batch()))


def test_global_scales_are_free_and_positive_or_sum_to_one():
    free, normalised = GlobalScales(), GlobalScales(normalised=True)
    for scales in (free, normalised):
        assert scales().tolist() == [0.5, 0.5]
        with torch.no_grad():
            scales.global_scale.copy_(torch.tensor([[-2.0], [1.0]]))
    assert free().tolist() == pytest.approx([math.exp(-2) / 2, math.e / 2])
    half = [(math.tanh(-2) + 1) / 2, (math.tanh(1) + 1) / 2]
    assert normalised().tolist() == pytest.approx([h / sum(half) for h in half])


def test_the_metric_is_the_weighted_sum_of_the_distances():
    w, s = torch.tensor([[2.0, 0.5]]), torch.tensor([[3.0, 4.0]])
    assert metric(w, torch.tensor([0.5, 0.25]), s).tolist() == [2 * 3 * 0.5 + 0.5 * 4 * 0.25]
