"""PatchCore: what its maps and scores are made of, by hand, and with a modality missing."""

import math

import numpy as np
import pytest
import torch

import cmad
from cmad.bank import Bank
from cmad.checkpoint import Checkpoint
from cmad.detectors._memory import Memory, deviation_of, reweighted, usual_distance
from cmad.maps import enlarged
from cmad.types import Features, Points, Window


@pytest.fixture
def build(make):
    def built(**options):
        given = {"image_size": 48, **options}
        return cmad.PatchCore(rgb=make["vit"](), xyz=make["point_mae"](), **given)

    return built


def test_the_reweighted_score_by_hand():
    """Roth et al., equation 7: rows around that are as near halve the score, far ones leave it."""
    beside = torch.tensor([4.0, 6.0], dtype=torch.float64)
    weight = 1 - math.exp(3 / 2) / (math.exp(4 / 2) + math.exp(6 / 2))
    assert reweighted(3.0, beside, 4) == pytest.approx(3 * weight)
    guarded = 1 - math.exp(3 / 2) / (math.exp(4 / 2) + math.exp(6 / 2) + 0.5)
    assert reweighted(3.0, beside, 4, 0.5) == pytest.approx(3 * guarded)
    same = torch.tensor([3.0, 3.0], dtype=torch.float64)
    assert reweighted(3.0, same, 4) == pytest.approx(1.5)
    assert reweighted(3000.0, same * 1000, 4) == pytest.approx(1500)  # no overflow
    assert reweighted(3.0, torch.tensor([1e6], dtype=torch.float64), 4) == pytest.approx(3)


def memory(rows, deviation=2.0, usual=1.0):
    return Memory(Bank(torch.tensor(rows)), deviation, usual)


def test_distances_are_in_deviations_and_the_image_score_is_of_the_farthest_patch():
    kept = memory([[0.0, 0.0], [10.0, 0.0], [0.0, 8.0], [30.0, 0.0]])
    patch = torch.tensor([[0.0, 2.0], [10.0, 6.0], [0.0, 8.0]])
    distance, index = kept.nearest(patch)
    assert distance.tolist() == [1.0, 3.0, 0.0]
    assert index.tolist() == [0, 1, 2]
    # Around (10, 0) are (0, 0) and (0, 8): sqrt(136) and sqrt(104) from (10, 6).
    beside = torch.tensor([math.sqrt(136), math.sqrt(104)], dtype=torch.float64) / 2
    assert kept.image_score(patch, distance, index) == pytest.approx(reweighted(3.0, beside, 2))
    thousandths = reweighted(0.003, beside / 1000, 2, 0.25)
    assert kept.image_score(patch, distance, index, unit=1000, guard=0.25) == pytest.approx(
        thousandths
    )


def test_the_usual_distance_leaves_out_what_is_in_the_bank():
    bank = Bank(torch.tensor([[0.0], [10.0]]))
    blocks = [torch.tensor([[0.0], [1.0]]), torch.tensor([[10.0], [13.0]])]
    assert usual_distance(bank, blocks, 2, 0) == pytest.approx((1 + 3) / 2)
    assert usual_distance(bank, [torch.tensor([[0.0], [10.0]])], 1, 0) == 1.0
    assert deviation_of(blocks) == pytest.approx(
        float(torch.cat(blocks).double().std(correction=0))
    )
    assert deviation_of([torch.ones(3, 2)]) == 1.0


def test_the_usual_distance_is_measured_on_as_many_patches_whatever_the_number_of_parts():
    class Counting(Bank):
        def search(self, query, k):
            asked.append(len(query))
            return super().search(query, k)

    bank = Counting(torch.tensor([[0.0], [10.0]]))
    for count in (1, 4, 7):
        asked = []
        usual_distance(bank, [torch.rand(3000, 1)] * count, count, 0)
        assert asked == [-(-2000 // count)] * count


def frame(seed, tokens=4, size=8):
    g = torch.Generator().manual_seed(seed)
    valid = torch.zeros(size, size, dtype=torch.bool)
    valid[2:6, 2:7] = True
    n = int(valid.sum())
    points = Points(torch.rand(n, 12, generator=g) + 1, torch.arange(n)[:, None], torch.ones(n, 1))
    rgb = {"rgb": torch.rand(tokens, tokens, 32, generator=g)}
    return Features(rgb, {"xyz": points}, valid, size, Window(size, 0, 0, size, size), "frame")


def learnt(detector, frames):
    detector._accept(detector.learn(frames, detector.Training(), False, Checkpoint()).tensors)
    return detector


def test_maps_are_the_distances_of_the_patches_in_usual_units(build):
    detector = build(image_size=8, cells_2d=4, cells_3d=2, fraction=1.0)
    learnt(detector, [frame(0), frame(1)])
    grid = detector.maps(frame(2))
    for modality, cells in (("2d", 4), ("3d", 2)):
        patch, cell = detector.patches(frame(2), modality)
        rows = torch.cat([detector.patches(frame(s), modality)[0] for s in (0, 1)])
        kept = detector.memory[modality]
        nearest = torch.cdist(patch.double(), rows.double()).min(1).values
        scaled = torch.zeros(cells * cells, dtype=torch.float64)
        scaled[cell] = nearest / kept.deviation / kept.usual
        want = enlarged(scaled.float().view(cells, cells), 8).numpy()
        np.testing.assert_allclose(grid.maps[modality], want, rtol=1e-5)
        assert kept.deviation == pytest.approx(float(rows.double().std(correction=0)), rel=1e-6)
    few = learnt(build(image_size=8, cells_2d=4, cells_3d=2, fraction=0.4), [frame(0), frame(1)])
    for modality, kept in few.memory.items():
        blocks = [few.patches(frame(s), modality)[0] for s in (0, 1)]
        measured = usual_distance(kept.bank, blocks, 2, 0)  # maps are in units of it
        assert kept.deviation * kept.usual == pytest.approx(measured)
    assert len(detector.patches(frame(2), "2d")[1]) == 16  # the whole image
    total = torch.from_numpy(grid.maps["2d"] + grid.maps["3d"])
    np.testing.assert_allclose(grid.map, cmad.ops.smooth(total[None])[0].numpy(), rtol=1e-5)


def test_patches_of_points_are_those_of_the_foreground_or_in_the_official_preset_all(build):
    paper, official = (
        build(image_size=8, cells_2d=4, cells_3d=4, preset=p) for p in ("paper", "official")
    )
    _, cell = paper.patches(frame(0), "3d")
    assert cell.tolist() == [5, 6, 7, 9, 10, 11]  # rows 2 to 5, columns 2 to 6, in cells of 2
    assert official.patches(frame(0), "3d")[1].tolist() == list(range(16))


def test_official_scores_are_added_in_thousandths_and_guarded_alone(build):
    options = {"image_size": 8, "cells_2d": 4, "cells_3d": 2, "preset": "official"}
    both = learnt(build(**options, fraction=1.0), [frame(0), frame(1)])
    one, two = both.memory["2d"], both.memory["3d"]
    assert one.deviation == two.deviation  # the image's
    assert (one.usual, two.usual) == (1.0, 1.0)
    want = 0.0
    for modality, kept in both.memory.items():
        patch, _ = both.patches(frame(2), modality)
        want += kept.image_score(patch, *kept.nearest(patch), unit=1000.0)
    assert both.maps(frame(2)).score == pytest.approx(want, rel=1e-6)
    alone = learnt(build(**options, fraction=1.0, modalities="3d"), [frame(0), frame(1)])
    kept = alone.memory["3d"]
    assert kept.deviation == 1.0
    patch, _ = alone.patches(frame(2), "3d")
    want = kept.image_score(patch, *kept.nearest(patch), guard=1e-5)
    assert alone.maps(frame(2)).score == pytest.approx(want, rel=1e-9)


def test_the_papers_score_of_a_modality_alone_is_neither_guarded_nor_divided(build):
    options = {"image_size": 8, "cells_3d": 2, "fraction": 1.0, "modalities": "3d"}
    alone = learnt(build(**options), [frame(0), frame(1)])
    kept = alone.memory["3d"]
    patch, _ = alone.patches(frame(2), "3d")
    want = kept.image_score(patch, *kept.nearest(patch)) / kept.usual
    assert alone.maps(frame(2)).score == pytest.approx(want, rel=1e-9)


def test_fpfh_by_name_is_standardised_for_networks_and_not_for_banks(make):
    kinds = {
        kind: kind(rgb=make["vit"](), xyz="fpfh", image_size=48).pipeline.takes_statistics
        for kind in (cmad.CFM, cmad.PatchCore)
    }
    assert kinds == {cmad.CFM: True, cmad.PatchCore: False}


def test_a_modality_alone_needs_only_its_extractor(make, parts):
    flat = cmad.PatchCore(rgb=make["vit"](), xyz=None, image_size=48, modalities="2d")
    flat.fit([cmad.Sample(p.rgb, None, name=p.name) for p in parts], progress=False)
    assert list(flat.pipeline.extractors) == ["rgb"]
    assert flat.predict(parts[0].rgb, None).score == flat.predict(parts[0].rgb, parts[0].xyz).score
    with pytest.raises(ValueError, match="PatchCore needs rgb: its option modalities names"):
        flat.predict(None, parts[0].xyz)
    deep = cmad.PatchCore(rgb=None, xyz=make["point_mae"](), image_size=48, modalities="3d")
    deep.fit([cmad.Sample(None, p.xyz, name=p.name) for p in parts], progress=False)
    assert list(deep.pipeline.extractors) == ["xyz"]
    assert deep.predict(None, parts[0].xyz).score == deep.predict(parts[0].rgb, parts[0].xyz).score


def test_points_that_only_measure_regions_are_checked_whatever_the_verdict(make, parts):
    flat = cmad.PatchCore(rgb=make["vit"](), xyz=None, image_size=48, modalities="2d")
    flat.fit(parts, progress=False).calibrate(
        [make["part"](s) for s in range(40, 49)], 0.1, progress=False
    )
    dent = make["part"](31, "dent")
    odd = dent.rgb.copy()
    odd[20:26, 18:24] = 255 - odd[20:26, 18:24]
    assert flat.predict(odd, dent.xyz).regions[0].area > 10  # mm²; a pixel of the plane is 1
    assert flat.predict(parts[0].rgb, None).regions == ()
    for rgb in (odd, parts[0].rgb):
        with pytest.raises(ValueError, match="same height and width, got 48x48 and 40x48"):
            flat.predict(rgb, dent.xyz[:40])
        with pytest.raises(ValueError, match='for millimetres pass unit="mm"'):
            flat.predict(rgb, dent.xyz * 1000)
        with pytest.raises(ValueError, match="frame 0: rgb and xyz must have the same"):
            flat.predict([rgb], [dent.xyz[:40]])


def test_a_batch_may_lack_points_of_some_parts_in_either_unit(build, parts):
    detector = build().fit(parts, progress=False)
    rgb, xyz = [parts[0].rgb, parts[1].rgb], [parts[0].xyz, None]
    in_mm = [parts[0].xyz * np.float32(1000), None]
    back = [in_mm[0] * 1e-3, None]  # not quite xyz: the conversion rounds
    converted = detector.predict(rgb, in_mm, unit="mm")
    for want in (detector.predict(rgb, xyz), detector.predict(rgb, back)):
        assert want[1].score == converted[1].score == detector.predict(rgb[1], None).score
    assert want[0].score == converted[0].score


def test_a_part_without_points_has_regions_without_measures(build, parts, make):
    detector = build().fit(parts, progress=False)
    detector.calibrate([make["part"](s) for s in range(40, 49)], 0.1, progress=False)
    dent = make["part"](31, "dent")
    rgb = dent.rgb.copy()
    rgb[20:26, 18:24] = 255 - rgb[20:26, 18:24]
    got = detector.predict(rgb, None)
    assert got.rejected is True
    assert got.regions[0].area is None
    assert got.regions[0].centroid is None
    assert got.regions[0].modality == "2d"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": "4d"}, r"PatchCore: modalities must be one of '2d\+3d', '2d', '3d', got"),
        ({"fraction": 0}, r"PatchCore: fraction must be in \(0, 1\], got 0"),
        ({"fraction": 1.5}, r"PatchCore: fraction must be in \(0, 1\], got 1\.5"),
        ({"fraction": "0.1"}, r"PatchCore: fraction must be in \(0, 1\], got '0\.1'"),
        ({"cells_2d": 0}, "PatchCore: cells_2d must be a whole number from 1, got 0"),
        ({"cells_3d": 2.5}, r"PatchCore: cells_3d must be a whole number from 1, got 2\.5"),
    ],
)
def test_wrong_options_are_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_too_few_patches_and_banks_of_other_features_are_refused(build, parts):
    with pytest.raises(ValueError, match="fit: 2 2d patches are kept, at least 3 are needed"):
        build(fraction=0.003).fit(parts[:1], progress=False)
    detector = build().fit(parts[:2], progress=False)
    tensors = detector.tensors()
    tensors["3d.rows"] = tensors["3d.rows"][:, :-1]
    with pytest.raises(ValueError, match="the 3d bank must be 12 wide, as the extractors' feat"):
        detector.take(tensors)


def test_the_projection_gets_the_seed_within_what_it_takes(build, parts, monkeypatch):
    seen, inner = [], Bank.build
    monkeypatch.setattr(Bank, "build", lambda *a, **k: seen.append(k["seed"]) or inner(*a, **k))
    for seed in (7, 2**40 + 5):
        build(seed=seed).fit(parts[:2], progress=False)
    assert seen == [7, 7, 5, 5]  # both modalities


def test_another_seed_keeps_other_patches_and_the_same_seed_the_same(build, parts):
    rows = [
        build(seed=seed).fit(parts[:3], progress=False).memory["3d"].usual for seed in (0, 0, 1)
    ]
    assert rows[0] == rows[1] != rows[2]


def test_a_background_without_points_to_find_it_in_is_refused(make):
    with pytest.raises(ValueError, match="background is found in 3D points, which it does not"):
        cmad.PatchCore(rgb=make["vit"](), modalities="2d", background="none")
