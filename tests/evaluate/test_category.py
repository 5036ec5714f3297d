"""Evaluation of one category: the figures are those of the calls it is made of."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tifffile
from PIL import Image

import cmad
from cmad import metrics
from cmad.evaluate import AREAS, GRID, METRICS, Evaluation, Plan, evaluate, fingerprint, mean
from cmad.preprocess import mask_to_grid
from cmad.units import Units

FIT = {"epochs": 2, "pixels_per_image": 50, "progress": False}


class Untrained:
    """A detector that must not be trained."""

    def fit(self, *_, **__):
        raise AssertionError("this has to be known before anything is trained")


@pytest.fixture(scope="module")
def evaluated(data, make, tmp_path_factory):
    """The results of the category, and the folder of its maps."""
    maps = tmp_path_factory.mktemp("maps")
    plan = Plan(fit=FIT, false_reject_rate=0.4, maps=maps)
    [result] = evaluate(cmad.datasets.open(data), ["cover"], make, plan)
    return result, maps


@pytest.fixture(scope="module")
def by_hand(data, make):
    """Predictions of the test parts on the grid and on the input, from a detector of the same."""
    found = cmad.datasets.open(data)
    detector = make().fit(found.split("cover", "train"), **FIT)
    detector.calibrate(found.split("cover", "validation"), 0.4, progress=False)
    test = list(found.split("cover", "test"))
    both = [
        [detector.predict(s.rgb, s.xyz, resolution=resolution) for s in test]
        for resolution in ("grid", "input")
    ]
    return detector, test, *both


def test_metrics_are_those_of_the_predictions_on_the_grid(evaluated, by_hand):
    result, _ = evaluated
    detector, test, grid, _ = by_hand
    masks = [mask_to_grid(s.mask, detector.pipeline.preprocessing) for s in test]
    maps, scores = [p.map for p in grid], [p.score for p in grid]
    labels = [s.label for s in test]
    want = {
        "I-AUROC": metrics.image_auroc(scores, labels),
        "I-AP": metrics.image_average_precision(scores, labels),
        "P-AUROC": metrics.pixel_auroc(maps, masks),
        "P-AP": metrics.pixel_average_precision(maps, masks),
        **dict(zip(AREAS, metrics.aupro(maps, masks), strict=True)),
    }
    assert result.metrics == pytest.approx(want, abs=1e-12)
    assert tuple(result.metrics) == METRICS
    published = metrics.aupro(maps, masks, thresholds=GRID)
    assert list(result.grid.values()) == pytest.approx(published, abs=1e-12)


def test_counts_verdicts_speed_and_memory_are_told(evaluated, by_hand):
    result, _ = evaluated
    detector, test, grid, _ = by_hand
    assert (result.category, result.train, result.good, result.defective) == ("cover", 1, 2, 2)
    rejected = np.array([p.score > detector.threshold for p in grid])
    bad = np.array([s.label == 1 for s in test])
    assert result.verdicts == {
        "threshold": detector.threshold,
        "false_rejects": (rejected & ~bad).sum(),
        "missed": (~rejected & bad).sum(),
    }
    assert set(result.seconds) == {"check", "fit", "calibrate", "test", "metrics"}
    assert 0.1 < result.frames_per_second < 1e4
    assert 50 < result.memory < 1e5


def test_maps_are_written_at_original_size_where_the_mvtec_script_looks(evaluated, by_hand):
    _, maps = evaluated
    _, test, _, full = by_hand
    files = sorted(str(p.relative_to(maps)) for p in maps.rglob("*.tiff"))
    assert files == sorted(f"cover/{s.name}.tiff" for s in test)
    assert files[0].startswith("cover/test/")
    for sample, prediction in zip(test, full, strict=True):
        written = tifffile.imread(maps / "cover" / f"{sample.name}.tiff")
        assert written.dtype == np.float32
        np.testing.assert_array_equal(written, prediction.map)


@pytest.fixture
def damaged(data, tmp_path):
    """The data set with one more training part, and one of the training and test parts broken."""
    shutil.copytree(data / "cover", tmp_path / "cover")
    train, test = tmp_path / "cover/train/good", tmp_path / "cover/test/good"
    for name, suffix in (("rgb", "png"), ("xyz", "tiff"), ("gt", "png")):
        shutil.copy(train / name / f"000.{suffix}", train / name / f"001.{suffix}")
    (train / "xyz/001.tiff").write_bytes(b"no TIFF")
    (test / "rgb/001.png").write_bytes(b"no PNG")
    return cmad.datasets.open(tmp_path)


def test_an_unreadable_part_in_the_middle_is_named(damaged, make):
    with pytest.raises(ValueError, match=r"test/good/rgb/001\.png: cannot be read"):
        list(evaluate(damaged, ["cover"], Untrained, Plan(fit=FIT)))  # before any training
    rgb = damaged.root / "cover/test/good/rgb"
    shutil.copy(rgb / "000.png", rgb / "001.png")
    with pytest.raises(ValueError, match=r"train/good/xyz/001\.tiff: cannot be read"):
        list(evaluate(damaged, ["cover"], make, Plan(fit=FIT)))


def test_with_skip_bad_the_others_are_evaluated_and_bad_ones_listed(damaged, make):
    with pytest.warns(RuntimeWarning, match="1 of . samples were left out") as warned:
        [result] = evaluate(damaged, ["cover"], make, Plan(fit=FIT, skip_bad=True))
    assert len(warned) == 2
    assert result.metrics["I-AUROC"] in (0, 0.5, 1)  # of one good and two defective parts
    assert [name for name, _ in result.bad] == ["train/good/001", "test/good/001"]
    assert all("cannot be read" in reason for _, reason in result.bad)
    assert (result.train, result.good, result.defective) == (1, 1, 2)


def test_a_part_without_any_point_is_left_out_of_training_and_test(damaged, make, tmp_path):
    for split in ("train", "test"):
        (path,) = (tmp_path / "cover" / split / "good/xyz").glob("000.tiff")
        other = path.with_name("001.tiff")
        tifffile.imwrite(other, np.zeros_like(tifffile.imread(path)), photometric="rgb")
    shutil.copy(tmp_path / "cover/test/good/rgb/000.png", tmp_path / "cover/test/good/rgb/001.png")
    with pytest.warns(RuntimeWarning, match="left out"):
        [result] = evaluate(damaged, ["cover"], make, Plan(fit=FIT, skip_bad=True))
    assert [name for name, _ in result.bad] == ["train/good/001", "test/good/001"]
    assert all("no valid point" in reason for _, reason in result.bad)


def test_a_calibration_part_that_cannot_be_scored_is_left_out_and_listed(
    data, make, tmp_path, monkeypatch
):
    """One that gets no finite score, beside one without any point."""
    shutil.copytree(data / "cover", tmp_path / "cover")
    good = tmp_path / "cover/validation/good"
    for name, suffix in (("rgb", "png"), ("xyz", "tiff"), ("gt", "png")):
        for copy in ("002", "003"):
            shutil.copy(good / name / f"001.{suffix}", good / name / f"{copy}.{suffix}")
    points = tifffile.imread(good / "xyz/002.tiff")
    tifffile.imwrite(good / "xyz/002.tiff", points * 0, photometric="rgb")
    tifffile.imwrite(good / "xyz/003.tiff", points * np.float32(1.001), photometric="rgb")
    maps = cmad.CFM.maps

    def broken(self, features):
        grid = maps(self, features)
        return replace(grid, score=np.nan) if features.name == "validation/good/003" else grid

    monkeypatch.setattr(cmad.CFM, "maps", broken)
    found = cmad.datasets.open(tmp_path)
    plan = Plan(fit=FIT, false_reject_rate=0.4, skip_bad=True)
    with pytest.warns(RuntimeWarning, match="1 of 4 samples were left out"):
        [result] = evaluate(found, ["cover"], make, plan)
    assert dict(result.bad).keys() == {"validation/good/002", "validation/good/003"}
    assert "no finite score" in dict(result.bad)["validation/good/003"]
    want = make().fit(found.split("cover", "train"), **FIT)
    kept = [s for s in data_of(data, "validation") if s.name[-3:] in ("000", "001")]
    assert result.verdicts["threshold"] == want.calibrate(kept, 0.4, progress=False)
    assert result.train == 1
    with pytest.raises(ValueError, match=r"cover: validation/good/00[23]: "):
        list(evaluate(found, ["cover"], make, replace(plan, skip_bad=False)))


def data_of(root, split):
    return cmad.datasets.open(root).split("cover", split)


def test_parts_come_in_metres_whatever_the_detector_was_told(data, make, tmp_path):
    """The figures of a data set in millimetres are those of the same in metres."""
    shutil.copytree(data / "cover", tmp_path / "cover")
    for file in tmp_path.rglob("xyz/*.tiff"):
        tifffile.imwrite(file, tifffile.imread(file) * np.float32(1000), photometric="rgb")

    class Told(cmad.CFM):
        def fit(self, *arguments, **how):
            super().fit(*arguments, **how)
            self.units = Units("mm")
            return self

    def told():
        like = make()
        return Told(
            rgb=like.pipeline.extractors["rgb"], xyz=like.pipeline.extractors["xyz"], image_size=64
        )

    plan = Plan(fit=FIT)
    [want] = evaluate(cmad.datasets.open(data), ["cover"], make, plan)
    [got] = evaluate(cmad.datasets.open(tmp_path, unit="mm"), ["cover"], told, plan)
    assert got.metrics == pytest.approx(want.metrics, abs=0.02)  # rounded, and trained on that
    with pytest.raises(ValueError, match='for millimetres pass unit="mm"'):
        list(evaluate(cmad.datasets.open(tmp_path), ["cover"], make, plan))


def test_few_shots_train_on_the_parts_drawn_by_the_seed(tmp_path, make):
    from cmad.testing import eyecandies

    eyecandies.write(tmp_path, "Drop", train=5, size=160)
    found = cmad.datasets.open(tmp_path)
    results = {}
    for shots, seed in ((2, 0), (2, 1), (None, 0)):
        plan = Plan(shots=shots, seed=seed, fit=FIT)
        [results[shots, seed]] = evaluate(found, ["Drop"], make, plan)
    assert [r.train for r in results.values()] == [2, 2, 5]
    detector = make().fit(found.split("Drop", "train").few_shot(2, 1), **FIT)
    test = list(found.split("Drop", "test"))
    maps = [detector.predict(s.rgb, s.xyz, resolution="grid").map for s in test]
    masks = [mask_to_grid(s.mask, detector.pipeline.preprocessing) for s in test]
    assert results[2, 1].metrics["P-AUROC"] == metrics.pixel_auroc(maps, masks)
    assert results[2, 0].metrics["P-AUROC"] != metrics.pixel_auroc(maps, masks)


@pytest.mark.parametrize(("kept", "lacking"), [("good", "defective"), ("bad", "good")])
def test_a_test_set_of_one_kind_is_an_error_before_any_training(data, tmp_path, kept, lacking):
    shutil.copytree(data / "cover", tmp_path / "cover")
    for kind in (tmp_path / "cover/test").iterdir():
        if (kind.name == "good") != (kept == "good"):
            shutil.rmtree(kind)
    found = cmad.datasets.open(tmp_path)
    with pytest.raises(ValueError, match=f"cover: none of the 2 test parts is a {lacking} one"):
        list(evaluate(found, ["cover"], Untrained, Plan(fit=FIT)))


@pytest.mark.parametrize("skip_bad", [False, True])
def test_defective_parts_without_a_mask_are_an_error_before_any_training(data, tmp_path, skip_bad):
    for kind in (data / "cover/test").iterdir():
        for name in ("rgb", "xyz"):
            shutil.copytree(kind / name, tmp_path / "plain" / kind.name / name)
    for file in (data / "cover/validation/good").glob("[rx]*/*"):
        shutil.copy(file, tmp_path / "plain/good" / file.parent.name / f"9{file.name}")
    found = cmad.datasets.open(tmp_path / "plain")
    said = "test parts is a defective one" if skip_bad else "a test part needs a mask"
    with pytest.raises(ValueError, match=said):
        list(evaluate(found, ["plain"], Untrained, Plan(fit=FIT, skip_bad=skip_bad)))


def test_a_test_part_that_cannot_be_predicted_is_named(data, make, tmp_path):
    shutil.copytree(data / "cover", tmp_path / "cover")
    path = tmp_path / "cover/test/good/xyz/001.tiff"
    tifffile.imwrite(path, np.zeros_like(tifffile.imread(path)), photometric="rgb")
    with pytest.raises(ValueError, match="cover: test/good/001: xyz has no valid point"):
        list(evaluate(cmad.datasets.open(tmp_path), ["cover"], make, Plan(fit=FIT)))


def test_the_official_preset_takes_its_own_map_for_the_pixel_roc(data, make):
    found = cmad.datasets.open(data)
    official = partial(make, preset="official")
    [result] = evaluate(found, ["cover"], official, Plan(fit=FIT))
    detector = official().fit(found.split("cover", "train"), **FIT)
    test = list(found.split("cover", "test"))
    maps = [detector.predict(s.rgb, s.xyz, resolution="grid").maps["pixel_auroc"] for s in test]
    masks = [mask_to_grid(s.mask, detector.pipeline.preprocessing) for s in test]
    want = metrics.pixel_auroc(maps, masks)
    assert result.metrics["P-AUROC"] == pytest.approx(want, abs=1e-12)


def made_up(category, value, **more):
    return Evaluation(
        category=category,
        train=3,
        good=4,
        defective=5,
        metrics=dict.fromkeys(METRICS, value),
        grid=dict.fromkeys(AREAS, value / 2),
        frames_per_second=10 * value,
        memory=100 * value,
        seconds={"fit": 1.0},
        **more,
    )


def test_the_mean_counts_categories_equally():
    both = mean([made_up("a", 0.25), made_up("b", 0.75, bad=(("x", "broken"),))])
    assert both.metrics == dict.fromkeys(METRICS, 0.5)
    assert both.grid == dict.fromkeys(AREAS, 0.25)
    assert (both.train, both.good, both.defective) == (6, 8, 10)
    assert (both.frames_per_second, both.memory, both.seconds) == (5, 75, {"fit": 2.0})
    assert both.bad == (("x", "broken"),)


def test_parts_of_unequal_sizes_are_evaluated_each_at_its_own(data, make, tmp_path):
    shutil.copytree(data / "cover", tmp_path / "cover")
    cropped = tmp_path / "cover/test/good"
    for name, suffix in (("rgb", "png"), ("gt", "png"), ("xyz", "tiff")):
        path = cropped / name / f"000.{suffix}"
        if suffix == "tiff":
            tifffile.imwrite(path, tifffile.imread(path)[4:-4, 6:-5], photometric="rgb")
        else:
            image = Image.open(path)
            image.crop((6, 4, image.width - 5, image.height - 4)).save(path)
    plan = Plan(fit=FIT, maps=tmp_path / "maps")
    [result] = evaluate(cmad.datasets.open(tmp_path / "cover"), ["cover"], make, plan)
    assert (result.good, result.defective) == (2, 2)
    shapes = [
        tifffile.imread(tmp_path / f"maps/cover/test/good/{n}.tiff").shape for n in ("000", "001")
    ]
    assert shapes == [(64, 85), (72, 96)]


def test_a_changed_list_of_a_category_is_other_data(tmp_path):
    from cmad.testing import real_iad_d3

    real_iad_d3.write_listed(tmp_path, "plug")
    data = cmad.datasets.open(tmp_path)
    before = fingerprint(data, "plug")
    assert fingerprint(data, "plug") == before
    [path] = tmp_path.rglob("plug.json")
    path.write_text(path.read_text().replace("train", "validation", 1))
    assert fingerprint(data, "plug") != before
