"""G2SF: what its banks, metric and maps are made of, the presets' differences, and bad input."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import cmad
from cmad.bank import Bank
from cmad.checkpoint import Checkpoint
from cmad.detectors import _g2sf_learning as learning
from cmad.detectors._g2sf_spaces import Prototypes, aggregated
from cmad.maps import Scaling, enlarged, smoothed
from cmad.nn.g2sf_choices import DIFFERENCES, Published
from cmad.nn.lspn import directions
from cmad.store import FeatureStore
from cmad.types import Features, Points, Window

QUICK = {"epochs": 2, "batch_size": 16, "synthetic_parts": 4}


@pytest.fixture
def build(make):
    def built(**options):
        given = {"image_size": 8, "cells": 4, "fraction": 1.0, "neighbours": 2, **options}
        return cmad.G2SF(rgb=make["vit"](), xyz=make["point_mae"](), **given)

    return built


def frame(seed, defect=False, tokens=4, size=8):
    """Features of a part whose points fill rows 2 to 5 and columns 2 to 6 of 8 x 8."""
    g = torch.Generator().manual_seed(seed)
    valid = torch.zeros(size, size, dtype=torch.bool)
    valid[2:6, 2:7] = True
    n = int(valid.sum())
    rgb = torch.rand(tokens, tokens, 32, generator=g)
    points = torch.rand(n, 12, generator=g) + 1
    mask = torch.zeros(size, size, dtype=torch.bool)
    if defect:
        mask[2:4, 2:4] = True
        rgb[1, 1] += 2
        points[:2] += 3
    made = Points(points, torch.arange(n)[:, None], torch.ones(n, 1))
    window = Window(size, 0, 0, size, size)
    return Features(
        {"rgb": rgb}, {"xyz": made}, valid, size, window, "frame", defect=mask if defect else None
    )


def stored(good=3, defective=8, change=lambda features: features, **how):
    store = FeatureStore(torch.float32)
    for seed in range(good):
        store.append(change(frame(seed, **how)))
    for seed in range(100, 100 + defective):
        source = (seed - 100) % good
        store.append(change(replace(frame(seed, True, **how), source=source)))
    return store


def learnt(detector, store=None, **how):
    asked = detector.Training(**{**QUICK, **how})
    made = detector.learn(stored() if store is None else store, asked, False, Checkpoint())
    detector._accept(made.tensors)
    detector.losses = list(made.losses)
    return detector


def test_a_cell_is_measured_as_the_paper_writes(build):
    """Equations 1 to 3, cell by cell, neighbours by brute force."""
    detector = learnt(build())
    local, w, distance = detector.measured(frame(50))
    assert local.shape == (16, 3)
    metric = detector.metric
    e = {m: detector.bank_rows(frame(50), m) for m in ("2d", "3d")}
    inside = [5, 6, 7, 9, 10, 11]  # cells of 2 x 2 pixels with a point
    e["2d"] = e["2d"][inside]
    f = {m: (e[m] - metric.prototypes[m].centre) / metric.prototypes[m].deviation for m in e}
    order = {m: torch.cdist(f[m], metric.prototypes[m].bank.rows).argsort(1) for m in f}
    for j in range(3):
        near = {m: metric.prototypes[m].bank.rows[order[m][:, j]] for m in f}
        away = {m: f[m] - near[m] for m in f}
        s = torch.stack([away[m].norm(dim=1) / metric.prototypes[m].usual for m in ("2d", "3d")], 1)
        towards = directions(torch.cat([away["2d"], away["3d"]], 1), (32, 12), False)
        want_w = metric.lspn(towards, torch.cat([near["2d"], near["3d"]], 1)).detach()
        want = (want_w * metric.scales().detach() * s).sum(1)
        torch.testing.assert_close(w[inside, j], want_w, atol=1e-5, rtol=0)
        torch.testing.assert_close(distance[inside, j], s, atol=1e-5, rtol=0)
        torch.testing.assert_close(local[inside, j], want, atol=1e-5, rtol=0)


def test_beside_the_foreground_scales_are_one_and_only_the_image_counts(build):
    """Supplement B-B; as published the bank of points has rows of the background."""
    outside = [c for c in range(16) if c not in (5, 6, 7, 9, 10, 11)]
    for published in ("none", "bank"):
        detector = learnt(build(published=published))
        local, w, distance = detector.measured(frame(50))
        assert (w[outside] == 1).all()
        # The smoothing reaches cells beside the foreground, which as published are searched, too.
        assert bool((distance[outside, 0, 1] == 0).all()) == (published == "none")
        want = (detector.metric.scales().detach() * distance[outside]).sum(2)
        torch.testing.assert_close(local[outside], want)
        assert (local[outside, 0] > 0).all()
    assert len(learnt(build()).metric.prototypes["3d"].bank) == 3 * 6
    banks = detector.metric.prototypes
    assert [len(banks[m].bank) for m in ("2d", "3d")] == [3 * 4, 3 * 16]


@pytest.mark.parametrize("published", ["none", "bank"])
def test_cells_outside_a_region_of_interest_are_not_looked_at(build, published):
    detector, region = learnt(build(published=published)), torch.zeros(8, 8, dtype=torch.bool)
    region[2:6, 2:8] = True
    features = replace(frame(50), region=region)
    seen = [5, 6, 7, 9, 10, 11]  # cells of 2 x 2 pixels
    local, _, _ = detector.measured(features)
    assert (local[:, 0] > 0).nonzero()[:, 0].tolist() == seen
    cells = {"none": [6, 6], "bank": [2 * 2, 6]}[published]  # the image's bank has 2 x 2 cells
    assert [len(detector.bank_rows(features, m)) for m in ("2d", "3d")] == cells


def test_maps_and_score_are_those_of_the_cells(build):
    detector = learnt(build())
    local, w, distance = detector.measured(frame(50))
    grid = detector.maps(frame(50))
    assert grid.score == float(local.amin(1).max())
    cells = {"2d": distance[:, 0, 0], "3d": distance[:, 0, 1], "w_2d": w[:, 0, 0]}
    cells["w_3d"] = w[:, 0, 1]
    assert set(grid.maps) == set(cells)
    for name, values in cells.items():
        want = enlarged(values.view(4, 4), 8).numpy()
        np.testing.assert_allclose(grid.maps[name], want, rtol=1e-6)
    want = smoothed(enlarged(local.amin(1).view(4, 4), 8), Scaling()).numpy()
    np.testing.assert_allclose(grid.map, want, rtol=1e-6)


def test_local_spaces_are_aggregated_by_hand(build):
    local = torch.tensor([[3.0, 1.0, 5.0], [2.0, 2.0, 8.0]])
    want = {"min": [1, 2], "nearest": [3, 2], "max": [5, 8], "mean": [3, 4]}
    for how, values in want.items():
        assert aggregated(local, how).tolist() == values
    found = {}
    for how in want:
        detector = learnt(build(aggregate=how))
        found[how] = detector.maps(frame(50)).score
        local = detector.measured(frame(50))[0]
        assert found[how] == pytest.approx(float(aggregated(local, how).max()), rel=1e-6)
    assert found["min"] < found["mean"] < found["max"]


def test_the_metric_learns_to_tell_defects_from_good_patches(build):
    detector = learnt(build(), epochs=60, batch_size=48)
    w = {d: detector.measured(frame(200, d))[1][[5], 0] for d in (False, True)}
    assert w[True].min() > w[False].max()
    assert len(detector.losses[0]) == 6
    first, last = (sum(detector.losses[i]) for i in (0, -1))
    assert last < first
    again = learnt(build(), epochs=60, batch_size=48)
    assert again.losses == detector.losses


def test_the_preset_says_which_differences_are_followed(build):
    assert build().published == Published(negatives=True)  # said in docs/decisions/presets.md
    assert build(preset="official").published == Published.of(DIFFERENCES)
    assert build(preset="official", published="none").published == Published()
    assert build(published="all").published == Published.of(DIFFERENCES)
    some = build(published="sigma, margin").published
    assert some.names() == ["sigma", "margin"]
    with pytest.raises(ValueError, match=r"published must be 'preset', .* groups, .*; got 'colour"):
        build(published="sigma,colour")


@pytest.mark.parametrize("name", [d for d in DIFFERENCES if d != "groups"])
def test_each_difference_changes_what_comes_out(name, build):
    """Where the good patches of the parts with defects are the farthest, for the bound's sake."""

    def odd(features):
        if features.defect is not None:
            features.tokens["rgb"][0 if len(features.tokens["rgb"]) == 2 else 1, -1] += 9
        return features

    tokens = 2 if name == "upsampling" else 4
    found = []
    for published in ("none", name):
        detector = learnt(build(published=published), stored(change=odd, tokens=tokens))
        found.append((detector.maps(frame(50, tokens=tokens)).map.tolist(), detector.losses))
    assert found[0] != found[1]


def test_the_published_number_of_groups_is_512():
    made = {
        p: cmad.G2SF(rgb="vit_tiny_patch16_224", weights="random", image_size=224, published=p)
        for p in ("none", "groups")
    }
    assert [d.pipeline.extractors["xyz"].config()["groups"] for d in made.values()] == [1024, 512]


def test_rows_are_shifted_and_divided_by_one_number_per_modality(build):
    for published, own in (("none", ("2d", "3d")), ("standardised", ("2d",))):
        detector = learnt(build(published=published))
        for m, kept in detector.metric.prototypes.items():
            blocks = torch.cat([detector.bank_rows(frame(s), m) for s in range(3)]).double()
            wanted = (float(blocks.mean()), float(blocks.std(correction=0)))
            got = kept.centre, kept.deviation
            assert got == pytest.approx(wanted if m in own else (0, 1), rel=1e-5)
            nearest = torch.cdist(kept.bank.rows.double(), (blocks - got[0]) / got[1]).min(1).values
            assert nearest.max() < 1e-5


def test_distances_are_counted_in_the_usual_one_and_bounded_by_twice_the_largest():
    nearest = torch.tensor([[1.0, 2.0], [3.0, 2.0], [5.0, 0.0]])
    anomalous = torch.tensor([False, False, True])
    assert learning.usual_distances(nearest, anomalous, False).tolist() == pytest.approx([3, 4 / 3])
    usual = learning.usual_distances(nearest, anomalous, True)
    assert usual.tolist() == [2, 2]
    assert learning.largest(nearest, usual, anomalous, True) == 5
    nearest[0, 1] = 20
    assert learning.largest(nearest, usual, anomalous, False) == 20
    assert learning.largest(nearest, usual, anomalous, True) == 5
    assert learning.usual_distances(torch.zeros(3, 2), anomalous, False).tolist() == [1, 1]


def test_cells_at_most_a_pixel_from_the_defect_are_anomalous():
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[3, 5] = True
    # Upper left pixels are even; (2, 4), (2, 6), (4, 4) and (4, 6) touch (3, 5).
    found = learning.anomalous_cells(mask, 4).view(4, 4)
    assert found.nonzero().tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]


def test_both_classes_are_drawn_as_often():
    anomalous = torch.arange(1000) < 20
    draw = learning._balanced(anomalous, torch.Generator().manual_seed(0))
    at = draw(4000)
    assert 0.45 < float(anomalous[at].float().mean()) < 0.55
    assert len(at.unique()) > 800
    halves = anomalous[at[:2000]].float().mean(), anomalous[at[2000:]].float().mean()
    assert abs(float(halves[0] - halves[1])) < 0.1  # in no order


def test_the_best_epoch_is_kept(build, monkeypatch):
    """As published, by the losses of discrimination on the other half of the parts."""
    seen = []
    reached = iter([3.0, 1.0, 2.0, 1.5])

    def validated(objective, banks, patches, weights):
        seen.append({k: v.clone() for k, v in objective.lspn.state_dict().items()})
        assert not objective.lspn.training
        return next(reached)

    monkeypatch.setattr(learning, "validated", validated)
    detector = learnt(build(), epochs=4)
    kept = detector.metric.lspn.state_dict()
    same = [all(torch.equal(kept[k], one[k]) for k in kept) for one in seen]
    assert same == [False, True, False, False]


def test_half_of_the_parts_train_and_the_other_half_validates(build, monkeypatch):
    seen, real = [], learning.gather

    def gather(store, positions, *rest):
        seen.append(list(positions))
        return real(store, positions, *rest)

    monkeypatch.setattr(learning, "gather", gather)
    learnt(build(), stored(good=3, defective=9))
    assert [len(half) for half in seen] == [5, 4]
    assert sorted(seen[0] + seen[1]) == list(range(3, 12))
    first, seen[:] = list(seen), []
    learnt(build(seed=1), stored(good=3, defective=9))
    assert seen != first


def test_rows_of_the_part_that_a_defect_is_on_are_left_out_in_training(build, monkeypatch):
    """A judged part has no rows of its own in the banks; as published, these do."""
    found, real = [], learning.gather

    def gather(store, positions, *rest):
        found.append((list(positions), store, real(store, positions, *rest)))
        return found[-1][2]

    monkeypatch.setattr(learning, "gather", gather)
    for published in ("none", "own"):
        found.clear()
        banks = learnt(build(published=published)).metric.prototypes
        for positions, store, patches in found:
            assert len(patches) == 6 * len(positions)  # cells of 2 x 2 pixels with a point
            for n, i in enumerate(positions):
                own = slice(6 * n, 6 * n + 6)
                for m, modality in enumerate(("2d", "3d")):
                    part = patches.feature[own].split((32, 12), 1)[m]
                    far = torch.cdist(part, banks[modality].bank.rows)
                    if published == "none":
                        mine = rows_of(banks, modality, store, store[i].source)
                        far[:, mine] = torch.inf
                    want, index = far.sort(1)
                    torch.testing.assert_close(patches.distance[own, :, m], want[:, :5])
                    assert torch.equal(patches.index[own, :, m].long(), index[:, :5])


def rows_of(banks, modality, store, source):
    """Say which rows of a bank that keeps all are of a good part: as many are of each."""
    count = len(banks[modality].bank) // len(store.good)
    return slice(source * count, (source + 1) * count)


def test_epochs_draw_as_many_patches_as_asked_for(build):
    steps = {
        patches: len(learnt(build(), epochs=3, batch_size=8, patches_per_part=patches).losses)
        for patches in (None, 2, 6)
    }
    assert steps == {None: 3 * 3, 2: 3 * 1, 6: 3 * 3}  # 4 parts of 6 patches for training


def test_a_bank_smaller_than_its_neighbours_is_refused(build):
    with pytest.raises(ValueError, match="fit: 4 2d patches are kept, at least 5 are needed"):
        learnt(build(fraction=0.1))
    with pytest.raises(ValueError, match="fit: 3 3d patches are kept, at least 5 are needed"):
        learnt(build(fraction=0.5), stored(good=1))


def test_a_training_set_with_one_part_suffices(build):
    detector = learnt(build(), stored(good=1))
    assert np.isfinite(detector.maps(frame(50)).map).all()


def without_points(features):
    return replace(features, valid=torch.zeros_like(features.valid), points={"xyz": no_points()})


def no_points():
    nothing = torch.zeros(0, 1)
    return Points(torch.ones(1, 12), nothing.long(), nothing)


def test_parts_without_any_foreground_are_refused_in_training_and_judged_by_their_image(build):
    with pytest.raises(ValueError, match="fit: no 3d patch of a good part lies on the foreground"):
        learnt(build(), stored(change=without_points))

    def only_the_defective(features):
        return without_points(features) if features.defect is not None else features

    with pytest.raises(ValueError, match="fit: 0 of 0 foreground patches of 4 synthetic parts"):
        learnt(build(), stored(change=only_the_defective))
    grid = learnt(build()).maps(without_points(frame(50)))
    assert (grid.maps["3d"] == 0).all()
    assert (grid.maps["w_2d"] == 1).all()
    assert grid.score > 0


def test_synthetic_parts_without_a_defect_in_the_foreground_are_refused(build):
    def beside(features):
        if features.defect is None:
            return features
        return replace(features, defect=torch.zeros_like(features.defect))

    with pytest.raises(ValueError, match="fit: 0 of 24 foreground patches of 4 synthetic parts"):
        learnt(build(), stored(change=beside))


def all_equal(modalities):
    def change(features):
        tokens = {n: torch.ones_like(t) for n, t in features.tokens.items()}
        points = {
            n: replace(p, features=torch.ones_like(p.features)) for n, p in features.points.items()
        }
        return replace(
            features,
            **({"tokens": tokens} if "2d" in modalities else {}),
            **({"points": points} if "3d" in modalities else {}),
        )

    return change


def test_a_modality_whose_features_are_all_equal_is_left_to_the_other(build):
    for published in ("none", "all"):
        detector = learnt(build(published=published), stored(change=all_equal(["2d"])))
        grid = detector.maps(all_equal(["2d"])(frame(50)))
        assert (grid.maps["2d"] == 0).all()
        assert np.isfinite(grid.map).all()
        assert grid.score > 0
    with pytest.raises(ValueError, match="the largest distance of a patch to the banks is 0"):
        learnt(build(), stored(change=all_equal(["2d", "3d"])))


def test_a_patch_that_is_in_both_banks_scores_zero(build):
    detector = learnt(build())
    local, _, distance = detector.measured(frame(0))
    assert (distance[:, 0] == 0).all()
    assert (local[:, 0] == 0).all()
    assert detector.maps(frame(0)).score == 0


def test_features_that_are_not_finite_are_refused(build, make, parts, monkeypatch):
    spoiled = frame(50)
    spoiled.tokens["rgb"][1, 1, 3] = torch.nan
    with pytest.raises(ValueError, match="must be finite"):
        learnt(build()).maps(spoiled)
    detector = build(image_size=48, cells=16, fraction=0.3)
    own = detector.pipeline.extractors["rgb"].tokens
    calls = []

    def tokens(images):
        calls.append(len(images))
        made = own(images).clone()
        if len(calls) == len(parts) + 2:
            made[0, 0, 0, 0] = torch.nan
        return made

    monkeypatch.setattr(detector.pipeline.extractors["rgb"], "tokens", tokens)
    with pytest.raises(ValueError, match=r"part\d\+\d+: the rgb extractor gives features that are"):
        detector.fit(parts, progress=False, **QUICK)
    assert detector.metric is None


def test_a_loss_that_is_not_finite_ends_the_training(build, monkeypatch):
    monkeypatch.setattr(
        learning.Objective, "terms", lambda self, *_: {"separation": torch.tensor(torch.nan)}
    )
    with pytest.raises(ValueError, match="fit: the loss is nan in epoch 1"):
        learnt(build())


def test_interrupted_training_leaves_the_detector_as_it_was(build, parts, monkeypatch):
    detector = build(image_size=48, cells=16, fraction=0.3)
    detector.fit(parts, progress=False, **QUICK)
    before = {k: v.clone() for k, v in detector.tensors().items()}
    score = float(detector.predict(parts[0].rgb, parts[0].xyz))
    real = learning.validated
    calls = []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(learning, "validated", interrupted)
    with pytest.raises(KeyboardInterrupt):
        detector.fit(parts[:4], progress=False, **QUICK)
    after = detector.tensors()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert float(detector.predict(parts[0].rgb, parts[0].xyz)) == score


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 0}, "G2SF: cells must be a whole number from 1, got 0"),
        ({"neighbours": 0}, "G2SF: neighbours must be a whole number from 1, got 0"),
        ({"neighbours": 16}, "G2SF: neighbours must be at most 15, got 16"),
        ({"fraction": 0}, r"G2SF: fraction must be in \(0, 1\], got 0"),
        ({"aggregate": "sum"}, "G2SF: aggregate must be one of 'min', 'nearest', 'max', 'mean'"),
    ],
)
def test_wrong_options_are_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize(
    ("name", "least"),
    [("epochs", 1), ("batch_size", 2), ("synthetic_parts", 2), ("patches_per_part", 1)],
)
def test_training_out_of_range_is_refused(build, parts, name, least):
    with pytest.raises(ValueError, match=f"fit: {name} must be a whole number from {least}, got"):
        build().fit(parts, **{name: least - 1})


def test_a_model_of_other_features_is_refused(build):
    detector = learnt(build())
    for name in ("2d.rows", "lspn.regressor.0.weight"):
        tensors = detector.tensors()
        tensors[name] = tensors[name][:, :-1]
        with pytest.raises(ValueError, match=r"must be 32 wide|must fit features 32 and 12 wide"):
            build().take(tensors)


def test_prototypes_come_back_from_their_tensors():
    kept = Prototypes(Bank(torch.rand(5, 3)), 0.5, 2.0, 7.0)
    back = Prototypes.of("2d", kept.tensors("2d"), 3)
    assert (back.centre, back.deviation, back.usual) == (0.5, 2.0, 7.0)
    assert torch.equal(back.bank.rows, kept.bank.rows)
