import csv
import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from cmad.datasets import Folder, Synthetic
from cmad.metrics import aupro, image_auroc, pixel_auroc
from cmad.preprocess import mask_to_grid
from cmad.serve.results import Result, Results


def rows(out):
    with (out / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def lines(out):
    return [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def scored(run, model, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored")
    result = run("score", model, data / "cover" / "test", "--out", out)
    assert result.code == 0, result.err
    return out, result


def test_every_file_agrees_with_predict(scored, detector, data):
    out, _ = scored
    parts = Folder(data / "cover" / "test")
    assert len(rows(out)) == len(lines(out)) == len(parts) == 4
    for sample, row, line in zip(parts, rows(out), lines(out), strict=True):
        want = detector.predict(sample.rgb, sample.xyz)
        assert row["name"] == line["name"] == sample.name
        assert float(row["score"]) == line["score"] == want.score
        assert float(row["threshold"]) == line["threshold"] == detector.threshold
        assert (row["rejected"] == "True") is line["rejected"] is want.rejected
        assert float(row["p_value"]) == line["p_value"] == want.p_value
        assert int(row["regions"]) == len(line["regions"]) == len(want.regions)
        assert line["regions"] == json.loads(json.dumps([asdict(r) for r in want.regions]))
        assert row["defect"] == line["defect"] == sample.defect
        assert int(row["label"]) == line["label"] == sample.label
        assert float(row["seconds"]) == line["seconds"] > 0
        assert row["error"] == ""
        assert line["error"] is None
        map_ = tifffile.imread(out / "maps" / f"{sample.name}.tiff")
        assert map_.dtype == np.float32
        np.testing.assert_array_equal(map_, want.map)
        overlay = np.asarray(Image.open(out / "overlays" / f"{sample.name}.png"))
        height, width = map_.shape
        assert overlay.shape[0] > height  # the caption is below
        assert overlay.shape[1] == width
        clear = overlay[:height] == sample.rgb
        assert clear[want.map == 0].all()


def test_the_regions_of_a_part_that_has_some_are_written_in_full(run, detector, data, tmp_path):
    calibration = detector.calibration
    detector.calibration = replace(calibration, pixel_threshold=calibration.pixel_threshold / 2)
    try:
        detector.save(tmp_path / "keen.cmad")
        hole = data / "cover" / "test" / "hole"
        pair = hole / "rgb" / "000.png", hole / "xyz" / "000.tiff"
        assert run("score", tmp_path / "keen.cmad", *pair, "--out", tmp_path / "out").code == 0
        sample = next(s for s in Folder(data / "cover" / "test") if s.name == "hole/000")
        want = detector.predict(sample.rgb, sample.xyz)
    finally:
        detector.calibration = calibration
    (line,), (row,) = lines(tmp_path / "out"), rows(tmp_path / "out")
    assert len(want.regions) >= 1
    assert int(row["regions"]) == len(want.regions)
    for got, region in zip(line["regions"], want.regions, strict=True):
        assert got["box"] == list(region.box)
        assert got["pixels"] == region.pixels
        assert got["area"] == region.area
        assert got["centroid"] == list(region.centroid)
        assert got["modality"] == region.modality
        assert got["discrepancy"] == region.discrepancy
    overlay = np.asarray(Image.open(next((tmp_path / "out" / "overlays").rglob("*.png"))))
    assert (overlay[: len(want.map)] == 255).all(-1).any()  # the line


def test_the_summary_has_verdicts_metrics_and_the_random_weights(scored, detector, data):
    _, result = scored
    samples = list(Folder(data / "cover" / "test"))
    grids = [detector.predict(s.rgb, s.xyz, resolution="grid") for s in samples]
    masks = [mask_to_grid(s.mask, detector.pipeline.preprocessing) for s in samples]
    labels = [s.label for s in samples]
    wanted = {
        "I-AUROC": image_auroc([g.score for g in grids], labels),
        "P-AUROC": pixel_auroc([g.map for g in grids], masks),
        "AUPRO@30%": aupro([g.map for g in grids], masks, (0.3,))[0],
    }
    words = result.out.split()
    for name, value in wanted.items():
        assert words[words.index(name) + 1] == f"{value:.4f}"
    rejected = [bool(g.score > detector.threshold) for g in grids]
    false = sum(r for r, y in zip(rejected, labels, strict=True) if not y)
    missed = sum(not r for r, y in zip(rejected, labels, strict=True) if y)
    assert f"false rejects {false} of 2 good, missed {missed} of 2 defective" in result.out
    assert "scored 4 of 4 parts" in result.out
    assert "random weights" in result.out


def test_without_a_terminal_there_is_no_progress(scored):
    assert scored[1].err == ""
    assert "\x1b" not in scored[1].out


def test_pairs_of_files_are_scored_in_either_order_and_named_by_their_image(
    run, model, data, detector, tmp_path
):
    good, bad = data / "cover" / "test" / "good", data / "cover" / "test" / "hole"
    pairs = [good / "rgb" / "000.png", good / "xyz" / "000.tiff"]
    pairs += [bad / "xyz" / "000.tiff", bad / "rgb" / "000.png"]
    result = run("score", model, *pairs, "--out", tmp_path, "--no-maps")
    assert result.code == 0, result.err
    assert [line["name"] for line in lines(tmp_path)] == ["good/rgb/000", "hole/rgb/000"]
    assert not (tmp_path / "maps").exists()
    assert len(list((tmp_path / "overlays").rglob("*.png"))) == 2
    parts = {s.name: s for s in Folder(data / "cover" / "test")}
    want = detector.predict(parts["good/000"].rgb, parts["good/000"].xyz).score
    assert lines(tmp_path)[0]["score"] == want
    assert lines(tmp_path)[0]["label"] is None
    assert rows(tmp_path)[0]["defect"] == ""
    assert "AUROC" not in result.out


def test_parts_of_the_same_name_in_two_folders_keep_a_file_each(run, model, data, tmp_path):
    for place in ("a", "b"):
        shutil.copytree(data / "cover" / "test" / "good", tmp_path / place / "new" / "good")
    out = tmp_path / "out"
    folders = tmp_path / "a" / "new", tmp_path / "b" / "new"
    result = run("score", model, *folders, "--out", out, "--no-overlays")
    assert result.code == 0, result.err
    names = [line["name"] for line in lines(out)]
    assert names == ["new/good/000", "new/good/001", "new/good/000-2", "new/good/001-2"]
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.tiff")) == sorted(
        f"maps/{name}.tiff" for name in names
    )
    assert not (out / "overlays").exists()


def test_a_name_is_unique_whatever_the_case_and_whatever_numbers_are_taken(tmp_path):
    with Results(tmp_path, maps=False, overlays=False) as results:
        names = [results.unique(n) for n in ("a", "a-2", "A", "a", "b")]
    assert names == ["a", "a-2", "A-3", "a-4", "b"]


def test_a_line_is_in_the_files_before_the_next_part_is_scored(tmp_path):
    with Results(tmp_path, maps=False, overlays=False) as results:
        results.add(Result("first", score=1.0))
        assert rows(tmp_path)[0]["name"] == lines(tmp_path)[0]["name"] == "first"


def test_one_bad_part_is_named_and_the_others_go_on(run, model, data, tmp_path):
    parts = tmp_path / "parts"
    shutil.copytree(data / "cover" / "test" / "good", parts / "good")
    shutil.copytree(data / "cover" / "test" / "good", parts / "other")
    shutil.rmtree(parts / "other" / "gt")
    empty = np.zeros((72, 96, 3), np.float32)
    tifffile.imwrite(parts / "good" / "xyz" / "000.tiff", empty, photometric="rgb")
    (parts / "other" / "rgb" / "000.png").write_bytes(b"no image")
    out = tmp_path / "out"
    result = run("score", model, parts, "--out", out)
    assert result.code == 1
    errors = result.err.splitlines()
    assert len(errors) == 3
    assert errors[0].startswith("error: good/000: xyz has no valid point")
    assert errors[1].startswith("error: ")
    assert "000.png: cannot be read" in errors[1]
    assert errors[2] == f"error: 2 of 4 parts could not be scored, see {out}/scores.csv"
    found = lines(out)
    assert [line["error"] is None for line in found] == [False, True, False, True]
    assert found[0]["name"] == "good/000"
    assert found[0]["score"] is None
    assert found[0]["label"] == 0
    assert "000.png: cannot be read" in found[2]["error"]
    assert rows(out)[0]["error"] == found[0]["error"]
    assert rows(out)[0]["score"] == ""
    assert len(list((out / "maps").rglob("*.tiff"))) == 2


def test_points_in_millimetres_are_refused_by_name_and_accepted_with_the_unit(
    run, model, data, detector, tmp_path
):
    sample = Folder(data / "cover" / "test")[0]
    Image.fromarray(sample.rgb).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tiff", sample.xyz * np.float32(1000), photometric="rgb")
    files = tmp_path / "a.png", tmp_path / "a.tiff"
    refused = run("score", model, *files, "--out", tmp_path / "metres")
    assert refused.code == 1
    assert "a: xyz must be in metres" in refused.err
    assert "pass --unit mm" in refused.err
    accepted = run("score", model, *files, "--out", tmp_path / "mm", "--unit", "mm")
    assert accepted.code == 0, accepted.err
    want = detector.predict(sample.rgb, sample.xyz * np.float32(1000), unit="mm").score
    assert lines(tmp_path / "mm")[0]["score"] == want


def test_a_model_without_threshold_gives_scores_without_verdict(run, detector, data, tmp_path):
    model = tmp_path / "plain.cmad"
    calibration = detector.calibration
    detector.calibration = None
    try:
        detector.save(model)
    finally:
        detector.calibration = calibration
    result = run("score", model, data / "cover" / "test", "--out", tmp_path / "out")
    assert result.code == 0, result.err
    assert lines(tmp_path / "out")[0]["rejected"] is None
    assert rows(tmp_path / "out")[0]["threshold"] == ""
    assert rows(tmp_path / "out")[0]["p_value"] == rows(tmp_path / "out")[0]["regions"] == ""
    assert lines(tmp_path / "out")[0]["p_value"] is None
    assert lines(tmp_path / "out")[0]["regions"] is None
    assert "false rejects" not in result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "error: nowhere: no such file or folder"),
        (["nowhere.png", "nowhere.tiff"], "error: nowhere.png: no such file or folder"),
        (["--unit", "inch", "."], "error: --unit must be m or mm, got 'inch'"),
    ],
)
def test_arguments_that_do_not_fit_stop_at_once_with_one_line(
    run, model, tmp_path, arguments, message
):
    result = run("score", model, *arguments, "--out", tmp_path / "out")
    assert result.code == 1
    assert result.err.startswith(message)
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_without_parts_and_a_missing_model_are_named(run, model, tmp_path):
    empty = run("score", model, tmp_path)
    assert (empty.code, len(empty.err.splitlines())) == (1, 1)
    assert f"{tmp_path} holds no pairs" in empty.err
    gone = run("score", tmp_path / "gone.cmad", tmp_path.parent)
    assert gone.code == 1


def test_a_foreign_model_file_is_refused_in_one_line(run, data, tmp_path):
    foreign = tmp_path / "foreign.cmad"
    foreign.write_text("hello")
    result = run("score", foreign, data / "cover" / "test", "--out", tmp_path / "out")
    assert result.code == 1
    assert result.err.startswith(f"error: {foreign}: not a complete .cmad file")
    assert len(result.err.splitlines()) == 1


@pytest.mark.filterwarnings("default")
def test_too_few_points_for_the_groups_is_one_line_of_warning(run, model, tmp_path):
    sample = Synthetic("test", good=1, size=(64, 64), seed=1)[0]
    sparse = np.zeros_like(sample.xyz)  # nothing on the border, so no plane is removed
    sparse[24:36:6, 28:40] = sample.xyz[24:36:6, 28:40]
    Image.fromarray(sample.rgb).save(tmp_path / "few.png")
    tifffile.imwrite(tmp_path / "few.tiff", sparse, photometric="rgb")
    result = run("score", model, tmp_path / "few.png", tmp_path / "few.tiff", "-o", tmp_path / "o")
    assert result.code == 0, result.err
    assert "warning: too little of the part is seen" in result.err
    warned = [line for line in result.err.splitlines() if "PointMAE" in line]
    assert len(warned) == 1
    assert warned[0].startswith("warning: PointMAE: the cloud has ")
