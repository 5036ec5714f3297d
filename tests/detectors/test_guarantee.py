"""The false-reject rate holds or is not given: which parts calibration refuses, and names."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import cmad


@pytest.fixture
def detector(untrained, parts):
    return untrained().fit(parts[:3], epochs=1, pixels_per_image=20)


@pytest.fixture
def held_out(make):
    return [make["part"](seed) for seed in range(40, 45)]


def test_parts_that_were_trained_on_are_named_also_by_a_loaded_model(
    detector, parts, held_out, tmp_path
):
    detector.calibrate(held_out, 0.3)
    before = detector.calibrations
    detector.save(tmp_path / "m.cmad")
    extractors = detector.pipeline.extractors
    loaded = cmad.load(tmp_path / "m.cmad", rgb=extractors["rgb"], xyz=extractors["xyz"])
    renamed = replace(parts[1], name="copy/7", rgb=parts[1].rgb / np.float32(255))
    for one in (detector, loaded):
        with pytest.raises(ValueError, match="calibrate: copy/7 was trained on, so its score"):
            one.calibrate([*held_out[:3], renamed], 0.3)
        assert one.calibrations == before
        assert len(one.trained_on) == 3
    detector.fit(parts[3:], epochs=1, pixels_per_image=20)
    detector.calibrate(parts[:3], 0.4)


def test_copies_of_one_part_are_named(detector, held_out):
    copy = replace(held_out[1], name="copy", xyz=np.where(True, held_out[1].xyz, 0))
    with pytest.raises(ValueError, match="calibrate: copy is a copy of part41: copies of one part"):
        detector.calibrate([*held_out, copy], 0.3)
    unnamed = [replace(held_out[0], name="")] * 2
    with pytest.raises(ValueError, match="calibrate: part 2 is a copy of part 1"):
        detector.calibrate(unnamed, 0.4)
    assert detector.calibrations == {}


def test_scores_that_repeat_are_refused(detector, held_out, monkeypatch):
    """Such as of a detector that cannot tell parts apart."""
    maps = cmad.CFM.maps
    flat = {"part41", "part43"}
    monkeypatch.setattr(
        cmad.CFM,
        "maps",
        lambda self, f: replace(maps(self, f), score=0.5) if f.name in flat else maps(self, f),
    )
    message = "1 of 5 parts have a score that another has, such as part41 and part43 with 0.5"
    with pytest.raises(ValueError, match=f"calibrate: {message}"):
        detector.calibrate(held_out, 0.3)
    assert detector.calibrations == {}


@pytest.mark.parametrize("where", ["score", "map", "3d"])
def test_a_score_or_map_that_is_not_finite_is_named_or_left_out(
    where, detector, held_out, monkeypatch
):
    maps = cmad.CFM.maps

    def broken(self, features):
        grid = maps(self, features)
        if features.name != "part42":
            return grid
        nan = np.full_like(grid.map, np.nan)
        changed = {"3d": {"maps": {**grid.maps, "3d": nan}}, "map": {"map": nan}}
        return replace(grid, **changed.get(where, {"score": float("nan")}))

    monkeypatch.setattr(cmad.CFM, "maps", broken)
    with pytest.raises(ValueError, match="part42: CFM gives no finite score"):
        detector.calibrate(held_out, 0.3)
    assert detector.calibrations == {}
    with pytest.raises(ValueError, match="no finite score"):
        detector.grids(held_out[2:3])
    bad = []
    detector.calibrate(held_out, 0.3, bad=bad)
    assert bad == [("part42", "CFM gives no finite score: no verdict")]
    assert len(detector.calibration.scores) == 4
    with pytest.raises(ValueError, match="needs at least 4 good parts, got 3"):
        detector.calibrate(held_out[1:], 0.2, bad=[])
    with pytest.raises(ValueError, match="part40 is a copy of part40"):
        detector.calibrate([*held_out, held_out[0]], 0.3, bad=[])


def test_a_p_value_of_no_number_is_refused(detector, held_out):
    detector.calibrate(held_out, 0.3)
    assert detector.calibration.p_value(float("inf")) == 1 / 6
    with pytest.raises(ValueError, match="p_value: score must be a number, got nan"):
        detector.calibration.p_value(float("nan"))


def small(part):
    """A part of which 25 points are left, too few for 64 groups."""
    xyz = np.zeros_like(part.xyz)
    xyz[20:25, 20:25] = part.xyz[20:25, 20:25]
    return replace(part, xyz=xyz)


def test_too_few_points_are_warned_of_once_in_each_run_with_the_count(untrained, parts, held_out):
    def told(work):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            work()
        return [str(w.message) for w in seen]

    detector = untrained()
    few = [small(part) for part in parts]
    how = {"epochs": 1, "pixels_per_image": 5}
    first = "PointMAE: the cloud has 25 points, too few for 64 groups of 16: using 25 groups of 16"
    assert told(lambda: detector.fit([*few[:3], parts[3]], **how)) == [
        f"{first}; the same for 2 more"
    ]
    held_out = [small(part) for part in held_out]
    assert told(lambda: detector.calibrate(held_out, 0.3)) == [f"{first}; the same for 4 more"]
    rgb, xyz = [part.rgb for part in few], [part.xyz for part in few]
    assert told(lambda: detector.predict(rgb, xyz)) == [f"{first}; the same for 5 more"]
    assert told(lambda: detector.predict(rgb[0], xyz[0])) == [first]
    assert told(lambda: detector.predict(parts[0].rgb, parts[0].xyz)) == []


def test_the_error_of_a_run_comes_out_where_warnings_are_errors(untrained, parts):
    bad = cmad.Sample(parts[0].rgb, np.zeros_like(parts[0].xyz), name="all zero")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="all zero"):
            untrained().fit([small(parts[0]), bad], epochs=1)
        with pytest.raises(UserWarning, match="too few for"):
            untrained().fit([small(parts[0])], epochs=1)
