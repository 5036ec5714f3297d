"""What every method promises: each entry of METHODS goes through the same tests."""

import json
import resource
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import cmad
from cmad import model_file
from cmad.background import Background
from cmad.cli import app
from cmad.detectors import METHODS, Detector
from cmad.types import GridMaps, Prediction

QUICK = {
    "CFM": {"epochs": 20, "pixels_per_image": 100, "batch_size": 2, "shuffle": False},
    "G2SF": {"epochs": 6, "batch_size": 64, "synthetic_parts": 12, "patches_per_part": 20},
    "M3DM": {"epochs": 2, "batch_size": 2, "patches_per_part": 40},
    "AST": {"epochs": 12, "batch_size": 2, "learning_rate": 1e-3},
}
"""Arguments of training that take a second."""
WORDS = {
    "CFM": ["--epochs", "1", "--pixels-per-image", "20"],
    "G2SF": ["--epochs", "1", "--synthetic-parts", "4", "--patches-per-part", "20"],
    "M3DM": ["--epochs", "1", "--patches-per-part", "20"],
    "AST": ["--epochs", "1", "--set", "student_width=16"],
}
"""The same for the commands."""
OTHERS = {
    "CFM": {
        "mapping": "conv",
        "intramodal": True,
        "aggregation": "2d",
        "discrepancy": "cosine",
    },
    "G2SF": {
        "cells": 12,
        "fraction": 0.5,
        "neighbours": 2,
        "aggregate": "mean",
        "published": "sigma,margin",
    },
    "PatchCore": {"modalities": "3d", "fraction": 0.5, "cells_2d": 6, "cells_3d": 7},
    "BTF": {"fraction": 0.5, "cells": 12},
    "M3DM": {
        "use_uff": False,
        "decision": "sum",
        "fraction": 0.5,
        "cells_2d": 12,
        "cells_3d": 14,
    },
    "AST": {"teacher_width": 8, "student_width": 8, "score": "mean"},
}
"""For each of a method's own options a value that is not the default."""
SMALL = {
    "PatchCore": {"cells_2d": 12, "cells_3d": 16},
    "G2SF": {"cells": 16, "fraction": 0.3},
    "BTF": {"cells": 16, "fraction": 0.3},
    "M3DM": {"cells_2d": 12, "cells_3d": 16, "fraction": 0.3},
    "AST": {"teacher_width": 16, "student_width": 32},
}
"""Options that suit parts of 48 pixels, where the defaults are for larger ones."""
FOR_ALL = {
    "preset": "official",
    "precision": "bf16",
    "seed": 3,
    "image_size": 40,
    "gaps": "filled",
}
each_method = pytest.mark.parametrize("name", METHODS)


@pytest.fixture(scope="session")
def build(make):
    """Make an untrained tiny detector of a method."""

    def built(name, **options):
        given = {"image_size": 48, **SMALL.get(METHODS[name].__name__, {}), **options}
        return METHODS[name](rgb=make["vit"](), xyz=make["point_mae"](), **given)

    return built


def quick(detector):
    """The quick arguments of training that the method has."""
    return QUICK.get(detector.who, {})


@pytest.fixture(scope="session")
def fitted(build, parts, make):
    """A fitted and calibrated detector of a method; tests must not change it."""
    made = {}

    def of(name):
        if name not in made:
            detector = build(name)
            made[name] = detector.fit(parts, progress=False, **quick(detector))
            detector.calibrate([make["part"](s) for s in range(40, 49)], 0.1, progress=False)
        return made[name]

    return of


def same(a, b):
    """Equal to the last bit."""
    assert type(a) is type(b)
    assert a.score == b.score
    assert np.array_equal(a.map, b.map)
    assert a.maps.keys() == b.maps.keys()
    assert all(np.array_equal(a.maps[k], b.maps[k]) for k in a.maps)
    if isinstance(a, Prediction):
        assert (a.threshold, a.p_value, a.regions) == (b.threshold, b.p_value, b.regions)


@each_method
def test_a_method_learns_and_a_planted_dent_scores_above_good_parts(name, fitted, make):
    detector = fitted(name)
    good = [make["part"](s) for s in range(20, 26)]
    dented = [make["part"](s, "dent") for s in range(30, 34)]
    scores = [[float(detector.predict(p.rgb, p.xyz)) for p in ps] for ps in (good, dented)]
    assert min(scores[1]) > max(scores[0])
    got = detector.predict(dented[0].rgb, dented[0].xyz)
    assert got.rejected is True
    assert got.regions
    peak = np.unravel_index(got.map.argmax(), got.map.shape)
    row, column = np.nonzero(dented[0].mask)
    assert np.hypot(row - peak[0], column - peak[1]).min() < 5


@each_method
def test_a_prediction_is_on_the_inputs_pixels_and_a_grid_map_on_the_grid(name, fitted, parts):
    detector, part = fitted(name), parts[0]
    rgb, xyz = part.rgb[:40, :30], part.xyz[:40, :30]
    prediction, grid = detector.predict(rgb, xyz), detector.predict(rgb, xyz, resolution="grid")
    assert isinstance(prediction, Prediction)
    assert isinstance(grid, GridMaps)
    assert grid.modalities == detector.modalities
    for result, shape in ((prediction, (40, 30)), (grid, (48, 48))):
        assert {m.shape for m in (result.map, *result.maps.values())} == {shape}
        assert {m.dtype for m in (result.map, *result.maps.values())} == {np.dtype(np.float32)}
        assert set(detector.modalities) <= set(result.maps)
        assert float(result) == result.score == grid.score


@each_method
def test_fitting_again_gives_what_a_new_detector_gives(name, build, parts):
    detector, fresh = build(name), build(name)
    how = {**quick(detector), "progress": False}
    detector.fit(parts[:3], **how).calibrate(parts[3:5], 0.4, progress=False)
    detector.fit(parts[2:5], **how)
    fresh.fit(parts[2:5], **how)
    assert detector.calibrations == {}
    assert detector.losses == fresh.losses
    same(*(d.predict(parts[5].rgb, parts[5].xyz) for d in (detector, fresh)))


@each_method
def test_a_failed_fit_or_calibration_leaves_the_detector_as_it_was(name, fitted, parts, make):
    detector, part = fitted(name), parts[0]
    before, calibrations = detector.predict(part.rgb, part.xyz), dict(detector.calibrations)
    bad = cmad.Sample(part.rgb, np.zeros_like(part.xyz), name="all zero")
    for samples in ([parts[1], bad], [make["part"](60, "dent")], []):
        with pytest.raises(ValueError, match=r"all zero|only good parts|training set is empty"):
            detector.fit(samples, progress=False)
    with pytest.raises(ValueError, match="all zero"):
        detector.calibrate([make["part"](61), bad], 0.4, progress=False)
    assert detector.calibrations == calibrations
    same(detector.predict(part.rgb, part.xyz), before)


@each_method
def test_calibration_rejects_what_is_above_all_good_parts_in_every_way(name, fitted, make):
    detector = fitted(name)
    ways = [detector.modalities, *detector.fallbacks]
    assert list(detector.calibrations) == ["+".join(way) for way in ways]
    good = [make["part"](s) for s in range(40, 49)]
    for way in ways:
        seen = [
            detector.predict(p.rgb if "2d" in way else None, p.xyz if "3d" in way else None)
            for p in good
        ]
        calibration = detector.calibrations["+".join(way)]
        assert calibration.threshold == max(float(p) for p in seen)
        assert not any(p.rejected or p.regions for p in seen)
        assert set(calibration.map_thresholds) == set(way)


@each_method
def test_single_batched_stacked_and_threaded_predictions_are_equal(name, fitted, make):
    detector = fitted(name)
    parts = [make["part"](s, "dent" if s % 3 else "good") for s in range(70, 81)]  # over a batch
    rgb, xyz = [p.rgb for p in parts], [p.xyz for p in parts]
    want = [detector.predict(r, x) for r, x in zip(rgb, xyz, strict=True)]
    stacked = detector.predict(np.stack(rgb), torch.from_numpy(np.stack(xyz)))
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(detector.predict, rgb, xyz))
    for got in (detector.predict(rgb, xyz), stacked, threaded):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            same(one, other)


@each_method
def test_frames_of_several_sizes_are_one_batch(name, fitted, make):
    detector, part = fitted(name), make["part"](90)
    cut = [(part.rgb[:h, :w], part.xyz[:h, :w]) for h, w in ((48, 48), (40, 48), (44, 30))]
    for got, (rgb, xyz) in zip(detector.predict(*zip(*cut, strict=True)), cut, strict=True):
        same(got, detector.predict(rgb, xyz))


@each_method
@pytest.mark.parametrize("include", [True, False])
def test_saved_and_loaded_it_is_the_same_bit_for_bit(name, include, fitted, parts, tmp_path):
    detector, part = fitted(name), parts[0]
    detector.save(tmp_path / "a.cmad", include_extractors=include)
    loaded = cmad.load(tmp_path / "a.cmad", **detector.pipeline.extractors)
    assert type(loaded) is type(detector)
    assert loaded.calibrations == detector.calibrations
    same(loaded.predict(part.rgb, part.xyz), detector.predict(part.rgb, part.xyz))
    loaded.save(tmp_path / "b.cmad", include_extractors=include)
    header, tensors = model_file.read(tmp_path / "a.cmad")
    again, others = model_file.read(tmp_path / "b.cmad")
    assert header == again
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[k], others[k]) for k in tensors)
    assert load_file(tmp_path / "a.cmad").keys() == tensors.keys()
    assert any(k.startswith("extractors.") for k in tensors) == include


def options_of(name):
    """Every option of a method with a value that is not its default."""
    own = {f.name for f in fields(METHODS[name].Options)}
    given = OTHERS.get(METHODS[name].__name__, {})
    assert own == set(given), "OTHERS must have a value for each of the method's options"
    return {**FOR_ALL, **given}


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name in METHODS for option in options_of(name)]
)
def test_every_option_comes_back_from_the_file(name, option, build, parts, tmp_path):
    value = options_of(name)[option]
    detector = build(name, **{option: value})
    detector.fit(parts[:2], progress=False, **quick(detector)).save(tmp_path / "part.cmad")
    loaded = cmad.load(tmp_path / "part.cmad", **detector.pipeline.extractors)
    assert loaded.options == detector.options
    attributes = ("variant", "preset", "precision", "seed")
    assert [getattr(loaded, a) for a in attributes] == [getattr(detector, a) for a in attributes]
    assert loaded.pipeline.preprocessing == detector.pipeline.preprocessing
    header, _ = model_file.read(tmp_path / "part.cmad")
    assert header.get(option, header["options"].get(option)) == value
    same(*(d.predict(parts[2].rgb, parts[2].xyz) for d in (detector, loaded)))


@each_method
def test_a_region_of_interest_is_what_is_looked_at_and_comes_back_from_the_file(
    name, build, parts, tmp_path
):
    region = np.zeros((48, 48), bool)
    region[10:30, 12:40] = True
    detector = build(name, background=region)
    detector.fit(parts[:2], progress=False, **quick(detector)).save(tmp_path / "a.cmad")
    loaded = cmad.load(tmp_path / "a.cmad", **detector.pipeline.extractors)
    assert loaded.pipeline.preprocessing.background == Background.of(region)
    frame = loaded.pipeline.frame(parts[2])
    np.testing.assert_array_equal(frame.valid.numpy(), region)  # the table in it, too
    same(*(d.predict(parts[2].rgb, parts[2].xyz) for d in (detector, loaded)))
    with pytest.raises(ValueError, match="must be as high and wide as the part"):
        detector.predict(parts[2].rgb[:40], parts[2].xyz[:40])


@each_method
@pytest.mark.filterwarnings("ignore:.* too little of the part is seen")
def test_what_is_dropped_of_a_part_is_told_once_and_is_in_each_prediction(name, fitted, parts):
    detector = fitted(name)
    xyz = parts[0].xyz.copy()
    xyz[:, 20:30] = np.nan  # too wide for the smaller piece to be near
    xyz[:, 30:, 0] += 0.05
    with pytest.warns(
        UserWarning, match=r"frame 0: .* are dropped: .*; the same for 2 more"
    ) as seen:
        got = detector.predict([parts[0].rgb] * 3, [xyz] * 3)
    assert len([w for w in seen if "dropped" in str(w.message)]) == 1
    for prediction in got:
        assert ["dropped" in text for text in prediction.warnings] == [True, False]
        assert prediction.verdict in ("rejected", "not inspected")
    assert detector.predict(parts[0].rgb, parts[0].xyz).warnings == ()


@each_method
def test_wrong_options_and_arguments_are_named(name, build, parts):
    who = METHODS[name].__name__
    with pytest.raises(TypeError, match=rf"{who}: no option 'colour'; it has "):
        build(name, colour="red")
    with pytest.raises(ValueError, match=rf"{who}: preset must be one of"):
        build(name, preset="mine")
    with pytest.raises(ValueError, match=r'background must be "plane", .*, got \'floor\''):
        build(name, background="floor")
    detector = build(name)
    with pytest.raises(TypeError, match=rf"{who}\.fit: no argument 'colour'; it has "):
        detector.fit(parts, colour="red")
    with pytest.raises(TypeError, match="positional"):
        detector.fit(parts, 30)  # epochs are named, and no progress bar is meant
    for work in (
        lambda: detector.predict(parts[0].rgb, parts[0].xyz),
        lambda: detector.calibrate(parts, 0.5),
        lambda: detector.save("nowhere.cmad"),
    ):
        with pytest.raises(RuntimeError, match=rf"{who}: not trained yet; call fit"):
            work()


@each_method
def test_a_part_without_a_modality_is_judged_or_refused_with_the_reason(name, fitted, parts):
    detector, part = fitted(name), parts[0]
    for way in (("2d",), ("3d",)):
        rgb, xyz = (part.rgb if "2d" in way else None), (part.xyz if "3d" in way else None)
        if way in detector.fallbacks:
            got = detector.predict(rgb, xyz)
            assert set(got.maps) == set(way)
            assert got.threshold == detector.calibrations[way[0]].threshold
            same(got, detector.predict([rgb], [xyz])[0])
        else:
            lacking = "no xyz" if "2d" in way else "no rgb"
            with pytest.raises(ValueError, match=rf"needs rgb and xyz: {detector.why_all}; got"):
                detector.predict(rgb, xyz)
            with pytest.raises(ValueError, match=rf"frame 0: .*{lacking}"):
                detector.predict([rgb], [xyz])
    with pytest.raises(ValueError, match="needs rgb, xyz or both, got neither"):
        detector.predict(None, None)
    with pytest.raises(ValueError, match=r"frame 1: .* needs rgb and xyz.*no rgb and no xyz"):
        detector.predict([part.rgb, None], [part.xyz, None])
    without = cmad.Sample(part.rgb, None, name="flat")
    for learn in (detector.fit, detector.calibrate):
        with pytest.raises(ValueError, match="flat: good parts must have all that"):
            learn(iter([without]), progress=False)


@each_method
def test_a_score_that_is_not_finite_is_no_verdict(name, fitted, parts, monkeypatch):
    detector, part = fitted(name), parts[0]
    grid = detector.predict([part.rgb], [part.xyz], resolution="grid")[0]
    for wrong in ({"score": np.nan}, {"map": np.full((48, 48), np.inf, np.float32)}):
        broken = replace(grid, **wrong)
        monkeypatch.setattr(type(detector), "maps", lambda *_, broken=broken: broken)
        with pytest.raises(ValueError, match=r"frame 0: .* no finite score: no verdict"):
            detector.predict([part.rgb], [part.xyz])


@each_method
def test_inputs_are_left_as_they_were(name, fitted, parts):
    rgb, xyz = parts[0].rgb.copy(), parts[0].xyz.copy()
    fitted(name).predict(rgb, xyz)
    assert np.array_equal(rgb, parts[0].rgb)
    assert np.array_equal(xyz, parts[0].xyz)


@each_method
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PointMAE. the cloud has")  # the parts are small
def test_the_commands_fit_score_tell_and_evaluate(name, data, tmp_path):
    """Fit and evaluate with the method on the command line, from files to tables."""
    who = METHODS[name].__name__
    small = ["--rgb", "vit_tiny_patch16_224", "--variant", "tiny", "--weights", "random"]
    small += ["--image-size", "112", "--method", name]
    small += WORDS.get(who, [])

    def run(*words):
        done = CliRunner().invoke(app, [str(w) for w in words])
        assert done.exit_code == 0, done.output
        return done.output

    model, out = tmp_path / "part.cmad", tmp_path / "out"
    said = run("fit", data, "--category", "cover", "-r", "0.4", "-o", model, *small)
    assert f"fitted {who} to 1 good parts" in said
    assert f"{who}, variant tiny" in run("info", model)
    said = run("score", model, data / "cover" / "test", "-o", out)
    assert "AUPRO@30%" in said
    lines = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    assert [line["rejected"] in (True, False) for line in lines] == [True] * 4
    run("evaluate", data, "-o", tmp_path / "tables", *small)
    page = (tmp_path / "tables" / "evaluation.md").read_text()
    assert f"{who}-T" in page
    with_options = json.loads((tmp_path / "tables" / "evaluation.json").read_text())
    assert {f.name for f in fields(METHODS[name].Options)} <= set(
        json.dumps(with_options).split('"')
    )


@each_method
@pytest.mark.slow
def test_memory_stays_flat_over_500_predictions(name, fitted, parts):
    detector, part = fitted(name), parts[0]
    for _ in range(50):  # allocators and caches fill
        detector.predict(part.rgb, part.xyz)
    before = resident()
    for _ in range(500):
        detector.predict(part.rgb, part.xyz)
    assert resident() - before < 4e6  # 8 kB each; a leaked map of the smallest part is 9 kB


def resident():
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_the_table_names_every_method():
    def below(kind):
        return {kind, *(k for sub in kind.__subclasses__() for k in below(sub))}

    found = {k for k in below(Detector) if k.__module__.startswith("cmad.")} - {Detector}
    assert set(METHODS.values()) == found
    assert all(name == kind.__name__.lower() for name, kind in METHODS.items())
    assert all(getattr(cmad, kind.__name__) is kind for kind in METHODS.values())
