from dataclasses import replace

import numpy as np
import pytest

from cmad.report import verdict
from cmad.types import Prediction, Region

RGB = np.full((20, 20, 3), 90, np.uint8)


def prediction(score, threshold, peak=None):
    map_ = np.zeros((20, 20), np.float32)
    map_[5:9, 5:9] = score if peak is None else peak
    map_[15, 15] = map_.max() * 0.3
    return Prediction(score, map_, threshold=threshold)


def white(image):
    return (np.asarray(image) == 255).all(-1)


def test_a_rejected_part_has_a_line_around_what_is_above_the_threshold():
    got = white(verdict.draw(RGB, prediction(3.0, 2.0)))
    want = np.zeros((20, 20), bool)
    want[4:10, 4:10] = True
    want[5:9, 5:9] = False
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("threshold", [3.0, 4.0, None])
def test_a_part_that_is_not_rejected_has_no_line(threshold):
    assert not white(verdict.draw(RGB, prediction(3.0, threshold))).any()


def test_the_line_is_there_when_rounding_hides_how_little_the_score_is_above():
    score = float(np.nextafter(2.0, 3.0))
    assert white(verdict.draw(RGB, prediction(score, 2.0))).any()


def test_a_map_scaled_apart_from_its_score_gives_the_same_picture():
    want, got = prediction(3.0, 2.0), prediction(3.0, 2.0, peak=7.0)
    np.testing.assert_array_equal(verdict.draw(RGB, got), verdict.draw(RGB, want))


def test_with_a_threshold_the_scale_is_the_same_for_all_parts():
    assert verdict.scale(prediction(3.0, 2.0)) == verdict.scale(prediction(9.0, 2.0)) == (1.0, 3.0)


def test_without_a_threshold_the_scale_is_the_parts_own_and_the_caption_says_so():
    part = prediction(3.0, None)
    assert verdict.scale(part) == (1.5, 3.0)
    assert verdict.caption(part) == (
        "score 3, no threshold; colours 1.5 (clear) to 3, this part's own scale"
    )


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (3.0, "rejected: score 3 > threshold 2; colours 1 (clear) to 3"),
        (2.0, "accepted: score 2 <= threshold 2; colours 1 (clear) to 3"),
    ],
)
def test_the_caption_says_the_verdict(score, said):
    assert verdict.caption(prediction(score, 2.0)) == said


def calibrated(**options):
    map_ = np.zeros((20, 20), np.float32)
    map_[5:9, 5:9] = 4.0
    given = {"threshold": 3.0, "pixel_threshold": 2.0, "p_value": 1 / 30, **options}
    return Prediction(3.5, map_, **given)


def region(area=12.345, modality="2d"):
    return Region((5, 5, 9, 9), 16, area, None, 4.0, (5, 5), modality, {})


@pytest.mark.parametrize("score_threshold", [3.0, 9.0])
def test_with_a_pixel_threshold_the_line_is_around_the_mask_whatever_the_verdict(score_threshold):
    part = calibrated(threshold=score_threshold)
    want = np.zeros((20, 20), bool)
    want[4:10, 4:10] = True
    want[5:9, 5:9] = False
    np.testing.assert_array_equal(white(verdict.draw(RGB, part)), want)
    assert verdict.scale(part) == (1.0, 3.0)
    assert not white(verdict.draw(RGB, calibrated(pixel_threshold=4.0))).any()


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        ((), "no region"),
        ((region(),), "1 region (12.3 mm^2, 2d)"),
        ((region(None),), "1 region (16 pixels, 2d)"),
        ((region(modality=None), region()), "2 regions (first 12.3 mm^2)"),
    ],
)
def test_the_caption_says_p_value_and_regions(regions, said):
    assert verdict.caption(calibrated(regions=regions)) == (
        f"rejected: score 3.5 > threshold 3, p-value 0.0333, {said}; colours 1 (clear) to 3"
    )


def test_a_map_of_zeros_leaves_the_image_as_it_is():
    part = Prediction(0.0, np.zeros((20, 20), np.float32))
    np.testing.assert_array_equal(np.asarray(verdict.draw(RGB, part)), RGB)


def test_a_part_that_is_not_inspected_says_so_and_gets_no_line():
    part = replace(prediction(1.0, 2.0), inspected=False)
    assert verdict.caption(part).startswith("not inspected: score 1 <= threshold 2; ")
    assert not white(verdict.draw(RGB, part)).any()
    unknown = replace(prediction(1.0, None), inspected=False)
    assert verdict.caption(unknown).startswith("not inspected: score 1, no threshold; ")
