"""A detector's own monitor: what predictions and calibrations keep for it, and what it finds."""

import numpy as np
import pytest

import cmad
from cmad.ranges import levels

NAMES = ["2d", "3d", "brightness", "roughness", "sharpness", "x", "y", "z"]
FOUND = 20
"""Parts within which a change that is far larger than the parts' spread is found."""


@pytest.fixture(scope="module")
def calibrated(trained, make, tmp_path_factory):
    path = tmp_path_factory.mktemp("drift") / "part.cmad"
    trained.save(path)
    detector = cmad.load(path, **trained.pipeline.extractors)
    detector.calibrate([make["part"](seed) for seed in range(100, 140)], 0.1, progress=False)
    return detector


def usual(rgb, xyz, draw):
    return rgb, xyz


def darker_lamp(rgb, xyz, draw):
    return (rgb * 0.9).astype(np.uint8), xyz


def moved_camera(rgb, xyz, draw):
    return rgb, xyz + np.float32([0, 0, 0.002])


def more_noise(rgb, xyz, draw):
    by = draw.normal(0, [0, 0, 2e-5], xyz.shape)  # the parts' own is 1e-5 m and 3 grey levels
    noisy = np.clip(rgb + draw.normal(0, 6, rgb.shape), 0, 255).astype(np.uint8)
    return noisy, (xyz + by).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (usual, set()),
        (darker_lamp, {"rejected"}),  # to this detector the darker image is another part
        (moved_camera, {"z"}),
        (more_noise, {"sharpness", "roughness", "brightness"}),  # black pixels only get brighter
    ],
)
def test_a_changed_station_is_found_and_the_usual_one_is_not(calibrated, make, change, moved):
    monitor, draw = calibrated.monitor(false_alarm=0.01), np.random.default_rng(0)
    for seed in range(200, 200 + FOUND):
        part = make["part"](seed)
        alarmed = monitor.watch(calibrated.predict(*change(part.rgb, part.xyz, draw)))
        if alarmed:
            break
    assert alarmed == bool(moved)
    assert {one.stream for one in monitor.moved} <= moved
    assert all(one.since <= 3 for one in monitor.moved)


def test_predictions_and_calibration_have_the_same_levels(calibrated, make):
    part = make["part"](100)
    got = calibrated.predict(part.rgb, part.xyz)
    assert sorted(got.levels) == sorted(calibrated.calibration.levels) == NAMES
    at = calibrated.calibration.scores.index(got.score)  # the part is one of them
    assert {n: values[at] for n, values in calibrated.calibration.levels.items()} == got.levels


def test_levels_are_what_they_say(calibrated, make):
    part = make["part"](100)
    got = calibrated.predict(part.rgb, part.xyz)
    for name in ("2d", "3d"):
        map_ = calibrated.predict(part.rgb, part.xyz, resolution="grid").maps[name]
        assert got.levels[name] == pytest.approx(map_[map_ > 0].mean())
    frame = calibrated.pipeline.frame(part)
    seen = frame.seen.numpy()
    xyz, light = frame.xyz.numpy(), frame.rgb.float().mean(0).numpy()
    assert [got.levels[n] for n in "xyz"] == pytest.approx(xyz[seen].mean(0), rel=1e-5)
    assert got.levels["brightness"] == pytest.approx(light.mean(), rel=1e-6)

    def apart(a):
        return a[1:-1, 1:-1] - (a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:]) / 4

    assert got.levels["sharpness"] == pytest.approx(np.abs(apart(light)).mean(), rel=1e-5)
    inside = apart(seen.astype(float) * 4) == 0
    inside &= seen[1:-1, 1:-1]
    rough = np.sort(np.abs(apart(xyz[..., 2].astype(np.float64)))[inside])
    assert got.levels["roughness"] == pytest.approx(rough[(len(rough) - 1) // 2], rel=1e-3)


def test_a_frame_has_the_levels_of_what_it_has(calibrated, make):
    part = make["part"](100)
    frame = calibrated.pipeline.frame(part)
    object.__setattr__(frame, "rgb", None)
    assert sorted(levels(frame)) == ["roughness", "x", "y", "z"]
    frame = calibrated.pipeline.frame(part)
    object.__setattr__(frame, "xyz", None)
    assert sorted(levels(frame)) == ["brightness", "sharpness"]


def test_a_model_file_keeps_the_levels(calibrated, tmp_path):
    calibrated.save(tmp_path / "part.cmad")
    loaded = cmad.load(tmp_path / "part.cmad", **calibrated.pipeline.extractors)
    assert loaded.calibration == calibrated.calibration
    assert loaded.monitor().stakes == calibrated.monitor().stakes


def test_without_a_calibration_or_its_levels_there_is_no_monitor(trained, calibrated):
    with pytest.raises(RuntimeError, match="CFM: not calibrated; call calibrate"):
        trained.monitor()
    before = calibrated.calibrations
    try:
        known = calibrated.calibration
        old = type(known)(known.false_reject_rate, known.scores, known.threshold, 1.0)
        calibrated.calibration = old  # as a file from before there were levels gives it
        with pytest.raises(RuntimeError, match="calibrated before levels were kept"):
            calibrated.monitor()
    finally:
        calibrated.calibrations = before
