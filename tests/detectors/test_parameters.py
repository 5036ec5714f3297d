"""scikit-learn's habits: parameters in and out, clones, scores of samples."""

import numpy as np
import pytest

import cmad
from cmad.detectors import METHODS

WHY = "extra 'test' is not installed"
clone = pytest.importorskip("sklearn.base", reason=WHY).clone
roc_auc_score = pytest.importorskip("sklearn.metrics", reason=WHY).roc_auc_score
ParameterGrid = pytest.importorskip("sklearn.model_selection", reason=WHY).ParameterGrid

OTHERS = {"cfm": {}, "patchcore": {"fraction": 0.3, "cells_2d": 12}}
"""Options of each method that are not the defaults."""
SMALL = {"rgb": "test_vit", "image_size": 64, "weights": "random", "variant": "tiny"}


@pytest.fixture(params=METHODS)
def method(request):
    return request.param


@pytest.fixture
def detector(method):
    options = OTHERS.get(method, {})
    plane = np.array([0.0, 0.0, 1.0, -0.5])
    return METHODS[method](**SMALL, seed=np.int64(3), background=plane, **options)


def test_parameters_are_what_it_was_made_with_and_the_defaults_of_the_others(method, detector):
    given = detector.get_params()
    options = OTHERS.get(method, {})
    assert {name: given[name] for name in {**SMALL, **options}} == {**SMALL, **options}
    assert given["xyz"] == METHODS[method].usual["xyz"]
    assert given["precision"] == "auto"
    assert set(given) == set(METHODS[method].__signature__.parameters)
    assert detector.get_params(deep=False) == given


def test_a_clone_is_made_alike_and_knows_nothing(detector, method):
    again = clone(detector)
    assert type(again) is type(detector)
    assert again is not detector
    assert again.options == detector.options
    for name, value in again.get_params().items():
        assert np.array_equal(value, detector.get_params()[name]), name
    ours, others = (d.pipeline for d in (again, detector))
    assert ours.preprocessing == others.preprocessing
    for name, extractor in ours.extractors.items():
        assert extractor.fingerprint() == others.extractors[name].fingerprint()
    assert not again.tensors()


def test_a_clone_of_a_trained_and_of_a_loaded_detector_is_untrained(trained, parts, tmp_path):
    trained.save(tmp_path / "m", include_extractors=True)
    for one in (trained, cmad.load(tmp_path / "m")):
        again = clone(one)
        assert one.tensors()
        assert not again.tensors()
        again.fit(parts[:2], epochs=1, pixels_per_image=20, progress=False)
        want = cmad.CFM(**trained.pipeline.extractors, image_size=48)
        want.fit(parts[:2], epochs=1, pixels_per_image=20, progress=False)
        assert again.losses == want.losses


def test_changing_a_parameter_makes_the_detector_anew(parts, untrained):
    detector = untrained().fit(parts[:2], epochs=1, pixels_per_image=20, progress=False)
    assert detector.set_params() is detector
    assert detector.tensors()
    assert detector.set_params(seed=4, preset="official") is detector
    assert not detector.tensors()
    assert detector.losses == []
    assert detector.choices == cmad.presets.PRESETS["official"]
    want = untrained(seed=4, preset="official")
    for one in (detector, want):
        one.fit(parts[:2], epochs=1, pixels_per_image=20, progress=False)
    assert detector.losses == want.losses


def test_the_methods_own_options_are_parameters_too():
    detector = cmad.PatchCore(**SMALL)
    assert detector.set_params(fraction=0.5).options.fraction == 0.5
    assert detector.get_params()["fraction"] == 0.5
    assert detector.options.cells_2d == 28
    for changes in ParameterGrid({"fraction": [0.1, 0.2], "seed": [0, 1]}):
        one = clone(detector).set_params(**changes)
        assert {name: one.get_params()[name] for name in changes} == changes


def test_an_unknown_parameter_is_refused_with_those_that_there_are(trained):
    known = "it has variant, preset, rgb, xyz, .*, seed, background, gaps, fuse, cache"
    with pytest.raises(ValueError, match=f"CFM: no parameter 'epochs'; {known}"):
        trained.set_params(epochs=3)
    with pytest.raises(ValueError, match=r"no parameter 'frac'; it has .*, modalities, fraction"):
        cmad.PatchCore(**SMALL).set_params(frac=3)
    assert trained.tensors()


def test_a_value_out_of_range_leaves_the_detector_as_it_was(trained):
    before = trained.get_params()
    with pytest.raises(ValueError, match="preset must be one of"):
        trained.set_params(preset="own")
    assert trained.get_params() == before
    assert trained.tensors()


def test_what_is_returned_is_a_copy(untrained):
    detector = untrained()
    detector.get_params()["seed"] = 9
    assert detector.get_params()["seed"] == 0


def test_scores_of_samples_are_those_of_predictions(trained, parts, make):
    defective = [make["part"](seed, "hole") for seed in (20, 21)]
    samples = [*parts, *defective, *parts[:3]]  # more than are looked at in one go
    scores = trained.score_samples(iter(samples))
    assert scores.dtype == np.float64
    assert scores.shape == (11,)
    assert scores.tolist() == [trained.predict(s.rgb, s.xyz).score for s in samples]
    assert roc_auc_score([0] * 6 + [1] * 2, scores[:8]) == 1  # larger is more anomalous


def test_no_samples_have_no_scores(trained):
    assert trained.score_samples([]).shape == (0,)


def test_samples_in_millimetres_are_scored_as_such(trained, parts):
    mm = [cmad.Sample(p.rgb, p.xyz * 1000, name=p.name) for p in parts[:2]]
    got = trained.score_samples(mm, unit="mm")
    assert got.tolist() == [trained.predict(s.rgb, s.xyz, unit="mm").score for s in mm]
    with pytest.raises(ValueError, match="must be in metres"):
        trained.score_samples(mm)


def test_scores_need_a_training(untrained, parts):
    with pytest.raises(RuntimeError, match="not trained yet"):
        untrained().score_samples(parts)


def test_a_part_unlike_those_of_training_is_an_error_where_asked(trained, parts):
    swapped = cmad.Sample(parts[0].rgb[..., ::-1], parts[0].xyz)
    with pytest.raises(ValueError, match="look like BGR"):
        trained.score_samples([swapped], strict=True)
