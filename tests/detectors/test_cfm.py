"""CFM on tiny parts: what it learns, what it returns, and that results are repeatable."""

import numpy as np
import pytest
import torch

import cmad
from cmad.rasters import foreground, rows
from cmad.store import FeatureStore


def test_training_lowers_the_loss_and_a_planted_dent_scores_highest(trained, make):
    first, last = sum(trained.losses[0]), sum(trained.losses[-1])
    assert last < 0.3 * first
    good = [float(trained.predict(p.rgb, p.xyz)) for p in (make["part"](s) for s in range(20, 26))]
    dented = [make["part"](s, "dent") for s in range(30, 34)]
    scores = [float(trained.predict(p.rgb, p.xyz)) for p in dented]
    assert min(scores) > max(good)


def test_the_map_lights_up_at_the_defect(trained, make):
    p = make["part"](31, "dent")
    map_ = trained.predict(p.rgb, p.xyz).map
    peak = np.unravel_index(map_.argmax(), map_.shape)
    rows, columns = np.nonzero(p.mask)
    assert np.hypot(rows - peak[0], columns - peak[1]).min() < 4
    assert map_[p.mask].mean() > 1.5 * map_[12:36, 12:36][~p.mask[12:36, 12:36]].mean()


def test_a_prediction_has_float32_maps_of_the_inputs_size(trained, parts):
    prediction = trained.predict(parts[0].rgb[:, :40], parts[0].xyz[:, :40])
    for map_ in (prediction.map, prediction.maps["2d"], prediction.maps["3d"]):
        assert map_.shape == (48, 40)
        assert map_.dtype == np.float32
    assert float(prediction) == prediction.score
    assert prediction.rejected is None
    assert 0 <= prediction.maps["2d"].min() <= prediction.maps["2d"].max() <= 2


def test_the_score_is_the_maximum_of_the_smoothed_product(trained, parts):
    p = trained.predict(parts[0].rgb, parts[0].xyz, resolution="grid")
    product = torch.from_numpy(p.maps["2d"] * p.maps["3d"])
    smoothed = cmad.ops.smooth(product[None])[0].numpy()
    np.testing.assert_allclose(p.map, smoothed, rtol=1e-6, atol=1e-9)
    assert p.score == pytest.approx(float(smoothed.max()))


def test_beside_the_part_the_discrepancy_is_zero(trained, parts):
    p = trained.predict(parts[0].rgb, parts[0].xyz, resolution="grid")
    assert not p.maps["2d"][:10].any()
    assert p.maps["2d"][14:34, 14:34].all()


def test_lists_stacks_tensors_and_millimetres_give_the_same_scores(trained, parts):
    want = [float(trained.predict(p.rgb, p.xyz)) for p in parts[:3]]
    rgb, xyz = [p.rgb for p in parts[:3]], [p.xyz for p in parts[:3]]
    stacked = trained.predict(np.stack(rgb), torch.from_numpy(np.stack(xyz)))
    assert [float(p) for p in stacked] == want
    in_mm = [x * 1000 for x in xyz]
    converted = [x * 1e-3 for x in in_mm]  # not quite xyz: the conversion rounds
    listed = trained.predict(rgb, in_mm, unit="mm")
    assert [float(p) for p in listed] == [float(p) for p in trained.predict(rgb, converted)]


def test_training_twice_gives_the_same_detector_and_another_seed_another(untrained, parts):
    def score(seed):
        d = untrained(seed=seed).fit(parts[:2], epochs=3, pixels_per_image=50)
        return float(d.predict(parts[2].rgb, parts[2].xyz))

    assert score(0) == score(0)
    assert score(0) != score(1)


def test_training_leaves_the_global_random_state_alone(untrained, parts):
    state = torch.random.get_rng_state()
    np_state = np.random.get_state()[1].copy()  # noqa: NPY002 - it is the state that is tested
    untrained().fit(parts[:1], epochs=1, pixels_per_image=10)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (np.random.get_state()[1] == np_state).all()  # noqa: NPY002


def test_features_extracted_once_equal_features_extracted_every_epoch(untrained, parts):
    detector = untrained(precision="fp32")
    detector.fit(parts[:2], epochs=1, pixels_per_image=10)
    [features] = detector.pipeline.features([detector.pipeline.frame(parts[0])])
    want = rows(features, detector.raster)
    with FeatureStore(torch.float32) as store:
        store.append(features)
        for modality, kept in rows(store[0], detector.raster).items():
            assert torch.equal(kept, want[modality])


def test_features_beyond_the_memory_limit_train_to_the_same_detector(untrained, parts):
    in_memory = untrained().fit(parts[:3], epochs=2)
    on_disk = untrained().fit(parts[:3], epochs=2, memory_limit=1)
    assert in_memory.losses == on_disk.losses


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_close_to_full(precision, untrained, parts):
    full = untrained(precision="fp32").fit(parts[:2], epochs=5)
    half = untrained(precision=precision)
    half.load_mappings(full.mappings.CFM_2Dto3D.state_dict(), full.mappings.CFM_3Dto2D.state_dict())
    half.pipeline.extractors["xyz"].load_statistics(full.pipeline.extractors["xyz"].statistics)
    a, b = (d.predict(parts[3].rgb, parts[3].xyz) for d in (full, half))
    assert float(b) != float(a)
    assert float(b) == pytest.approx(float(a), rel=0.05)


def test_official_scores_are_scaled_and_have_the_auroc_map(untrained, parts):
    detector = untrained(preset="official").fit(parts[:2], epochs=3)
    p = detector.predict(parts[2].rgb, parts[2].xyz, resolution="grid")
    assert p.map[p.map != 0].mean() == pytest.approx(1, rel=1e-4)
    assert p.maps["pixel_auroc"].shape == p.map.shape
    nonzero = p.map[p.map != 0]
    # Undo the scaling of the map: the score is max / sqrt(mean) of what was smoothed.
    product = torch.from_numpy(p.maps["2d"] * p.maps["3d"])
    smoothed = cmad.ops.box_cascade(product[None])[0].numpy()
    mean = smoothed[smoothed != 0].mean()
    # The modality maps were rounded to float32 before their product was formed here.
    np.testing.assert_allclose(nonzero, smoothed[smoothed != 0] / mean, rtol=1e-4)
    assert p.score == pytest.approx(smoothed.max() / mean**0.5, rel=1e-4)


def test_other_mappings_are_measured_with_from_then_on(untrained, parts):
    detectors = [untrained(seed=seed).fit(parts[:2], epochs=2) for seed in (0, 1)]
    want = [d.predict(parts[2].rgb, parts[2].xyz, resolution="grid").map for d in detectors]
    assert not np.array_equal(*want)
    of = detectors[1].mappings
    detectors[0].load_mappings(of.CFM_2Dto3D.state_dict(), of.CFM_3Dto2D.state_dict())
    statistics = detectors[1].pipeline.extractors["xyz"].statistics
    detectors[0].pipeline.extractors["xyz"].load_statistics(statistics)
    got = detectors[0].predict(parts[2].rgb, parts[2].xyz, resolution="grid").map
    np.testing.assert_array_equal(got, want[1])


def test_official_drops_pixels_whose_3d_features_add_up_to_zero(untrained, parts):
    for preset, dropped in (("official", True), ("paper", False)):
        detector = untrained(preset=preset).fit(parts[:2], epochs=2)
        [features] = detector.pipeline.features([detector.pipeline.frame(parts[2])])
        features_3d = features.points["xyz"].features
        half = features_3d.shape[1] // 2
        features_3d[:, :half] = features_3d[:, :half].sign()  # sums of whole numbers are exact
        features_3d[:, half:] = -features_3d[:, :half]
        for psi in detector.discrepancies(features):
            assert bool((psi == 0).all()) == dropped


def test_official_keeps_the_rim_that_only_the_smoothing_reaches(untrained, parts):
    frame = untrained(preset="official").pipeline.frame(parts[0])
    pixels = []
    for detector in (untrained(preset="paper"), untrained(preset="official")):
        [features] = detector.pipeline.features([frame])
        pixels.append(set(foreground(features, detector.raster).tolist()))
    assert pixels[0] == set(frame.valid.flatten().nonzero()[:, 0].tolist())
    assert pixels[0] < pixels[1]


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize(
    ("variant", "blocks", "taps"),
    [("full", 12, 3), ("medium", 8, 3), ("small", 4, 3), ("tiny", 1, 1)],
)
def test_variants_prune_both_extractors_and_the_networks_follow(variant, blocks, taps, preset):
    d = cmad.CFM(variant, preset=preset, rgb="vit_tiny_patch16_224", weights="random")
    rgb, xyz = d.pipeline.extractors["rgb"], d.pipeline.extractors["xyz"]
    assert (rgb.block, rgb.dim, xyz.dim) == (blocks, 192, 384 * taps)
    for extractor, name in ((rgb, "blocks.{}."), (xyz, "blocks.blocks.{}.")):
        held = {
            i
            for i in range(13)
            if any(k.startswith(name.format(i)) for k in extractor.state_dict())
        }
        assert held == set(range(blocks)), "deeper blocks are neither computed nor kept"
    shapes = {k: tuple(t.shape) for k, t in d._untrained().state_dict().items()}
    width = (192 + xyz.dim) // 2
    assert shapes["CFM_2Dto3D.input.weight"] == (width, 192)
    assert shapes["CFM_2Dto3D.projection.weight"] == (width, width)
    assert shapes["CFM_2Dto3D.output.weight"] == (xyz.dim, width)
    assert shapes["CFM_3Dto2D.input.weight"] == (width, xyz.dim)
    assert shapes["CFM_3Dto2D.output.weight"] == (192, width)


def test_calibration_rejects_what_scores_above_the_good_parts(trained, parts, make, tmp_path):
    trained.save(tmp_path / "m.cmad")
    detector = cmad.load(
        tmp_path / "m.cmad",
        rgb=trained.pipeline.extractors["rgb"],
        xyz=trained.pipeline.extractors["xyz"],
    )
    good = [make["part"](s) for s in range(40, 49)]
    threshold = detector.calibrate(good, false_reject_rate=0.1)
    assert threshold == max(float(detector.predict(p.rgb, p.xyz)) for p in good)
    dent = make["part"](50, "dent")
    assert detector.predict(dent.rgb, dent.xyz).rejected is True
    assert detector.predict(good[0].rgb, good[0].xyz).rejected is False


def test_training_does_not_change_an_extractor_that_was_passed_in(make, parts):
    mine = make["point_mae"]()
    before = {k: v.clone() for k, v in mine.statistics.items()}
    first = cmad.CFM(rgb=make["vit"](), xyz=mine, image_size=48)
    first.fit(parts[:2], epochs=1, pixels_per_image=10)
    score = float(first.predict(parts[0].rgb, parts[0].xyz))
    second = cmad.CFM(rgb=make["vit"](), xyz=mine, image_size=48)
    second.fit([make["part"](9)], epochs=1, pixels_per_image=10)
    assert all(torch.equal(before[k], v) for k, v in mine.statistics.items())
    assert float(first.predict(parts[0].rgb, parts[0].xyz)) == score


def test_training_extracts_each_frame_once(untrained, parts, make, monkeypatch):
    seen = []
    vit, mae = (type(e) for e in (make["vit"](), make["point_mae"]()))
    tokens, batch = vit.tokens, mae.batch
    monkeypatch.setattr(vit, "tokens", lambda self, x: seen.append("2d") or tokens(self, x))
    monkeypatch.setattr(mae, "batch", lambda self, x: seen.append("3d") or batch(self, x))
    untrained().fit(parts[:3], epochs=4, pixels_per_image=20)
    assert sorted(seen) == ["2d"] * 3 + ["3d"] * 3


def test_fpfh_histograms_are_computed_once_for_each_frame(make, parts, monkeypatch):
    seen = []
    inner = cmad.extractors.FPFH.histograms
    monkeypatch.setattr(
        cmad.extractors.FPFH, "histograms", lambda self, x: seen.append(1) or inner(self, x)
    )
    detector = cmad.CFM(rgb=make["vit"](), xyz="fpfh", image_size=48)
    detector.fit(parts[:3], epochs=2, pixels_per_image=20)
    assert len(seen) == 3
    direct = detector.pipeline.extractors["xyz"].points(
        detector.pipeline.frame(parts[0]).xyz[20:24].view(-1, 3)
    )
    assert direct.features.shape[1] == 33


def test_whole_numbers_of_any_type_are_taken(untrained, parts):
    want = untrained(seed=3).fit(parts[:2], epochs=2, pixels_per_image=50, progress=False)
    numbers = {"epochs": np.int64(2), "pixels_per_image": np.uint8(50)}
    got = untrained(seed=np.int32(3)).fit(parts[:2], **numbers, progress=False)
    assert got.losses == want.losses
