"""What a tally counts and compares, on maps and scores made by hand."""

from dataclasses import replace

import numpy as np
import pytest

import cmad
from cmad import metrics
from cmad.calibrate import Calibration
from cmad.evaluate import AREAS, GRID, Tally
from cmad.preprocess import mask_to_grid
from cmad.types import GridMaps, Window

SIZE = 12
WINDOW = Window(SIZE, 0, 2, SIZE, 8)  # a narrow input in its square


@pytest.fixture
def detector():
    """An untrained PatchCore with thresholds of its own for every way to look."""
    made = cmad.PatchCore(
        rgb=cmad.extractors.ViT("test_vit", block=1, image_size=64, weights="random"),
        xyz=cmad.extractors.PointMAE(
            groups=8, group_size=8, dim=24, heads=2, depth=1, weights="random"
        ),
        image_size=SIZE,
    )
    limits = {"2d+3d": 5.0, "2d": 1.0, "3d": 3.0}
    made.calibrations = {
        way: Calibration(0.1, (limit,) * 9, limit, limit) for way, limit in limits.items()
    }
    return made


def judged(seed, score, defect="good", modalities=("2d", "3d")):
    """A part and what a method says of it; a defect is a square that the map half finds."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((SIZE, 8), bool)
    map_ = rng.random((SIZE, SIZE), np.float32)
    if defect != "good":
        mask[4:8, 2:6] = True
        map_[4:7, 4:8] += 0.5
    others = {"pixel_auroc": rng.random((SIZE, SIZE), np.float32)}
    sample = cmad.Sample(None, None, mask, defect, f"part {seed}")
    return sample, GridMaps(score, map_, others, modalities, WINDOW, sample.name)


def test_a_part_is_rejected_by_the_threshold_of_the_modalities_it_was_judged_by(detector):
    tally = Tally(detector)
    tally.add(*judged(0, 4.0))
    tally.add(*judged(1, 2.0, "good", ("2d",)))  # a false reject, of this way alone
    tally.add(*judged(2, 4.0, "dent"))  # missed
    tally.add(*judged(3, 2.0, "dent", ("3d",)))  # missed
    tally.add(*judged(4, 1.5, "dent", ("2d",)))
    tally.add(*judged(5, 5.0, "scratch"))  # at the threshold is not above it: missed
    assert tally.wrong() == (1, 3)
    assert {kind: found[:2] for kind, found in tally.by_kind().items()} == {
        "dent": (1, 3),
        "scratch": (0, 1),
    }
    detector.calibration = None
    assert Tally(detector).wrong() is None


def test_each_kind_is_compared_with_the_good_parts_alone(detector):
    tally = Tally(detector)
    for seed, (score, kind) in enumerate(
        [(1.0, "good"), (3.0, "good"), (2.0, "dent"), (9.0, "scratch"), (0.5, "dent")]
    ):
        tally.add(*judged(seed, score, kind))
    assert {kind: found[2] for kind, found in tally.by_kind().items()} == {
        "dent": 0.25,
        "scratch": 1.0,
    }
    assert tally.good == 2
    assert tally.metrics()["I-AUROC"] == 0.5


def test_curves_of_pixels_are_of_the_map_for_them_and_areas_of_the_map_itself(detector):
    tally = Tally(detector)
    parts = [judged(seed, 1.0, kind) for seed, kind in enumerate(["good", "dent", "dent"])]
    for n, (sample, grid) in enumerate(parts, 1):
        tally.add(sample, grid)
        some = parts[:n]  # what was asked before is not what is known now
        masks = [mask_to_grid(s.mask, detector.pipeline.preprocessing) for s, _ in some]
        if not any(m.any() for m in masks):
            assert tally.metrics() == tally.grid() == {}
            continue
        maps, curves = [g.map for _, g in some], [g.maps["pixel_auroc"] for _, g in some]
        got = tally.metrics()
        assert got["P-AUROC"] == pytest.approx(metrics.pixel_auroc(curves, masks))
        assert got["P-AP"] == pytest.approx(metrics.pixel_average_precision(curves, masks))
        assert [got[name] for name in AREAS] == pytest.approx(list(metrics.aupro(maps, masks)))
        grid_areas = list(metrics.aupro(maps, masks, thresholds=GRID))
        assert [tally.grid()[name] for name in AREAS] == pytest.approx(grid_areas)
        assert grid_areas != pytest.approx([got[name] for name in AREAS])


def test_what_is_not_known_of_a_part_is_left_out(detector):
    tally = Tally(detector)
    sample, grid = judged(0, 9.0, "dent")
    tally.add(replace(sample, mask=None, defect=None), grid)
    assert (tally.kinds, tally.scores, tally.metrics(), tally.grid()) == ([], [], {}, {})
    tally.add(replace(sample, mask=None), grid)
    assert (tally.kinds, tally.scores, tally.metrics()) == (["dent"], [9.0], {})


@pytest.mark.parametrize(("preset", "on_grid"), [("paper", False), ("official", True)])
def test_the_preset_says_which_thresholds_are_quoted(make, preset, on_grid):
    assert Tally(make(preset=preset)).on_grid is on_grid
