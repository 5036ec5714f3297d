"""G2SF's losses, gradients, first step and scores against the published code (semantics F)."""

import numpy as np
import pytest
import torch

from cmad import maps
from cmad.bank import Bank
from cmad.detectors import _g2sf_spaces
from cmad.detectors._g2sf_spaces import Prototypes
from cmad.detectors._memory import Memory
from cmad.nn import g2sf_losses as losses
from cmad.nn import g2sf_pairs
from cmad.nn.folded_lspn import FoldedLSPN
from cmad.nn.g2sf_choices import DIFFERENCES, Published
from cmad.nn.g2sf_training import Objective, Weights, optimisers
from cmad.nn.lspn import LSPN, GlobalScales, Local, directions
from cmad.rasters import Raster, rows
from cmad.types import Features, Window

WEIGHTS = Weights.of(Published.of(DIFFERENCES))
TERMS = {  # published name, its weight
    "separation": ("svdd", 1.0),
    "margin": ("margin", 10.0),
    "consistency": ("const", 40.0),
    "scaling": ("scaling", 3.0),
    "alignment": ("perm", 20.0),
    "l1": ("l1", 5e-4),
}


def floats(array):
    return torch.from_numpy(array.astype(np.float32))


class Batch:
    """The fixture's batch in its local spaces, and the network with the fixture's weights."""

    def __init__(self, arrays, detweights, noise=False):
        self.arrays = arrays
        bank = floats(arrays["bank_img"]), floats(arrays["bank_pcd"])
        feature = floats(arrays["feat"])
        dims = bank[0].shape[1], bank[1].shape[1]
        index = torch.from_numpy(arrays["idx"].astype(np.int64))
        index = torch.stack([index[:, :11], index[:, 20:31]], 2)
        parts = torch.split(feature, list(dims), 1)
        distance = torch.stack(
            [(parts[m][:, None] - bank[m][index[..., m]]).norm(dim=2) for m in range(2)], 2
        )
        self.local = Local(feature, bank, index, distance)
        self.anomalous = torch.from_numpy(arrays["label"] == -1)
        lspn = LSPN(*dims, 0, dropout=0, joint=True)
        detweights.fill(lspn, int(arrays["seed"]), "lspn.")
        np.testing.assert_allclose(detweights.checksum(lspn), arrays["lspn_checksum"])
        scales = GlobalScales(normalised=True)
        scales.load_state_dict({"global_scale": torch.from_numpy(arrays["global_scale"])})
        published = Published.of(d for d in DIFFERENCES if noise or d != "noise")
        usual = torch.from_numpy(arrays["score_mean"])
        self.metric = Objective(lspn, scales, usual, float(arrays["margin"]), published)

    def terms(self):
        generator = torch.Generator().manual_seed(int(self.arrays["noise_torch_seed"]))
        return self.metric.terms(self.local, self.anomalous, WEIGHTS, generator)


@pytest.fixture
def published(each_fixture, detweights, monkeypatch):
    """The batch, and its recorded permutations in place of drawn ones."""
    ((_, arrays),) = each_fixture("g2sf_loss.npz")
    recorded = [torch.from_numpy(arrays[f"perm{i}"].astype(np.int64)) for i in range(4)]
    order = iter(recorded * 4)
    monkeypatch.setattr(g2sf_pairs, "permutation", lambda count, generator: next(order))
    return lambda **how: Batch(arrays, detweights, **how)


def close(got, want, relative=1e-5):
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=relative * np.abs(want).max())


def test_directions_distances_scales_and_metric_are_the_published_ones(published):
    batch = published()
    a, at, lspn = batch.arrays, batch.local, batch.metric.lspn
    prototype = torch.cat([at.rows[m][at.index[:, 0, m]] for m in range(2)], 1)
    towards = directions(at.feature - prototype, lspn.dims, joint=True)
    close(towards[: len(a["direction_head"])], a["direction_head"], 1e-6)
    for branch, given, name in (
        (lspn.residual_transformer, towards, "emb_direction"),
        (lspn.transformer, prototype, "emb_prototype"),
    ):
        close(branch.second(torch.relu(branch.first(given))).detach(), a[name])
    w, s, metric = batch.metric.measure(at)
    close(lspn(towards, prototype).detach(), a["w"], 1e-6)
    # The published distances have 1e-6 added to each difference.
    close(s[:, 0], a["norm_dist"], 2e-6)
    close(s.mean(2), a["dmean_all"], 2e-6)
    close(w.detach(), a["w_all"])
    close(metric.detach(), a["l_all"])
    close(metric[:, 0].detach(), a["pred"])
    close(batch.metric.scales().detach()[None], a["sigma"], 1e-6)


def test_the_scale_of_distances_and_the_bound_are_the_published_ones(published):
    batch = published()
    a, nearest = batch.arrays, batch.local.distance[:, 0]
    close(nearest, a["score0"], 2e-6)
    close(nearest[~batch.anomalous].mean(0), a["score_mean"], 1e-5)
    bound = 2 * (nearest / batch.metric.usual)[batch.anomalous].max()
    np.testing.assert_allclose(float(bound), a["margin"], rtol=1e-6)


def test_every_loss_term_is_the_published_one(published):
    batch = published()
    terms = batch.terms()
    assert list(terms) == list(TERMS)
    for ours, (name, weight) in TERMS.items():
        want = weight * float(batch.arrays[f"loss_{name}"])
        np.testing.assert_allclose(terms[ours].item(), want, rtol=1e-5, err_msg=name)
    total = sum(terms.values()).item()
    np.testing.assert_allclose(total, batch.arrays["loss_total"], rtol=1e-5)


def test_the_parts_of_a_term_are_the_published_ones(published):
    batch = published()
    a = batch.arrays
    _, s, metric = batch.metric.measure(batch.local)
    l0, bound = metric[:, 0], batch.metric.bound
    pairs = [
        (losses.proximal(metric, s, published=True), "const_proximal_broadcast"),
        (losses.proximal(metric, s), "const_proximal_elementwise"),
        (losses.distal(metric), "const_distal"),
        (losses.consistency(metric, s), "const_elementwise"),
        (losses.separation(l0, batch.anomalous, bound, published=True), "svdd_weighted"),
        (
            losses.separation(l0, batch.anomalous, bound, published=True, weighted=False),
            "svdd_unweighted",
        ),
        (losses.margin(l0, batch.anomalous, published=True), "margin_loss"),
    ]
    for got, name in pairs:
        np.testing.assert_allclose(got.item(), a[name], rtol=1e-5, err_msg=name)
    want = float(a["svdd_unweighted"]) + 10 * float(a["margin_loss"])
    assert batch.metric.validation(l0, batch.anomalous, WEIGHTS) == pytest.approx(want, rel=1e-5)


def test_losses_with_noise_are_the_published_ones(published):
    batch = published(noise=True)
    a = batch.arrays
    generator = torch.Generator().manual_seed(int(a["noise_torch_seed"]))
    moved = g2sf_pairs.noisy(batch.local, batch.metric.usual, generator)
    close(moved.feature - batch.local.feature, pad(a["noise_feat_head"], moved, batch), 2e-5)
    terms = batch.terms()
    for ours, (name, weight) in TERMS.items():
        want = weight * float(a[f"noisy_loss_{name}"])
        np.testing.assert_allclose(terms[ours].item(), want, rtol=2e-5, err_msg=name)
    np.testing.assert_allclose(sum(terms.values()).item(), a["noisy_total"], rtol=1e-5)


def pad(head, moved, batch):
    """Take the noise of the rows that are not stored as it is; their lengths are compared."""
    noise = (moved.feature - batch.local.feature).numpy().copy()
    dims = batch.metric.lspn.dims
    for m, part in enumerate(np.split(noise, [dims[0]], 1)):
        want = batch.arrays["noise_norm"][:, m]
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), want, rtol=2e-4)
    noise[: len(head)] = head
    return noise


def test_gradients_and_one_step_are_the_published_ones(published):
    batch = published()
    a, metric = batch.arrays, batch.metric
    before = {n: p.detach().clone() for n, p in metric.lspn.named_parameters()}
    sum(batch.terms().values()).backward()
    # Terms of both signs nearly cancel in it.
    close(metric.scales.global_scale.grad, a["grad_global_scale"], 1e-4)
    for name, parameter in metric.lspn.named_parameters():
        norm = float(parameter.grad.norm())
        np.testing.assert_allclose(norm, float(a[f"gradnorm_{name}"]), rtol=2e-5, err_msg=name)
        stored = a[f"gradsub_{name}"]
        every = max(1, parameter.numel() // 400)
        close(parameter.grad.flatten()[::every], stored, 2e-5)
    for adam in optimisers(metric, WEIGHTS):
        adam.step()
    close(metric.scales.global_scale.detach(), a["adam1_global_scale"], 1e-5)
    for name, parameter in metric.lspn.named_parameters():
        moved = (parameter.detach() - before[name]).flatten()
        stored = a[f"adam1_delta_{name}"]
        every = max(1, parameter.numel() // 200)
        # The difference of two weights: float32 keeps it to 1e-7 of the weights, up to 2e-7 of 1.
        np.testing.assert_allclose(moved[::every], stored, rtol=0, atol=3e-7, err_msg=name)


@pytest.fixture
def scored(each_fixture, detweights):
    """The fixture's scores, and a metric over its banks as published."""
    ((_, arrays),) = each_fixture("g2sf_loss.npz")
    ((_, predicted),) = each_fixture("g2sf_predict.npz")
    batch = Batch(arrays, detweights)
    banks = [Bank(rows) for rows in batch.local.rows]
    usual = arrays["score_mean"].tolist()
    prototypes = {
        m: Prototypes(bank, 0.0, 1.0, one)
        for m, bank, one in zip(("2d", "3d"), banks, usual, strict=True)
    }
    learnt = _g2sf_spaces.Metric(prototypes, batch.metric.lspn, batch.metric.scales)
    return batch, learnt, predicted


def test_neighbours_and_distances_are_the_published_ones(scored):
    batch, learnt, predicted = scored
    parts = torch.split(batch.local.feature, list(batch.metric.lspn.dims), 1)
    for m, name, part in zip(("2d", "3d"), ("img", "pcd"), parts, strict=True):
        distance, index = learnt.prototypes[m].search(part, 11)
        np.testing.assert_array_equal(index[:, :6], predicted[f"knn_{name}"])
        close(distance[:, :6], predicted[f"pairwise_{name}"], 2e-6)
        np.testing.assert_array_equal(index, predicted[f"uni_{name}_anchor"][:, :11])
        # Published as |a|^2 + |b|^2 - 2 a b in float32.
        close(distance[:, 0], predicted[f"uni_{name}_min"], 2e-5)


@pytest.mark.parametrize("budget", [0, 1_000_000, 1 << 30])
def test_scores_are_the_published_ones(scored, budget):
    """Whatever products are kept: none, those of a branch, or all."""
    batch, learnt, predicted = scored
    learnt.folded = FoldedLSPN(batch.metric.lspn.eval(), learnt.folded.rows, budget)
    parts = torch.split(batch.local.feature, list(batch.metric.lspn.dims), 1)
    found = [learnt.prototypes[m].search(p, 6) for m, p in zip(("2d", "3d"), parts, strict=True)]
    distance, index = (torch.stack([f[i] for f in found], 2) for i in range(2))
    inside = torch.from_numpy(~predicted["bg"])
    for _ in range(2):  # the second time from what was kept
        local, w = learnt.measure(batch.local.feature[inside], index, distance, inside)
        close(local, predicted["preds"])
        close(w[:, 0, 0], predicted["w_img"])
        close(w[:, 0, 1], predicted["w_pcd"])
    for ours, published in (
        ("min", "min"),
        ("max", "max"),
        ("mean", "average"),
        ("nearest", "zero"),
    ):
        close(_g2sf_spaces.aggregated(local, ours), predicted[f"pred_{published}"])
    everywhere = torch.ones_like(inside)
    local, _ = learnt.measure(batch.local.feature, index, distance, everywhere)
    close(_g2sf_spaces.aggregated(local, "min"), predicted["pred_nobg"])


def test_unimodal_image_scores_are_the_published_ones(scored):
    batch, learnt, predicted = scored
    parts = torch.split(batch.local.feature, list(batch.metric.lspn.dims), 1)
    for m, name, part in zip(("2d", "3d"), ("img", "pcd"), parts, strict=True):
        memory = Memory(learnt.prototypes[m].bank, 1.0, 1.0)
        score = memory.image_score(part, *memory.nearest(part), guard=1e-5)
        np.testing.assert_allclose(score, predicted[f"uni_{name}_s"], rtol=1e-5)


def test_the_map_of_the_cells_is_the_published_one(scored):
    _, _, predicted = scored
    cells = maps.enlarged(torch.from_numpy(predicted["post_in"]).view(56, 56), 224)
    map_ = maps.smoothed(cells, maps.Scaling(eight_bits=True)).numpy()
    want = predicted["post_out"]
    # 256 levels: where rounding crosses one, the blur carries part of it.
    np.testing.assert_allclose(map_, want, atol=1.01 * want.max() / 255)
    assert (np.abs(map_ - want) > 1e-4 * want.max()).mean() < 0.02


def test_an_image_cell_is_the_token_that_it_lies_in_as_published(scored):
    _, _, predicted = scored
    tokens = torch.from_numpy(predicted["interp28"]).view(28, 28, -1)
    features = Features({"rgb": tokens}, {}, None, 224, Window(224, 0, 0, 224, 224))
    found = rows(features, Raster(56, nearest=True))["2d"]
    np.testing.assert_array_equal(found, predicted["interp56"])
