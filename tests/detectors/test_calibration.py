"""What a calibrated detector says: verdicts that hold their rate, and regions of defects."""

import numpy as np
import pytest
import torch
from scipy import stats

import cmad
from cmad import ops
from cmad.datasets import Synthetic


@pytest.fixture(scope="module")
def held_out(make):
    return [make["part"](seed) for seed in range(40, 49)]


@pytest.fixture(scope="module")
def detector(trained, held_out, tmp_path_factory):
    """A copy of the trained detector, calibrated."""
    path = tmp_path_factory.mktemp("calibrated") / "part.cmad"
    trained.save(path)
    detector = cmad.load(
        path, rgb=trained.pipeline.extractors["rgb"], xyz=trained.pipeline.extractors["xyz"]
    )
    detector.calibrate(held_out, false_reject_rate=0.1)
    return detector


def test_a_defect_becomes_a_region_where_it_is(detector, make):
    dent = make["part"](50, "dent")  # rows 20 to 25, columns 18 to 23, 1 mm between pixels
    got = detector.predict(dent.rgb, dent.xyz)
    assert got.rejected is True
    assert got.p_value == 1 / 10
    region = got.regions[0]
    assert np.abs(np.subtract(region.peak_pixel, (22.5, 20.5))).max() < 6
    top, left, bottom, right = region.box
    assert (top, left) < (23, 21) < (bottom, right)
    row, column = (region.centroid[i] / 1e-3 + 23.3 for i in (1, 0))
    assert abs(row - 22.5) < 4
    assert abs(column - 20.5) < 4
    assert region.area > 0.8 * region.pixels  # a pixel of the plane is 1 mm²
    assert region.modality in ("2d", "3d", "both")
    assert region.peak == got.map.max()
    assert sum(r.pixels for r in got.regions) == got.mask.sum()


def test_no_calibration_part_is_marked_where_the_threshold_is_their_largest(detector, held_out):
    """To the bit: calibration and prediction see the same maps, on the input's own pixels."""
    large = [
        cmad.Sample(*(np.repeat(np.repeat(a, 2, 0), 2, 1) for a in (part.rgb, part.xyz)))
        for part in held_out
    ]
    before = detector.calibrations
    try:
        for parts in (held_out, large):
            detector.calibrate(parts, 0.1)
            seen = [detector.predict(part.rgb, part.xyz) for part in parts]
            assert not any(got.rejected or got.regions or got.mask.any() for got in seen)
            assert max(got.map.max() for got in seen) == detector.calibration.pixel_threshold
            assert sorted(got.score for got in seen) == list(detector.calibration.scores)
    finally:
        detector.calibrations = before


def test_the_modalities_thresholds_are_of_their_smoothed_maps(detector, held_out):
    for name in ("2d", "3d"):
        raw = [detector.predict(part.rgb, part.xyz).maps[name] for part in held_out]
        smoothed = ops.smooth(torch.from_numpy(np.stack(raw)), 4.0)
        assert detector.calibration.map_thresholds[name] == pytest.approx(float(smoothed.max()))


def test_a_batch_has_the_regions_of_its_parts(detector, make):
    dent = make["part"](50, "dent")
    want = detector.predict(dent.rgb, dent.xyz)
    batch = detector.predict([dent.rgb, dent.rgb], [dent.xyz, dent.xyz])
    assert [got.regions for got in batch] == [want.regions] * 2


def test_regions_of_points_in_millimetres_are_in_the_same_units(detector, make):
    dent = make["part"](50, "dent")
    want = detector.predict(dent.rgb, dent.xyz).regions[0]
    got = detector.predict(dent.rgb, dent.xyz * np.float32(1000), unit="mm").regions[0]
    # Rounding moves the groups of points a little, and with them the region.
    assert got.area == pytest.approx(want.area, rel=0.2)
    assert got.centroid == pytest.approx(want.centroid, abs=2e-3)


def test_maps_on_the_grid_and_detectors_without_calibration_give_no_verdict(
    detector, trained, make
):
    dent = make["part"](50, "dent")
    grid = detector.predict(dent.rgb, dent.xyz, resolution="grid")
    assert not any(hasattr(grid, name) for name in ("rejected", "p_value", "mask", "regions"))
    plain = trained.predict(dent.rgb, dent.xyz)
    assert (plain.rejected, plain.p_value, plain.mask, plain.regions) == (None, None, None, ())


def test_training_again_forgets_the_calibration(untrained, parts, held_out):
    detector = untrained().fit(parts[:2], epochs=1, pixels_per_image=10)
    detector.calibrate(held_out[:1], 0.5)
    assert detector.calibration is not None
    detector.fit(parts[:2], epochs=1, pixels_per_image=10)
    assert (detector.calibration, detector.threshold, detector.false_reject_rate) == (None,) * 3


@pytest.mark.slow
def test_the_false_reject_rate_holds_within_its_binomial_interval_over_200_repeats():
    """Each repeat has parts of its own: 3 to calibrate and 1 to test, none used twice.

    Parts are drawn independently and the detector is fixed, so the repeats are independent, and in
    each the tested part is rejected with probability 1/4, the largest share of 4 parts within the
    rate of 1/3. The number of rejected parts is then binomial. Many splits of one pool
    would not do: their outcomes depend on each other, and have no binomial interval.
    """
    repeats, n, rate = 200, 3, 1 / 3
    detector = cmad.CFM(
        rgb=cmad.extractors.ViT("test_vit", block=1, image_size=64, weights="random"),
        xyz=cmad.extractors.PointMAE(
            groups=32, group_size=8, dim=24, heads=2, depth=1, weights="random"
        ),
        image_size=64,
    )
    size = (64, 64)
    detector.fit(Synthetic("train", good=4, size=size), epochs=2, pixels_per_image=50)
    parts = Synthetic("test", good=repeats * (n + 1), size=size)
    rejected, marked, p_values, plain = [], [], [], []
    for first in range(0, len(parts), n + 1):
        detector.calibrate([parts[first + i] for i in range(n)], rate, progress=False)
        got = detector.predict(parts[first + n].rgb, parts[first + n].xyz)
        rejected.append(got.rejected)
        marked.append(got.mask.any())
        p_values.append(got.p_value)
        # The quantile without the correction: a third of these scores is above the second.
        plain.append(got.score > detector.calibration.scores[1])

    highest = stats.binom.ppf(0.99, repeats, rate)
    assert sum(rejected) <= highest
    assert sum(marked) <= highest
    assert sum(plain) > highest  # 1/2 are expected: this test can fail
    exact = stats.binom.interval(0.998, repeats, 1 / (n + 1))
    assert exact[0] <= sum(rejected) <= exact[1]
    assert exact[0] <= sum(marked) <= exact[1]
    counts = np.bincount(np.round(np.multiply(p_values, n + 1)).astype(int), minlength=n + 2)[1:]
    assert stats.chisquare(counts).pvalue > 1e-3
