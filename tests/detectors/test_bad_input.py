"""Wrong use gets a clear error; odd but usable input gets a warning and a result."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import cmad


def test_an_empty_training_set_is_refused(untrained):
    with pytest.raises(ValueError, match="fit: the training set is empty"):
        untrained().fit([])


def test_a_defective_training_part_is_named(untrained, make):
    with pytest.raises(ValueError, match="fit: only good parts may be used, part3 is labelled 'd"):
        untrained().fit([make["part"](1), make["part"](3, "dent")])


def test_something_else_than_samples_is_refused(untrained, parts):
    with pytest.raises(TypeError, match=r"fit: samples must yield cmad\.Sample, got tuple"):
        untrained().fit([(parts[0].rgb, parts[0].xyz)])


def test_a_training_part_without_points_is_named(untrained, parts):
    empty = cmad.Sample(parts[0].rgb, np.zeros_like(parts[0].xyz), name="train/007")
    with pytest.raises(ValueError, match="train/007: xyz has no valid point"):
        untrained().fit([parts[0], empty])


def test_a_failed_fit_leaves_the_trained_detector_as_it_was(untrained, parts):
    detector = untrained().fit(parts[:2], epochs=1, pixels_per_image=10)
    before = float(detector.predict(parts[0].rgb, parts[0].xyz))
    with pytest.raises(ValueError, match="empty"):
        detector.fit([])
    assert float(detector.predict(parts[0].rgb, parts[0].xyz)) == before


def test_a_training_part_with_features_that_are_not_finite_is_named(untrained, parts, monkeypatch):
    detector = untrained()
    own = detector.pipeline.extractors["xyz"].batch

    def spoiled(clouds):
        made = own(clouds)
        if len(calls) == 1:
            made[0].features[3, 2] = float("nan")
        calls.append(1)
        return made

    calls = []
    monkeypatch.setattr(detector.pipeline.extractors["xyz"], "batch", spoiled)
    with pytest.raises(
        ValueError, match="part1: the xyz extractor gives features that are not fin"
    ):
        detector.fit(parts[:3], epochs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number from 1, got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1, got 0"),
        ({"epochs": 2.5}, r"epochs must be a whole number from 1, got 2\.5"),
        ({"pixels_per_image": 0}, "pixels_per_image must be a whole number from 1, got 0"),
    ],
)
def test_training_options_out_of_range_are_refused(options, message, untrained, parts):
    with pytest.raises(ValueError, match=message):
        untrained().fit(parts, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"variant": "huge"},
            "variant must be one of 'full', 'medium', 'small', 'tiny', got 'huge'",
        ),
        ({"preset": "mine"}, "preset must be one of 'paper', 'official', got 'mine'"),
        ({"precision": "int8"}, "precision must be one of 'auto', 'fp32', 'fp16', 'bf16'"),
        ({"device": "tpu"}, "device must be one of 'auto', 'cpu', 'cuda', got 'tpu'"),
        ({"weights": "imagenet"}, "weights must be one of None, 'random', got 'imagenet'"),
        ({"seed": -1}, "seed must be a whole number from 0, got -1"),
        ({"rgb_size": 0}, "rgb_size must be a whole number from 1, got 0"),
        ({"gaps": "open"}, "gaps must be one of 'zero', 'filled', got 'open'"),
        ({"weights": "random"}, "is for extractors given by name"),
        ({"variant": "tiny"}, "an extractor object is pruned where it is made"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, message, untrained):
    with pytest.raises(ValueError, match=message):
        untrained(**options)


def test_an_image_size_that_is_none_is_refused(make):
    with pytest.raises(ValueError, match="CFM: image_size must be a whole number from 1, got 0"):
        cmad.CFM(rgb=make["vit"](), xyz=make["point_mae"](), image_size=0)


def test_an_unknown_3d_extractor_is_refused(make):
    known = "'point_mae', 'fpfh', 'normals', 'depth', 'geometry', 'depth_blocks'"
    with pytest.raises(ValueError, match=f"xyz must be one of {known}, got 'pointnet'"):
        cmad.CFM(rgb=make["vit"](), xyz="pointnet")


def test_predicting_and_saving_before_training_is_refused(untrained, parts, tmp_path):
    with pytest.raises(RuntimeError, match="CFM: not trained yet"):
        untrained().predict(parts[0].rgb, parts[0].xyz)
    with pytest.raises(RuntimeError, match="CFM: not trained yet"):
        untrained().save(tmp_path / "m.cmad")


def test_batches_must_match(trained, parts):
    with pytest.raises(ValueError, match="as many frames, got 2 and 1"):
        trained.predict([parts[0].rgb] * 2, [parts[0].xyz])
    with pytest.raises(ValueError, match="both be single frames or both batches"):
        trained.predict([parts[0].rgb], parts[0].xyz)
    assert trained.predict([], []) == []


def test_a_bad_frame_of_a_batch_is_numbered(trained, parts):
    with pytest.raises(ValueError, match="frame 1: xyz has no valid point"):
        trained.predict([parts[0].rgb] * 2, [parts[0].xyz, np.zeros_like(parts[0].xyz)])


def test_wrong_arrays_are_refused_by_predict(trained, parts):
    rgb, xyz = parts[0].rgb, parts[0].xyz
    with pytest.raises(ValueError, match=r"rgb must be \(H, W, 3\), got \(48, 48\)"):
        trained.predict(rgb[..., 0], xyz)
    with pytest.raises(ValueError, match="same height and width, got 48x48 and 40x48"):
        trained.predict(rgb, xyz[:40])
    with pytest.raises(ValueError, match='for millimetres pass unit="mm"'):
        trained.predict(rgb, xyz * 1000)
    for points in (xyz, None):
        with pytest.raises(ValueError, match="unit must be 'm' or 'mm', got 'in'"):
            trained.predict(rgb, points, unit="in")
    with pytest.raises(ValueError, match="resolution must be one of 'input', 'grid'"):
        trained.predict(rgb, xyz, resolution="half")
    with pytest.raises(TypeError, match="rgb must be uint8, or float"):
        trained.predict(rgb.astype(np.int32), xyz)


@pytest.mark.parametrize("side", [1, 2, 5])
@pytest.mark.filterwarnings("ignore:too little of the part is seen|no background plane is found")
def test_fewer_points_than_groups_warn_and_give_a_score(side, trained, parts):
    xyz = np.zeros_like(parts[0].xyz)
    xyz[20 : 20 + side, 20 : 20 + side] = parts[0].xyz[20 : 20 + side, 20 : 20 + side]
    with pytest.warns(UserWarning, match=f"the cloud has {side * side} points, too few for 64"):
        prediction = trained.predict(parts[0].rgb, xyz)
    assert np.isfinite(prediction.score)
    assert np.isfinite(prediction.map).all()
    assert prediction.verdict == "not inspected"


def test_nan_and_infinite_points_count_as_missing(trained, parts):
    zero, nan = parts[0].xyz.copy(), parts[0].xyz.copy()
    zero[15:18, 15:30] = 0
    nan[15:17, 15:30] = np.nan
    nan[17, 15:30, 1] = -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = [float(trained.predict(parts[0].rgb, x)) for x in (zero, nan)]
    assert scores[0] == scores[1]


def test_calibration_says_how_many_parts_it_needs(trained, parts):
    with pytest.raises(ValueError, match=r"rate of 0\.01 needs at least 99 good parts, got 6"):
        trained.calibrate(parts)
    with pytest.raises(ValueError, match=r"false_reject_rate must be in \(0, 1\), got 1.5"):
        trained.calibrate(parts, 1.5)
    assert trained.threshold is None


def test_a_gpu_that_is_not_there_is_refused(untrained, monkeypatch):
    monkeypatch.setattr("cmad.gpu.missing", lambda: "device='cuda' needs this and that")
    with pytest.raises(RuntimeError, match=r"^CFM: device='cuda' needs this and that$"):
        untrained(device="cuda")


def test_a_module_that_is_no_extractor_is_refused(make):
    with pytest.raises(TypeError, match=r"rgb must be a name or an extractor, got Linear; wrap a"):
        cmad.CFM(rgb=torch.nn.Linear(2, 2), xyz=make["point_mae"]())
    with pytest.raises(TypeError, match="xyz must be a name or an extractor, got int"):
        cmad.CFM(rgb=make["vit"](), xyz=3)


def test_pictures_and_nested_lists_are_refused(trained, parts):
    picture = Image.fromarray(parts[0].rgb)
    with pytest.raises(TypeError, match="rgb must be a NumPy array or torch tensor, got Image"):
        trained.predict(picture, parts[0].xyz)
    with pytest.raises(TypeError, match="xyz must be an array of floats in mm, got list"):
        trained.predict([parts[0].rgb], [parts[0].xyz.tolist()], unit="mm")


def test_features_that_overflow_in_half_precision_stop_the_training(untrained, parts, monkeypatch):
    detector = untrained()
    tokens = type(detector.pipeline.extractors["rgb"]).tokens
    monkeypatch.setattr(
        type(detector.pipeline.extractors["rgb"]),
        "tokens",
        lambda self, rgb: tokens(self, rgb) * 1e6,
    )
    with pytest.raises(ValueError, match="fit: the loss is nan in epoch 1: the features are not"):
        detector.fit(parts[:1], epochs=2)
    assert detector.mappings is None


def test_calibration_from_no_parts_at_all_says_so(trained):
    with pytest.raises(ValueError, match=r"rate of 0\.1 needs at least 9 good parts, got 0"):
        trained.calibrate(iter([]), 0.1)


def test_a_fit_that_is_interrupted_at_its_end_leaves_the_detector_as_it_was(
    untrained, parts, monkeypatch
):
    detector = untrained().fit(parts[:2], epochs=1, pixels_per_image=10)
    before = float(detector.predict(parts[0].rgb, parts[0].xyz))
    pipeline, losses = detector.pipeline, detector.losses

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cmad.CFM, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        detector.fit(parts[2:5], epochs=2, pixels_per_image=10)
    assert detector.pipeline is pipeline
    assert detector.losses is losses
    assert float(detector.predict(parts[0].rgb, parts[0].xyz)) == before


def test_calibration_counts_before_it_works(trained, parts, monkeypatch):
    monkeypatch.setattr(cmad.CFM, "maps", lambda *_: pytest.fail("scored a part"))
    with pytest.raises(ValueError, match="needs at least 9 good parts, got 6"):
        trained.calibrate(parts, 0.1)
