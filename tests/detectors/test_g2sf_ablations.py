"""What rows of G2SF's tables judge a part by, from one trained detector."""

import numpy as np
import pytest
import torch

import cmad
from cmad.detectors import _g2sf_learning
from cmad.detectors.method import Ablation
from cmad.evaluate import ablated

HOW = {"synthetic_parts": 6, "patches_per_part": 30, "batch_size": 16, "progress": False}


@pytest.fixture(scope="module")
def fitted(make, parts):
    """Each epoch is the best so far, so that stopping earlier makes a difference."""
    with pytest.MonkeyPatch.context() as patch:
        better = iter(range(0, -100, -1))
        patch.setattr(_g2sf_learning, "validated", lambda *args: float(next(better)))
        options = {"cells": 12, "fraction": 0.3, "image_size": 48}
        detector = cmad.G2SF(rgb=make["vit"](), xyz=make["point_mae"](), **options)
        detector.stops = {2}
        return detector.fit(parts[:3], epochs=8, **HOW)


@pytest.fixture
def features(fitted, make):
    [features] = fitted.features([make["part"](9, "hole")])
    return features


@pytest.mark.parametrize("name", ["2d", "3d", "w_2d", "w_3d"])
def test_a_map_alone_is_smoothed_and_has_its_own_score(fitted, features, name):
    grid = fitted.judge(features)
    got = ablated(Ablation("III", "", alone=name), fitted, features)
    assert got.score == grid.scores[name] != grid.score
    want = cmad.ops.smooth(torch.from_numpy(grid.maps[name])[None])[0].numpy()
    np.testing.assert_allclose(got.map, want, rtol=1e-6)


def test_a_sum_is_that_of_the_distances(fitted, features):
    grid = fitted.judge(features)
    got = ablated(Ablation("", "", alone="2d+3d"), fitted, features)
    _, _, distance = fitted.measured(features)
    assert got.score == pytest.approx(float(distance[:, 0].sum(-1).max()))
    total = torch.from_numpy(grid.maps["2d"] + grid.maps["3d"])
    np.testing.assert_allclose(got.map, cmad.ops.smooth(total[None])[0].numpy(), rtol=1e-5)


def test_other_options_judge_anew_and_the_detector_stays(fitted, features):
    local, _, _ = fitted.measured(features)
    got = ablated(Ablation("V", "", options={"aggregate": "max"}), fitted, features)
    assert got.score == pytest.approx(float(local.max()))
    assert fitted.options.aggregate == "min"
    assert fitted.judge(features).score < got.score


def test_an_earlier_stop_judges_by_what_was_learnt_until_then(fitted, features):
    before = fitted.judge(features)
    got = ablated(Ablation("curve", "", epoch=2), fitted, features)
    assert not np.array_equal(got.maps["w_2d"], before.maps["w_2d"])
    np.testing.assert_array_equal(fitted.judge(features).maps["w_2d"], before.maps["w_2d"])
