"""M3DM: what its banks hold, how they are fused, weighed and scaled, its presets."""

import numpy as np
import pytest
import torch

import cmad
from cmad.checkpoint import Checkpoint
from cmad.detectors._m3dm_learning import decision, train
from cmad.detectors.m3dm import BANKS, WEIGHED
from cmad.maps import enlarged
from cmad.nn.fusion import FeatureFusion, learning_rate
from cmad.rasters import Raster, foreground, rows
from cmad.store import FeatureStore

SMALL = {"image_size": 48, "cells_2d": 12, "cells_3d": 16, "fraction": 0.3}
QUICK = {"epochs": 2, "batch_size": 2, "patches_per_part": 40, "progress": False}


@pytest.fixture(scope="module")
def built(make):
    return lambda **options: cmad.M3DM(
        rgb=make["vit"](), xyz=make["point_mae"](), **{**SMALL, **options}
    )


@pytest.fixture(scope="module")
def fitted(built, parts):
    return built().fit(parts, **QUICK)


@pytest.fixture(scope="module")
def official(make, parts):
    points = make["point_mae"]()
    points.network.norm.bias.data.fill_(0.1)  # without, the mean of all channels is 0
    detector = cmad.M3DM(rgb=make["vit"](), xyz=points, preset="official", **SMALL)
    return detector.fit(parts, **QUICK)


def features_of(detector, part):
    [features] = detector.pipeline.features([detector.pipeline.frame(part)])
    return features


def nearest(detector, features, bank):
    """Distances of a bank's patches to its nearest rows, and their cells, in float64."""
    patch, cell = detector.patches(features, bank, detector.state.fusion)
    found = torch.cdist(patch.double(), detector.state.memory[bank].bank.rows.double())
    return found.min(1).values, cell


def test_a_fused_row_is_the_mapped_shape_before_the_mapped_colour_of_the_cell(fitted, parts):
    features = features_of(fitted, parts[0])
    raster = Raster(16, nearest=True)
    cell = foreground(features, raster)
    both = rows(features, raster, cell)
    patch, at = fitted.patches(features, "fused", fitted.state.fusion)
    assert torch.equal(at, cell)
    with torch.no_grad():
        want = fitted.state.fusion(both["3d"], both["2d"])
    torch.testing.assert_close(patch, want, rtol=0, atol=0)
    plain, _ = fitted.patches(features, "fused", None)
    assert torch.equal(plain, torch.cat([both["3d"], both["2d"]], 1))


def test_the_colour_bank_looks_at_the_whole_image_the_others_at_the_part(fitted, official, parts):
    features = features_of(fitted, parts[0])
    cells = {m: len(fitted.patches(features, m, None)[1]) for m in BANKS}
    assert cells["2d"] == 12 * 12
    assert cells["3d"] == cells["fused"] == len(foreground(features, Raster(16))) < 256
    features = features_of(official, parts[0])
    cells = {m: len(official.patches(features, m, None)[1]) for m in BANKS}
    assert cells == {"3d": 256, "2d": 144, "fused": 256}


def test_maps_are_distances_in_usual_ones_and_layers_weigh_them(fitted, make):
    features = features_of(fitted, make["part"](31, "dent"))
    grid = fitted.maps(features)
    assert list(grid.maps) == ["2d", "3d", "fused"]
    raw = 0.0
    for m, weight in zip(BANKS, fitted.layers[1].tolist(), strict=True):
        memory = fitted.state.memory[m]
        distance, cell = nearest(fitted, features, m)
        side = 12 if m == "2d" else 16
        values = torch.zeros(side * side, dtype=torch.float64)
        values[cell] = distance / memory.deviation / memory.usual
        want = enlarged(values.view(side, side).float(), 48).numpy()
        np.testing.assert_allclose(grid.maps[m], want, rtol=1e-4, atol=1e-4)
        raw = raw + weight * want
    np.testing.assert_allclose(grid.raw, raw, rtol=1e-4, atol=1e-4)
    scores = [
        fitted.state.memory[m].image_score(
            patch := fitted.patches(features, m, fitted.state.fusion)[0],
            *fitted.state.memory[m].nearest(patch),
        )
        / fitted.state.memory[m].usual
        for m in BANKS
    ]
    want = float(fitted.layers[0] @ torch.tensor(scores, dtype=torch.float64))
    assert grid.score == pytest.approx(want, rel=1e-6)


def test_layers_are_learnt_from_the_parts_scores_and_from_all_their_pixels(fitted, parts):
    scores, pixels = [], []
    for part in parts:
        grid_scores, smooth, _ = fitted._distances(features_of(fitted, part), fitted.state)
        scores.append(grid_scores)
        pixels.append(smooth.flatten(1).T)
    # The store keeps halves, so its features differ in the fourth digit.
    torch.testing.assert_close(fitted.layers[0], decision(torch.tensor(scores)), rtol=0.02, atol=0)
    torch.testing.assert_close(fitted.layers[1], decision(torch.cat(pixels)), rtol=0.02, atol=0)
    assert (fitted.layers > 0).all()
    assert not torch.allclose(fitted.layers[0], fitted.layers[1], rtol=0.05)


def test_without_layers_the_banks_are_added(built, parts):
    detector = built(decision="sum", use_uff=False).fit(parts, **QUICK)
    assert torch.equal(detector.layers, torch.ones(2, 3, dtype=torch.float64))
    assert detector.losses == []
    assert not any(name.startswith("fusion.") for name in detector.tensors())
    grid = detector.maps(features_of(detector, parts[0]))
    np.testing.assert_allclose(grid.raw, sum(grid.maps.values()), rtol=1e-5, atol=1e-6)


def test_the_official_banks_share_one_scale_and_the_shapes_has_its_mean(official, parts):
    with FeatureStore() as store:
        for part in parts:
            store.append(features_of(official, part))
        shape = torch.cat([official.patches(store[i], "3d", None)[0] for i in range(len(store))])
        colour = torch.cat([official.patches(store[i], "2d", None)[0] for i in range(len(store))])
    memory = official.state.memory
    assert len(memory["3d"].bank) == int(0.3 * len(shape)) + 1
    assert (
        len(memory["2d"].bank)
        == len(memory["fused"].bank)
        == int(0.3 * (len(memory["3d"].bank) - 1))
    )
    last = memory["3d"].bank.rows[-1]
    assert shape.mean() > 0.001
    torch.testing.assert_close(last, torch.full_like(last, shape.mean().item()), rtol=1e-4, atol=0)
    deviation = float(colour.double().std(correction=0))
    for m in BANKS:
        assert memory[m].deviation == pytest.approx(deviation, rel=1e-6)
        assert memory[m].usual == 1


def test_officially_colour_counts_a_tenth_before_it_is_weighed(official, parts):
    features = features_of(official, parts[0])
    grid = official.maps(features)
    want = sum(
        w * before * grid.maps[m]
        for m, w, before in zip(BANKS, official.layers[1].tolist(), WEIGHED, strict=True)
    )
    assert WEIGHED == (1.0, 0.1, 1.0)
    np.testing.assert_allclose(grid.raw, want, rtol=1e-5, atol=1e-6)


def test_training_makes_patches_find_each_other_and_goes_by_the_schedule(parts, fitted):
    with FeatureStore(torch.float32) as store:
        for part in parts:
            store.append(features_of(fitted, part))
        dims = fitted.pipeline.dims()
        fusion = FeatureFusion(dims["2d"], dims["3d"], 0)
        pair = [torch.cat(of) for of in zip(*(fitted.pairs(f) for f in store), strict=True)]
        before = fusion.loss(*pair).item()
        losses, curves = train(
            fusion,
            store,
            fitted.pairs,
            epochs=8,
            batch_size=3,
            patches_per_part=60,
            rate=0.003,
            seed=0,
            step=lambda note="": None,
        )
        assert fusion.loss(*pair).item() < before - 0.1
        assert len(losses) == 8 * 2  # six parts, three at a time
        assert curves["loss"] == pytest.approx(
            [sum(x for (x,) in losses[i : i + 2]) / 2 for i in range(0, 16, 2)]
        )
    rates = [learning_rate(2.0, done, 3) for done in (0, 0.5, 1, 2, 3)]
    assert rates == pytest.approx([0, 1, 2, 1, 0])
    assert learning_rate(2.0, 1.0, 1) == 2


def test_the_fusion_is_trained_by_the_published_optimiser(parts, fitted, monkeypatch):
    asked = []

    def adam(parameters, *, right=torch.optim.AdamW, **given):
        asked.append(given)
        return right(parameters, **given)

    with FeatureStore(torch.float32) as store:
        store.append(features_of(fitted, parts[0]))
        monkeypatch.setattr(torch.optim, "AdamW", adam)
        fitted.learn(store, cmad.M3DM.Training(epochs=1), False, Checkpoint())
    assert asked == [{"lr": 0.003, "betas": (0.9, 0.95), "weight_decay": 1.5e-6}]


def test_the_loss_is_twice_the_cross_entropy_of_the_cosines():
    fusion, g = FeatureFusion(4, 6, 0), torch.Generator().manual_seed(0)
    xyz, rgb = torch.randn(5, 6, generator=g), torch.randn(5, 4, generator=g)
    mapped = fusion(xyz, rgb)
    key, query = fusion.xyz_head(mapped[:, :6]), fusion.rgb_head(mapped[:, 6:])
    cosine = torch.cosine_similarity(query[:, None], key[None], dim=2)
    want = -2 * (cosine.diag() - cosine.exp().sum(1).log()).mean()
    torch.testing.assert_close(fusion.loss(xyz, rgb), want)


def test_patches_without_shape_are_no_pairs():
    fusion, g = FeatureFusion(4, 6, 0), torch.Generator().manual_seed(0)
    xyz, rgb = torch.randn(5, 6, generator=g), torch.randn(5, 4, generator=g)
    xyz[2, 3] = 0
    kept = torch.tensor([0, 1, 3, 4])
    assert fusion.loss(xyz, rgb).item() == fusion.loss(xyz[kept], rgb[kept]).item()
    assert fusion.loss(torch.zeros(3, 6), rgb[:3]).item() == 0


def test_weights_are_never_negative_also_of_one_part_or_a_bank_without_distance():
    assert (decision(torch.tensor([[3.0, 0.0, 1.0]])) >= 0).all()
    of_two = decision(torch.tensor([[3.0, 0.0, 1.0], [2.0, 0.0, 9.0]]))
    assert of_two[1] == 0
    assert (of_two[[0, 2]] > 0).all()


def test_wrong_options_and_a_fusion_of_other_widths_are_named(built, fitted):
    for options, said in (
        ({"decision": "vote"}, "M3DM: decision must be one of 'svm', 'sum', got 'vote'"),
        ({"use_uff": "yes"}, "M3DM: use_uff must be one of True, False, got 'yes'"),
        ({"fraction": 2}, r"M3DM: fraction must be in \(0, 1\], got 2"),
        ({"cells_3d": 0}, "M3DM: cells_3d must be a whole number from 1, got 0"),
    ):
        with pytest.raises(ValueError, match=said):
            built(**options)
    tensors = fitted.tensors()
    tensors["fusion.rgb_head.weight"] = torch.zeros(3, 3)
    with pytest.raises(ValueError, match="M3DM: the fusion must fit features"):
        built().take(tensors)
