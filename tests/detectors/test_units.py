"""The unit that a detector is told, and what it keeps of it."""

from dataclasses import replace

import numpy as np
import pytest

import cmad
from cmad import model_file
from cmad.units import Units, to_metres

HOW = {"epochs": 3, "pixels_per_image": 50, "progress": False}
THOUSAND = np.float32(1000)


def in_mm(samples):
    return [replace(s, xyz=s.xyz * THOUSAND) for s in samples]


def back(samples):
    """In metres again, rounded as the detector does it."""
    return [replace(s, xyz=to_metres(s.xyz, "mm")) for s in in_mm(samples)]


@pytest.fixture(scope="module")
def held_out(make):
    return [make["part"](seed) for seed in range(40, 49)]


@pytest.fixture(scope="module")
def of_mm(make, parts, held_out):
    """Fitted and calibrated on parts in millimetres; tests must not change it."""
    detector = cmad.CFM(rgb=make["vit"](), xyz=make["point_mae"](), image_size=48)
    detector.fit(in_mm(parts), unit="mm", **HOW)
    detector.calibrate(in_mm(held_out), 0.2, progress=False, unit="mm")
    return detector


def test_parts_in_millimetres_teach_what_the_same_in_metres_do(of_mm, untrained, parts, held_out):
    want = untrained().fit(back(parts), **HOW)
    want.calibrate(back(held_out), 0.2, progress=False)
    assert of_mm.calibrations == want.calibrations
    assert of_mm.trained_on == want.trained_on
    assert (of_mm.units, want.units) == (Units("mm"), Units())


def test_predict_takes_the_unit_of_the_training_and_an_explicit_one_wins(of_mm, trained, parts):
    part = parts[0]
    mm, [metres] = part.xyz * THOUSAND, back([part])
    want = of_mm.predict(part.rgb, metres.xyz, unit="m")
    for got in (of_mm.predict(part.rgb, mm), of_mm.predict([part.rgb], [mm])[0]):
        assert got.score == want.score
        assert (got.map == want.map).all()
    assert of_mm.predict(part.rgb, mm, resolution="grid").score == want.score
    assert of_mm.grids([metres])[0].score == want.score  # samples are in metres
    with pytest.raises(ValueError, match=r'a thousand times too little.* pass unit="m"'):
        of_mm.predict(part.rgb, part.xyz)
    assert trained.units == Units()
    assert trained.predict(part.rgb, part.xyz).score == trained.grids([part])[0].score
    with pytest.raises(ValueError, match='for millimetres pass unit="mm"'):
        trained.predict(part.rgb, mm)


def test_calibrate_takes_metres_unless_told(of_mm, held_out):
    before = of_mm.calibrations
    with pytest.raises(ValueError, match='for millimetres pass unit="mm"'):
        of_mm.calibrate(in_mm(held_out), 0.2, progress=False)
    of_mm.calibrate(back(held_out), 0.2, progress=False)
    assert of_mm.calibrations == before


def test_units_are_saved_and_come_back(of_mm, parts, tmp_path):
    of_mm.save(tmp_path / "mm.cmad")
    loaded = cmad.load(tmp_path / "mm.cmad", **of_mm.pipeline.extractors)
    assert loaded.units == Units("mm")
    mm = parts[1].xyz * THOUSAND
    assert loaded.predict(parts[1].rgb, mm).score == of_mm.predict(parts[1].rgb, mm).score
    loaded.units = Units("m", (60, 50, 3, 2), "mm", 0.1)
    loaded.save(tmp_path / "camera.cmad")
    again = cmad.load(tmp_path / "camera.cmad", **of_mm.pipeline.extractors)
    assert again.units == loaded.units


def test_a_file_of_before_is_in_metres_and_units_that_cannot_be_are_refused(trained, tmp_path):
    trained.save(tmp_path / "a.cmad")
    header, tensors = model_file.read(tmp_path / "a.cmad")
    del header["units"]
    model_file.write(tmp_path / "a.cmad", header, tensors)
    assert cmad.load(tmp_path / "a.cmad", **trained.pipeline.extractors).units == Units()
    for wrong, message in (({"unit": "inch"}, "unit must be"), ({"colour": 1}, "incomplete")):
        model_file.write(tmp_path / "b.cmad", {**header, "units": wrong}, tensors)
        with pytest.raises(ValueError, match=rf"b\.cmad: .*{message}"):
            cmad.load(tmp_path / "b.cmad", **trained.pipeline.extractors)


def test_fitting_again_takes_the_new_unit_and_a_failed_fit_leaves_the_old(
    untrained, parts, make, held_out
):
    detector = untrained().fit(in_mm(parts[:2]), unit="mm", **HOW)
    with pytest.raises(ValueError, match="a thousand times too little"):
        detector.fit(parts[:2], unit="mm", **HOW)
    with pytest.raises(ValueError, match="for millimetres"):
        detector.fit(in_mm(parts[:2]), **HOW)
    assert detector.units == Units("mm")
    assert detector.fit(parts[:2], **HOW).units == Units()


def test_a_wrong_unit_is_told_before_a_sample_is_read(untrained, trained):
    def never():
        raise AssertionError("this has to be known before")
        yield

    for work in (untrained().fit, trained.calibrate):
        with pytest.raises(ValueError, match="unit must be 'm' or 'mm', got 'inch'"):
            work(never(), unit="inch", progress=False)


def test_whole_numbers_of_millimetres_are_named(untrained, parts):
    whole = replace(parts[0], xyz=np.round(parts[0].xyz * 1000).astype(np.int16))
    with pytest.raises(TypeError, match="part0: xyz must be an array of floats in mm, got int16"):
        untrained().fit([whole], unit="mm", **HOW)


def test_parts_that_may_be_in_another_unit_are_told_of_once_a_run(untrained, parts):
    wide = [replace(p, xyz=p.xyz * np.float32([60, 60, 1])) for p in parts[:3]]
    with pytest.warns(
        UserWarning, match="part0: xyz reaches over 2 m.*; the same for 2 more$"
    ) as w:
        untrained().fit(wide, **HOW)
    assert len([x for x in w if "reaches over" in str(x.message)]) == 1
