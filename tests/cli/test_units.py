"""Units and cameras on the command line, from `fit` to `score`, and in `evaluate`."""

import json
import os
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

import cmad
from cmad.datasets import Folder, Synthetic
from cmad.units import Units

QUICK = ["--weights", "random", "--rgb", "vit_tiny_patch16_224", "--variant", "tiny"]
QUICK += ["--image-size", "112", "--epochs", "1", "--pixels-per-image", "20"]
ONLY_SCORES = ["--no-maps", "--no-overlays"]
SIZE = 72, 96


def lines(out):
    return [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]


def table(out):
    return json.loads((out / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def mm(data, tmp_path_factory):
    """The data set in millimetres."""
    root = tmp_path_factory.mktemp("mm")
    shutil.copytree(data / "cover", root / "cover")
    for file in root.rglob("xyz/*.tiff"):
        tifffile.imwrite(file, tifffile.imread(file) * np.float32(1000), photometric="rgb")
    return root


@pytest.fixture(scope="module")
def fitted(run, mm, tmp_path_factory):
    """A model of parts in millimetres."""
    out = tmp_path_factory.mktemp("fitted") / "mm.cmad"
    result = run("fit", mm, "--category", "cover", "-o", out, "-r", "0.4", "--unit", "mm", *QUICK)
    assert result.code == 0, result.err
    return out


CAMERA = Synthetic("train", size=SIZE).intrinsics
FOCAL = ",".join(f"{CAMERA[i]:.4f}" for i in ((0, 0), (1, 1), (0, 2), (1, 2)))


@pytest.fixture(scope="module")
def camera(data, tmp_path_factory):
    """Good parts as depth images in tenths of a millimetre, PNG and TIFF."""
    root = tmp_path_factory.mktemp("camera")
    for kind, parts in (("train", 2), ("more", 3)):
        for name in ("rgb", "xyz"):
            (root / kind / name).mkdir(parents=True)
        for i, part in enumerate(Synthetic("train", good=parts, size=SIZE, seed=len(kind))):
            depth = np.round(np.asarray(part.xyz)[..., 2] * 10000).astype(np.uint16)
            Image.fromarray(part.rgb).save(root / kind / "rgb" / f"{i}.png")
            if i % 2:
                tifffile.imwrite(root / kind / "xyz" / f"{i}.tiff", depth.astype(np.float32))
            else:
                Image.fromarray(depth).save(root / kind / "xyz" / f"{i}.png")
    return root


def test_the_unit_of_the_files_is_kept_in_the_model(run, fitted, mm, data, tmp_path):
    detector = cmad.load(fitted)
    assert detector.units == Units("mm")
    said = run("info", fitted).out
    assert "points in mm" in said.split("units:")[1].splitlines()[0]
    parts = Folder(mm / "cover" / "test", unit="mm")
    want = [detector.grids([part])[0].score for part in parts]
    result = run("score", fitted, mm / "cover" / "test", "-o", tmp_path / "a", *ONLY_SCORES)
    assert result.code == 0, result.err
    assert [line["score"] for line in lines(tmp_path / "a")] == want
    in_mm = [detector.predict(p.rgb, p.xyz) for p in Folder(mm / "cover" / "test")]
    assert [float(prediction) for prediction in in_mm] == want
    # What is said now wins over what the model was told.
    options = ["-o", tmp_path / "b", *ONLY_SCORES]
    result = run("score", fitted, data / "cover" / "test", *options)
    assert result.code == 1
    assert result.err.count("a thousand times too little; if they were in metres already, pass un")
    assert "--unit m)" in result.err
    result = run("score", fitted, data / "cover" / "test", "--unit", "m", *options)
    assert result.code == 0, result.err


def test_a_model_of_metres_takes_millimetres_where_told(run, model, mm, tmp_path):
    options = [mm / "cover" / "test", "-o", tmp_path / "a", *ONLY_SCORES]
    refused = run("score", model, *options)
    assert refused.code == 1
    assert 'for millimetres pass unit="mm" (--unit mm)' in refused.err
    assert run("score", model, "--unit", "mm", *options).code == 0
    assert "points in m\n" in run("info", model).out


def test_fit_says_what_to_pass_and_writes_nothing_where_the_unit_is_wrong(run, mm, tmp_path):
    good = mm / "cover/train/good"
    result = run("fit", good, "-o", tmp_path / "m.cmad", *QUICK)
    assert result.code == 1
    assert "(--unit mm)" in result.err
    result = run("fit", good, "-o", tmp_path / "m.cmad", "--unit", "inch", *QUICK)
    assert "error: unit must be 'm' or 'mm', got 'inch'" in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_depth_camera_is_kept_in_the_model_and_its_files_are_scored(run, camera, tmp_path):
    out = tmp_path / "camera.cmad"
    refused = run("fit", camera / "train", "-o", out, *QUICK)
    assert refused.code == 1
    assert "is a depth image, which needs intrinsics (--intrinsics FX,FY,CX,CY)" in refused.err
    how = ["--intrinsics", FOCAL, "--depth-scale", "0.1"]
    more = ["--calibrate", camera / "more", "-r", "0.4"]
    result = run("fit", camera / "train", "-o", out, *how, *more, *QUICK)
    assert result.code == 0, result.err
    detector = cmad.load(out)
    fx, fy, cx, cy = map(float, FOCAL.split(","))
    assert detector.units == Units("m", (fx, fy, cx, cy), "mm", 0.1)
    assert f"depth images in 0.1 mm, camera {fx:g}, {fy:g}" in run("info", out).out
    files = [camera / "more/xyz/0.png", camera / "more/rgb/0.png"]
    files += [camera / "more/rgb/1.png", camera / "more/xyz/1.tiff"]
    result = run("score", out, *files, "-o", tmp_path / "a", *ONLY_SCORES)
    assert result.code == 0, result.err
    got = [line["score"] for line in lines(tmp_path / "a")]
    parts = Folder(camera / "more", **vars(detector.units))
    assert got == [detector.grids([parts[i]])[0].score for i in range(2)]
    far = run("score", out, *files, "-o", tmp_path / "b", *ONLY_SCORES, "--depth-scale", "10")
    assert far.code == 1  # 50 m away
    metres = run("score", out, *files, "-o", tmp_path / "b", *ONLY_SCORES, "--depth-unit", "m")
    assert metres.code == 1
    turned = "320,240,600,600"
    wrong = run("score", out, *files, "-o", tmp_path / "b", *ONLY_SCORES, "--intrinsics", turned)
    assert wrong.code == 1
    assert "intrinsics (320, 240, 600, 600) do not fit 96x72 pixels" in wrong.err


@pytest.mark.parametrize("command", ["fit", "evaluate", "score", "show"])
def test_help_says_where_the_defaults_come_from(run, command):
    said = " ".join(run(command, "--help").out.replace("│", " ").split())
    for option in ("--unit", "--intrinsics", "--depth-unit", "--depth-scale", "--good"):
        assert option in said
    assert said.count("in score what the model was fitted with") == 4


def test_show_looks_at_the_parts_as_fit_would(run, mm, data, camera, tmp_path):
    def shown(*arguments):
        return run("show", *arguments, "-o", tmp_path / "a.png")

    refused = shown(mm, "--category", "cover")
    assert refused.code == 1
    assert "(--unit mm)" in refused.out
    got, want = (
        shown(root, "--category", "cover", *unit)
        for root, unit in ((mm, ("--unit", "mm")), (data, ()))
    )
    assert got.code == 0, got.err
    assert got.out == want.out
    in_folder = shown(mm / "cover/train/good", "--unit", "mm")
    assert in_folder.out.splitlines()[-1] == want.out.splitlines()[-1]
    needs = shown(camera / "train")
    assert needs.code == 1
    assert "(--intrinsics FX,FY,CX,CY)" in needs.err
    depth = shown(camera / "train", "--intrinsics", FOCAL, "--depth-scale", "0.1")
    assert depth.code == 0, depth.err
    far = shown(camera / "train", "--intrinsics", FOCAL, "--depth-unit", "m")
    assert far.code == 1
    assert "unit must be 'm' or 'mm'" in shown(mm, "--unit", "inch").err


def test_evaluate_takes_the_unit_and_another_one_is_another_run(run, data, mm, tmp_path):
    out = tmp_path / "out"
    refused = run("evaluate", mm, "-o", tmp_path / "no", *QUICK)
    assert refused.code == 1
    assert "(--unit mm)" in refused.err
    result = run("evaluate", mm, "-o", out, "--unit", "mm", *QUICK)
    assert result.code == 0, result.err
    about = table(out)["about"]
    assert (about["unit"], about["intrinsics"], about["depth_scale"]) == ("mm", None, 1.0)
    result = run("evaluate", mm, "-o", out, *QUICK)
    assert result.code == 1
    assert 'another configuration (unit: "mm" then, "m" now)' in result.err
    again = run("evaluate", mm, "-o", out, "--unit", "mm", *QUICK)
    assert "results kept from before: cover" in again.out
    assert run("evaluate", data, "-o", tmp_path / "m", *QUICK).code == 0
    got, want = (table(o)["results"][0]["metrics"] for o in (out, tmp_path / "m"))
    assert got["AUPRO@30%"] == pytest.approx(want["AUPRO@30%"], abs=0.05)  # rounded anew


@pytest.fixture
def plain(data, tmp_path):
    """Plain folders: three good parts in ``OK`` and two defective ones in ``bump``."""

    def copy(root):
        for kind in ("rgb", "xyz", "gt"):
            for i, good in enumerate(("test/good", "test/good", "validation/good")):
                [source] = (data / "cover" / good / kind).glob(f"00{i % 2}.*")
                target = root / "OK" / kind / f"{i}{source.suffix}"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        for defect in (data / "cover" / "test").iterdir():
            if defect.name != "good":
                shutil.copytree(defect, root / defect.name)
        return root

    return copy


def test_evaluate_is_told_which_folders_are_good(run, plain, tmp_path):
    root = plain(tmp_path / "data" / "part")
    command = ["evaluate", tmp_path / "data", "-o", tmp_path / "out", *QUICK]
    refused = run(*command)
    assert refused.code == 1
    assert "no data set is recognised" in refused.err
    result = run(*command, "--good", "ok")
    assert result.code == 0, result.err
    [row] = table(tmp_path / "out")["results"]
    assert (row["category"], row["train"], row["good"], row["defective"]) == ("part", 1, 1, 2)
    assert table(tmp_path / "out")["about"]["good"] == ["ok"]
    wrong = run(*command, "--good", "ok", "--good", "fine")
    assert wrong.code == 1
    assert "--good must be the name of a folder of parts (bump, " in wrong.err
    fitted = run(
        "fit",
        tmp_path / "data",
        "--category",
        "part",
        "--good",
        "OK",
        "-o",
        tmp_path / "m.cmad",
        *QUICK,
    )
    assert fitted.code == 0, fitted.err
    assert "fitted CFM to 1 good parts" in fitted.out
    assert root.is_dir()
    show = [
        "show",
        tmp_path / "data",
        "--category",
        "part",
        "--good",
        "OK",
        "-o",
        tmp_path / "a.png",
    ]
    looked = run(*show)
    assert looked.code == 0, looked.err
    assert "--good must be" in run(*show, "--good", "fine").err


@pytest.mark.filterwarnings("ignore:1 of . samples were left out:RuntimeWarning")
def test_names_that_are_not_utf8_spoil_no_table(run, plain, tmp_path):
    root = tmp_path / os.fsdecode(b"d\xe4ten")
    folder = plain(root / os.fsdecode(b"te\xefl"))
    (folder / "OK").rename(folder / "good")
    for copy in ("3", "4", "5", "6", os.fsdecode(b"\xfc")):
        for kind, suffix in (("rgb", "png"), ("gt", "png"), ("xyz", "tiff")):
            files = folder / "good" / kind
            shutil.copy(files / f"0.{suffix}", files / f"{copy}.{suffix}")
    broken = folder / "good" / "xyz" / os.fsdecode(b"\xfc.tiff")
    broken.write_bytes(b"no points")
    command = ["evaluate", root, "-o", tmp_path / "out", "--maps", tmp_path / "maps"]
    result = run(*command, "--skip-bad", *QUICK)
    assert result.code == 0, result.err
    text = (tmp_path / "out/evaluation.json").read_bytes().decode("utf-8")
    assert "\\ud" not in text  # halves of characters, which many readers refuse
    [row] = json.loads(text)["results"]
    assert row["category"] == "te\\xefl"
    assert json.loads(text)["about"]["data"].endswith("/d\\xe4ten")
    assert "/d\\xe4ten: te\\xefl" in result.out
    assert [name for name, _ in row["bad"]] == ["good/\\xfc"]
    (tmp_path / "out/evaluation.md").read_text(encoding="utf-8")
    assert len(list((tmp_path / "maps/te\\xefl").rglob("*.tiff"))) == row["good"] + 2
    again = run(*command, "--skip-bad", *QUICK, "--category", "te\\xefl")
    assert "results kept from before: te\\xefl" in again.out
    broken.write_bytes(b"no points here")
    changed = run(*command, "--skip-bad", *QUICK)
    assert changed.code == 0
    assert "kept from before" not in changed.out
