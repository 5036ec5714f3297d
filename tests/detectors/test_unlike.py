"""A detector remembers what training saw, and tells or refuses parts unlike it."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import cmad
from cmad import model_file
from cmad.evaluate import Tally


@pytest.fixture(scope="module")
def fitted(trained, parts, tmp_path_factory):
    """A copy of the trained detector, from a file, with a threshold above all scores."""
    path = tmp_path_factory.mktemp("model") / "part.cmad"
    trained.save(path, include_extractors=True)
    detector = cmad.load(path)
    assert detector.ranges == trained.ranges
    detector.calibrate([replace(p, xyz=p.xyz + 1e-5) for p in parts], false_reject_rate=0.3)
    known = detector.calibration
    detector.calibration = replace(known, threshold=1e9, pixel_threshold=1e9)
    return detector


def hidden(part):
    """The part, most of whose points are missing."""
    xyz = part.xyz.copy()
    xyz[12:36, 20:] = 0
    return replace(part, xyz=xyz)


def told(detector, rgb, xyz, **how):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        prediction = detector.predict(rgb, xyz, **how)
    return prediction, [str(w.message) for w in found]


def test_fit_remembers_its_parts(trained, parts):
    assert trained.ranges.parts == len(parts)
    low, high = trained.ranges.spans["distance"]
    assert 0.47 < low <= high < 0.5


def test_a_part_like_them_gets_no_warning_and_passes_strictly(fitted, make):
    new = make["part"](77)
    prediction, said = told(fitted, new.rgb, new.xyz, strict=True)
    assert said == []
    assert prediction.warnings == ()
    assert prediction.inspected
    assert prediction.verdict == "accepted"
    assert prediction.rejected is False


def test_bgr_is_a_warning_and_strictly_an_error(fitted, parts):
    bgr = parts[0].rgb[..., ::-1]
    prediction, said = told(fitted, bgr, parts[0].xyz)
    assert any("look like BGR for RGB" in line for line in said)
    assert any("look like BGR for RGB" in line for line in prediction.warnings)
    assert prediction.inspected
    with pytest.raises(ValueError, match=r"unlike the training parts: .*look like BGR for RGB"):
        fitted.predict(bgr, parts[0].xyz, strict=True)
    with pytest.raises(ValueError, match="part0: unlike the training parts"):
        fitted.grids([replace(parts[0], rgb=bgr)], strict=True)


def test_calibrate_tells_too(fitted, parts):
    bgr = [replace(p, rgb=p.rgb[..., ::-1], xyz=p.xyz + 1e-5) for p in parts]
    kept = fitted.calibration
    with pytest.warns(UserWarning, match="BGR for RGB"):
        fitted.calibrate(bgr, false_reject_rate=0.3)
    fitted.calibration = kept


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1e-3, 'seem to be metres passed as unit="mm"'),
        (1e3, 'seem to be millimetres: pass unit="mm"'),
        (1e2, "seem to be centimetres: divide them by 100"),
    ],
)
def test_another_unit_is_named_also_where_the_part_is_refused(fitted, parts, factor, said):
    with pytest.raises(ValueError, match=f"; compared with the training parts, it is .* {said}"):
        fitted.predict(parts[0].rgb, parts[0].xyz * np.float32(factor))


def test_a_part_that_is_refused_for_another_reason_is_not_said_to_have_another_unit(fitted, parts):
    with pytest.raises(ValueError, match=r"no valid point: all are 0, NaN, infinite or marks$"):
        fitted.predict(parts[0].rgb, parts[0].xyz * 0)
    with pytest.raises(ValueError, match="thousand times too little") as refused:
        fitted.predict(parts[0].rgb, parts[0].xyz * np.float32(8e-3))  # 8 times as large as metres
    assert "training parts" not in str(refused.value)


def test_a_part_that_is_hardly_seen_is_not_inspected_and_never_accepted(fitted, parts):
    part = hidden(parts[0])
    prediction, said = told(fitted, part.rgb, part.xyz)
    assert any("too little of the part is seen" in line for line in said)
    assert prediction.score <= prediction.threshold
    assert prediction.inspected is False
    assert prediction.verdict == "not inspected"
    assert prediction.rejected is True


def test_a_part_whose_background_is_missing_is_not_inspected(fitted, parts):
    xyz = parts[0].xyz.copy()
    xyz[:, :14] = xyz[:, 34:] = xyz[:14] = xyz[34:] = 0
    prediction, said = told(fitted, parts[0].rgb, xyz)
    assert any("no background plane is found" in line for line in said)
    assert not any("too little" in line for line in said)
    assert prediction.verdict == "not inspected"


def test_what_is_not_inspected_counts_as_rejected_in_tables(fitted, parts):
    tally = Tally(fitted)
    for sample in (parts[0], hidden(parts[0])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tally.add(sample, fitted.grids([sample])[0])
    assert tally.wrong() == (1, 0)


def test_a_file_without_ranges_is_read_and_compares_nothing(fitted, parts, tmp_path):
    fitted.save(tmp_path / "new.cmad", include_extractors=True)
    header, tensors = model_file.read(tmp_path / "new.cmad")
    del header["ranges"]
    model_file.write(tmp_path / "old.cmad", header, tensors)
    older = cmad.load(tmp_path / "old.cmad")
    assert older.ranges is None
    prediction, said = told(older, parts[0].rgb[..., ::-1], parts[0].xyz, strict=True)
    assert (prediction.warnings, said) == ((), [])
    with pytest.raises(ValueError, match=r"in metres.*depth_scale too$"):
        older.predict(parts[0].rgb, parts[0].xyz * np.float32(1e3))


def test_a_failed_fit_keeps_the_ranges(make, parts):
    detector = cmad.CFM(rgb=make["vit"](), xyz=make["point_mae"](), image_size=48)
    detector.fit(parts[:2], epochs=1, pixels_per_image=20, progress=False)
    known = detector.ranges
    with pytest.raises(ValueError, match="no valid point"):
        detector.fit([parts[0], replace(parts[1], xyz=parts[1].xyz * 0)], progress=False)
    assert detector.ranges is known
    detector.fit(parts[:3], epochs=1, pixels_per_image=20, progress=False)
    assert detector.ranges.parts == 3
