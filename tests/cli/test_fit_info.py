import json
import re
import shutil
from dataclasses import replace

import pytest
import tifffile

import cmad
from cmad import model_file
from cmad.datasets import MVTec3D

QUICK = ["--weights", "random", "--rgb", "vit_tiny_patch16_224", "--variant", "tiny"]
QUICK += ["--image-size", "112", "--epochs", "1", "--pixels-per-image", "20", "--seed", "3"]
BANK = ["{good}", "-o", "{tmp}/m", "--method", "patchcore"]


@pytest.fixture(scope="module")
def fitted(run, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("fitted") / "cover.cmad"
    result = run("fit", data, "--category", "cover", "--out", out, "-r", "0.4", *QUICK)
    assert result.code == 0, result.err
    return out, result


def test_fit_writes_the_model_that_the_same_calls_give(fitted, data):
    out, _ = fitted
    want = cmad.CFM(
        variant="tiny", rgb="vit_tiny_patch16_224", image_size=112, weights="random", seed=3
    )
    want.fit(MVTec3D(data, "cover", "train"), epochs=1, pixels_per_image=20)
    want.calibrate(MVTec3D(data, "cover", "validation"), false_reject_rate=0.4)
    got = cmad.load(out)
    sample = MVTec3D(data, "cover", "test")[0]
    prediction = got.predict(sample.rgb, sample.xyz)
    assert prediction.score == want.predict(sample.rgb, sample.xyz).score
    assert prediction.threshold == want.threshold


def test_fit_says_what_it_did(fitted):
    out, result = fitted
    assert "fitted CFM to 1 good parts in" in result.out
    assert "at most 0.4 of good parts rejected, from 2 held-out good parts" in result.out
    assert f"saved {out}, {out.stat().st_size / 1e6:.1f} MB" in result.out
    assert "random weights" in result.out
    assert result.err == ""


def test_info_says_what_is_in_the_file(fitted, run):
    out, _ = fitted
    result = run("info", out)
    assert result.code == 0
    said = dict(re.split(r":\s+", line, maxsplit=1) for line in result.out.splitlines())
    header, _ = model_file.read(out)
    assert said["method"].startswith("CFM, variant tiny, preset paper, mapping mlp, ")
    assert "vit_tiny_patch16_224" in said["extractor rgb"]
    for name, key in (("extractor rgb", "rgb"), ("extractor xyz", "xyz")):
        assert "random weights (seed 3)" in said[name]
        assert header["extractors"][key]["sha256"][:12] in said[name]
    assert said["map grid"] == "112 x 112 pixels"
    threshold = header["calibration"]["2d+3d"]["threshold"]
    assert said["threshold"] == (
        f"{threshold:.6g}, for at most 0.4 of good parts rejected, from 2 good parts"
    )
    assert f"torch {header['versions']['torch']}" in said["made with"]
    assert f"{out.stat().st_size / 1e6:.1f} MB" in said["file"]
    assert said["note"].startswith("random weights")


def test_info_is_a_model_card(fitted, run):
    out, _ = fitted
    said = dict(re.split(r":\s+", line, maxsplit=1) for line in run("info", out).out.splitlines())
    card = cmad.load(out).card
    assert (
        said["training data"]
        == f"1 good part of MVTec 3D-AD, cover, train, {card.trained.date} UTC"
    )
    assert said["training"] == "epochs 1, pixels_per_image 20, batch_size 4, shuffle True"
    assert said["calibrated on"].startswith("2 good parts of MVTec 3D-AD, cover, validation, ")
    assert re.fullmatch(r"[\d.e-]+ s \(median of 2\) on .+, 1 thread, \w+", said["time per part"])
    assert said["extractor rgb"].endswith(", licence none needed")


def test_info_gives_the_card_as_json_to_other_programs(fitted, run):
    out, _ = fitted
    told = json.loads(run("info", out, "--json").out)
    header, tensors = model_file.read(out)
    assert told["file"] == {
        "path": str(out),
        "bytes": out.stat().st_size,
        "numbers": sum(t.numel() for t in tensors.values()),
    }
    assert told["method"] == "CFM"
    assert told["seed"] == 3
    assert told["versions"] == header["versions"]
    threshold = header["calibration"]["2d+3d"]["threshold"]
    assert told["thresholds"] == {
        "2d+3d": {"threshold": threshold, "false_reject_rate": 0.4, "parts": 2}
    }
    assert told["extractors"]["rgb"]["sha256"] == header["extractors"]["rgb"]["sha256"]
    assert told["extractors"]["rgb"]["licence"] == "none needed"
    assert not told["extractors"]["rgb"]["stored"]
    assert told["trained"]["source"] == "MVTec 3D-AD, cover, train"
    assert told["training"]["epochs"] == 1
    assert told["calibrated"]["parts"] == told["timing"]["parts"] == 2


def test_own_folders_are_fitted_and_calibrated_and_extractors_stored(run, data, tmp_path):
    out = tmp_path / "own.cmad"
    good, held_out = data / "cover" / "train" / "good", data / "cover" / "validation"
    options = [*QUICK, "--calibrate", held_out, "-r", "0.4", "--include-extractors"]
    result = run("fit", good, "-o", out, *options)
    assert result.code == 0, result.err
    _, tensors = model_file.read(out)
    assert model_file.prefixed(tensors, "extractors.rgb.")
    assert "stored in the file" in run("info", out).out
    assert cmad.load(out).threshold is not None


def test_without_a_rate_there_is_no_threshold(run, data, tmp_path):
    out = tmp_path / "plain.cmad"
    result = run("fit", data, "--category", "cover", "--out", out, *QUICK)
    assert result.code == 0, result.err
    assert "threshold" not in result.out
    assert cmad.load(out).threshold is None
    assert "not calibrated" in run("info", out).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{data}", "-o", "{tmp}/m"], r"holds several categories; add --category with one of "),
        (["{data}/cover", "-o", "{tmp}/m"], r"pass .*/cover/train, or its parent folder"),
        (["{tmp}", "-o", "{tmp}/m"], r"holds no pairs"),
        (["{data}", "--category", "cap", "-o", "{tmp}/m"], r"category must be one of cover"),
        (["{tmp}/none", "-o", "{tmp}/m"], r"/none: no such file or folder$"),
        (["{good}", "-o", "{tmp}/m", "-r", "0.1"], r"name their folder with --calibrate"),
        (["{good}", "-o", "{tmp}/m", "--calibrate", "{good}"], r"needs --false-reject-rate"),
        (["{good}", "-o", "{tmp}/m", "--calibrate", "{good}", "-r", "2"], r"in \(0, 1\), got 2"),
        (["{good}", "-o", "{tmp}"], r"--out must name a file, .* is a folder"),
        (["{good}", "-o", "{tmp}/none/m"], r"--out: there is no folder .*/none"),
        (["{good}", "-o", "{tmp}/m", "--variant", "huge"], r"--variant must be one of full, "),
        (["{good}", "-o", "{tmp}/m", "--weights", "none"], r"--weights must be random, got 'none'"),
        (
            ["{good}", "-o", "{tmp}/m", "--weights", "random", "--rgb", "nothing"],
            r"must be the name of a timm model, got 'nothing'",
        ),
        (
            ["{good}", "-o", "{tmp}/m", "--method", "nope"],
            r"method must be one of cfm, patchcore, g2sf, btf, m3dm, ast",
        ),
        (["{good}", "-o", "{tmp}/m", "--set", "fraction=0.3"], r"--set must be .*\(mapping, "),
        ([*BANK, "--set", "colour=red"], r"--set must be NAME=VALUE with .*fraction.*'colour=red'"),
        ([*BANK, "--set", "fraction"], r"--set must be NAME=VALUE with .*, got 'fraction'"),
        ([*BANK, "--set", "fraction=x"], r"--set fraction must be a number, got 'x'"),
        ([*BANK, "--set", "cells_2d=1.5"], r"--set cells_2d must be a whole number, got '1.5'"),
        ([*BANK, "--set", "fraction=2"], r"PatchCore: fraction must be in \(0, 1\], got 2"),
        ([*BANK, "--epochs", "3"], r"--epochs: PatchCore has no such option .*; leave it away"),
    ],
)
def test_arguments_that_do_not_fit_stop_with_one_line(run, data, tmp_path, arguments, message):
    places = {"data": data, "tmp": tmp_path, "good": data / "cover" / "train" / "good"}
    result = run("fit", *[a.format(**places) for a in arguments])
    assert result.code == 1
    assert re.match(rf"error: .*{message}", result.err)
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "m").exists()


def test_a_defective_part_among_the_good_ones_is_named(run, data, tmp_path):
    shutil.copytree(data / "cover" / "test", tmp_path / "parts")
    result = run("fit", tmp_path / "parts", "-o", tmp_path / "m.cmad", *QUICK)
    assert result.code == 1
    assert result.err.startswith("error: fit: only good parts may be used, bump/000 is labelled")
    assert not (tmp_path / "m.cmad").exists()


def test_too_few_held_out_parts_are_counted_before_training(run, data, tmp_path):
    out = tmp_path / "m.cmad"
    result = run("fit", data, "--category", "cover", "-o", out, "-r", "0.1", *QUICK)
    assert result.code == 1
    assert "needs at least 9 good parts, got 2" in result.err
    assert "fitted" not in result.out
    assert not out.exists()


def test_a_calibration_that_fails_leaves_the_model_in_use_and_keeps_the_training(
    run, data, tmp_path
):
    shutil.copytree(data / "cover", tmp_path / "data" / "cover")
    out = tmp_path / "m.cmad"
    command = ["fit", tmp_path / "data", "--category", "cover", "-o", out, "-r", "0.4", *QUICK]
    assert run(*command).code == 0
    before = out.read_bytes()
    bad = sorted((tmp_path / "data" / "cover" / "validation").rglob("*.tiff"))[-1]
    bad.write_bytes(bad.read_bytes()[:100])
    result = run(*command, "--overwrite")
    assert result.code == 1
    assert bad.name in result.err
    assert out.read_bytes() == before
    beside = tmp_path / "m.uncalibrated.cmad"
    assert f"not calibrated: the model without a threshold is {beside}" in result.err
    assert f"cmad calibrate {beside} GOOD_PARTS -r 0.4 --out {out}" in result.err
    assert cmad.load(beside).threshold is None


def test_a_training_that_fails_leaves_the_model_in_use(run, data, tmp_path):
    out = tmp_path / "m.cmad"
    out.write_bytes(b"in use")
    shutil.copytree(data / "cover" / "train" / "good", tmp_path / "good")
    bad = sorted((tmp_path / "good").rglob("*.tiff"))[-1]
    tifffile.imwrite(bad, tifffile.imread(bad) * 0, photometric="rgb")
    result = run("fit", tmp_path / "good", "-o", out, *QUICK)
    assert result.code == 1
    assert "xyz has no valid point" in result.err
    assert out.read_bytes() == b"in use"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["m.cmad"]


def test_calibrating_on_the_training_parts_is_refused_with_the_reason(run, data, tmp_path):
    good, out = data / "cover" / "train" / "good", tmp_path / "m.cmad"
    result = run("fit", good, "--calibrate", good, "-r", "0.5", "-o", out, *QUICK)
    assert result.code == 1
    assert "error: calibrate: 000 was trained on, so its score is lower" in result.err
    assert not out.exists()


def test_held_out_parts_without_a_score_are_left_out_where_asked(run, data, tmp_path, monkeypatch):
    maps = cmad.CFM.maps

    def broken(self, features):
        grid = maps(self, features)
        return replace(grid, score=float("nan")) if features.name.endswith("001") else grid

    monkeypatch.setattr(cmad.CFM, "maps", broken)
    command = ["fit", data, "--category", "cover", "-o", tmp_path / "m.cmad", *QUICK, "-r"]
    result = run(*command, "0.5")
    assert result.code == 1
    assert "validation/good/001: CFM gives no finite score" in result.err
    result = run(*command, "0.5", "--skip-bad")
    assert result.code == 0, result.err
    assert "warning: left out validation/good/001: CFM gives no finite score" in result.err
    assert "from 1 held-out good parts" in result.out


@pytest.mark.filterwarnings("always")
def test_a_command_warns_once_of_each_kind(run, data, tmp_path):
    """The parts have fewer points than Point-MAE's 1024 groups."""
    command = ["fit", data, "--category", "cover", "-o", tmp_path / "m.cmad", "-r", "0.4"]
    result = run(*command, *QUICK[:-6], "--image-size", "32", "--epochs", "1")
    assert result.code == 0, result.err
    assert result.err.count("too few for") == 1
    assert "; the same for 2 more" in result.err


def test_traceback_shows_where_an_error_came_from(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder; cmad fit"):
        run("info", tmp_path / "gone.cmad", "--traceback")
    result = run("info", tmp_path / "gone.cmad")
    assert result.code == 1
    assert (
        result.err
        == f"error: {tmp_path / 'gone.cmad'}: no such file or folder; cmad fit writes models\n"
    )


def test_version_and_help_name_every_command(run):
    assert run("--version").out == f"cmad {cmad.__version__}\n"
    said = run("--help").out
    assert all(name in said for name in ("demo", "fit", "calibrate", "score", "info"))
    for command in ("demo", "fit", "calibrate", "score", "info"):
        assert run(command, "--help").code == 0
