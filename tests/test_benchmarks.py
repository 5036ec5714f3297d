"""The benchmark scripts say in a line what is missing, before they work for minutes."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

import cmad
from cmad.testing import reference
from cmad.testing.cases import CASES

ROOT = Path(__file__).parent.parent


def run(script, *arguments, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CMAD_")}
    return subprocess.run(
        [sys.executable, ROOT / "benchmarks" / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**kept, "HF_ENDPOINT": "http://127.0.0.1:1", **environment},
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "real.py: error: needs --data or CMAD_MVTEC3D"),
        (["--data", "nowhere"], "error: nowhere: no such file or folder"),
        (["--data", "{data}", "--category", "nut"], "category must be one of cover, got 'nut'"),
        (["--data", "{data}", "--category", "cover"], "'vit_small_patch14_dinov2': no weights"),
    ],
)
def test_real_says_what_is_missing_in_a_line(data, tmp_path, arguments, said):
    arguments = [a.format(data=data) for a in arguments]
    ran = run("real.py", *arguments, CMAD_WEIGHTS=str(tmp_path), HF_HOME=str(tmp_path))
    assert ran.returncode != 0
    assert said in ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("inputs.py", ["--category", "nut"], "error: --category needs CMAD_MVTEC3D"),
        ("synthesis.py", ["--data", "nowhere"], "error: nowhere: no such file or folder"),
        ("metrics.py", ["--json", "nowhere/a.json"], "--json: nowhere: no such file or folder"),
        ("ops.py", ["--json", "nowhere/a.json"], "--json: nowhere: no such file or folder"),
        ("table.py", ["--json", "nowhere/a.json"], "--json: nowhere: no such file or folder"),
        ("options.py", ["--only", "colour"], "--only: colour: none of default, variant"),
        ("surfaces.py", [], "needs --data or CMAD_MVTEC3D"),
        ("epochs.py", [], "needs --data or CMAD_MVTEC3D"),
        ("epochs.py", ["--results", "a.json"], "--results needs --picture: where to draw to"),
        ("epochs.py", ["--results", "none.json", "--picture", "a"], "No such file"),
        ("epochs.py", ["--picture", "nowhere/a"], "--picture: nowhere: no such file or folder"),
        ("epochs.py", ["--json", "nowhere/a.json"], "--json: nowhere: no such file or folder"),
        ("frame.py", ["--json", "nowhere/a.json"], "--json: nowhere: no such file or folder"),
        ("frame.py", ["--size", "12"], "--size: must be WxH, each from 64, got '12'"),
        ("frame.py", ["--rgb", "nothing"], "error: ViT: model must be the name of a timm model"),
    ],
)
def test_the_others_say_in_a_line_what_is_missing(tmp_path, script, arguments, said):
    ran = run(script, *arguments)
    assert ran.returncode != 0
    assert said in ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr


def test_frame_counts_the_whole_time_and_every_product_once(tmp_path):
    """Of a ViT whose layers are counted by hand: 16 patches and a class token, 192 wide."""
    out = tmp_path / "frame.json"
    options = ["--rgb", "vit_tiny_patch16_224", "--variant", "tiny", "--image-size", 64]
    ran = run("frame.py", *options, "--size", "120x90", "--repeats", 1, "--json", out)
    assert ran.returncode == 0, ran.stderr
    kept = json.loads(out.read_text())
    rows = {row["stage"]: row for row in kept["stages"]}
    assert sum(row["ms"] for row in rows.values()) == pytest.approx(kept["ms"][0])
    width, tokens = 192, 17
    layers = tokens * 12 * width**2 + 16 * 3 * 16**2 * width
    flop = 2 * (layers + 2 * tokens**2 * width)
    assert rows["2D extractor"]["gflop"] == pytest.approx(flop / 1e9)
    assert rows["check the arrays"]["mb"] > 90 * 120 * 15 / 1e6
    assert rows["op three_nn"]["floor_ms"] > 0
    # 192 -> 384 and back: 288 wide, a whole middle layer and a triangle of 288 or 192 rows each.
    each = 2 * 288**2 + 288 * 289 / 2 + (192 * 288 - 192 * 191 / 2)
    assert rows["mapping and discrepancy"]["gflop"] > 2 * each * 10 / 1e9
    printed = [line.split("  ")[0] for line in ran.stdout.splitlines()[2:]]
    assert printed == list(rows)


def test_bank_says_what_is_wrong_with_its_features_in_a_line(tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({"rows": np.zeros((2, 3), np.float32)}, other)
    for file, said in ((tmp_path / "none", "No such file"), (other, "query and bank, got rows")):
        ran = run("bank.py", "--features", file)
        assert ran.returncode != 0
        assert said in ran.stderr.splitlines()[-1]
        assert "Traceback" not in ran.stderr


def test_mapping_checks_its_results_and_prints_ratios():
    ran = run("mapping.py", "--share", "0.002", "--repeats", "1", "--only", "float32")
    assert ran.returncode == 0, ran.stderr
    said = [line.split() for line in ran.stdout.splitlines()]
    assert said[0][:3] == ["100", "of", "50176"]
    [folded, foreground, every] = [line for line in said if line[-1].endswith("x")]
    assert (folded[0], foreground[-4], every[-4]) == ("folded", "foreground", "pixel")
    assert float(every[-1][:-1]) > 2


def test_training_prints_the_share_of_the_products():
    ran = run("training.py", "--parts", "2", "--pixels", "30", "--repeats", "1")
    assert ran.returncode == 0, ran.stderr
    assert "2 parts, 30 pixels each, 4 a step" in ran.stdout
    [line] = [line for line in ran.stdout.splitlines() if "by the profiler" in line]
    assert 0 < float(line.split()[-1].rstrip("%")) <= 100


@pytest.mark.slow
def test_options_prints_a_time_beside_the_default():
    arguments = ["--rgb", "vit_tiny_patch16_224", "--image-size", "112", "--parts", "1"]
    ran = run("options.py", *arguments, "--only", "default,aggregation")
    assert ran.returncode == 0, ran.stderr
    rows = [line.split("|")[1:-1] for line in ran.stdout.splitlines() if line.startswith("| ")][1:]
    assert [row[0].strip() for row in rows] == [
        "default",
        *(f"aggregation={a}" for a in ("sum", "max", "2d", "3d")),
    ]
    assert all(0 < float(row[2]) < 20 for row in rows)


def test_drift_prints_no_alarm_on_usual_parts_and_one_on_others(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    drift = importlib.import_module("drift")
    assert drift.found(50, drift.NEVER, 0, 0, count=40) is None
    assert 1 <= drift.found(50, 20, 3, 0) <= 20


@pytest.fixture
def fps(monkeypatch):
    """The module, whose rows are measured in this process but for the memory; `apart` as it is."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    module, rows = (importlib.import_module(name) for name in ("fps", "_fps_rows"))
    monkeypatch.setattr(rows, "LEAST", 0.0)
    apart, precision = module.process, torch.get_float32_matmul_precision()
    threads = torch.get_num_threads()

    def process(asked):
        if asked["part"] == "row":
            return {**apart({**asked, "part": "memory"}), **rows.times(asked)}
        return rows.PARTS[asked["part"]](asked)

    monkeypatch.setattr(module, "process", process)
    monkeypatch.setattr(module, "apart", apart, raising=False)
    yield module
    torch.set_float32_matmul_precision(precision)
    torch.set_num_threads(threads)


SMALL = ("--rows", "Ours-T", "--rgb", "test_vit", "--size", "32", "--input", "64", "--repeats", "1")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # few points, and one part to learn from
def test_fps_prints_the_row_and_writes_numbers_and_pictures(fps, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fps, "process", fps.apart)
    fps.main([*SMALL, "--json", str(tmp_path / "fps.json")])
    shown = capsys.readouterr().out.splitlines()
    printed = next(line for line in shown if line.startswith("Ours-T"))
    assert printed.split()[1:3] == ["42.818", "48.12"]  # CFM's Table 5
    found = json.loads((tmp_path / "fps.json").read_text())
    assert {"commit", "cpu", "settings"} <= set(found["about"])
    row = found["rows"]["Ours-T"]
    assert row["fps"] == pytest.approx(1 / row["seconds"]["ours"][0])
    assert row["paper"]["AUPRO@30%"] == 0.961
    assert 0 < row["ours peak MB"] < row["plain peak MB"]
    assert row["memory MB"] == row["weights MB"] + row["ours peak MB"]
    reached = {line["what"]: line["reached"] for line in found["speeds"]}
    assert reached["Ours, whole call, as long: 2592 x 1944 / 400 x 400"] is False  # not measured
    assert "Ours-T, 48 MB" in (tmp_path / "fps.svg").read_text()
    with Image.open(tmp_path / "fps.png") as image:
        assert image.width > image.height > 400


@pytest.mark.filterwarnings("ignore::UserWarning")  # few points, and one part to learn from
@pytest.mark.parametrize(
    ("row", "preset"),
    [("Ours-T", "paper"), ("Ours-T", "official"), ("PatchCore", "official"), ("G2SF", "official")],
)
def test_fps_compares_with_the_plain_form_first(fps, monkeypatch, row, preset):
    rows, frames = (importlib.import_module(n) for n in ("_fps_rows", "_plain_frames"))
    monkeypatch.setattr(importlib.import_module("_fps_learnt"), "IMAGES", 4)
    asked = {"row": row, "preset": preset, "rgb": "test_vit", "size": 32, "input": [64, 64]}
    asked |= {"batch": 1, "graphs": False}
    detector, samples, _ = rows.prepared({**asked, "precision": "fp32", "device": "cpu"})
    frame, right = detector.pipeline.frame(samples[0]), frames.encoded
    grid = rows.ours(detector, frame)
    with torch.inference_mode():
        rows.check(detector, grid, rows.plain(detector, frame), "fp32")
        monkeypatch.setattr(frames, "encoded", lambda net, groups: right(net, 1.1 * groups))
        with pytest.raises(ValueError, match="differs from the plain form's by"):
            rows.check(detector, grid, rows.plain(detector, frame), "fp32")


@pytest.mark.filterwarnings("ignore::UserWarning")  # as above
def test_fps_compares_btf_with_the_published_steps(fps, monkeypatch, open3d):
    rows, banks = (importlib.import_module(n) for n in ("_fps_rows", "_plain_banks"))
    monkeypatch.setattr(importlib.import_module("_fps_learnt"), "IMAGES", 4)
    monkeypatch.setattr(cmad.BTF, "usual", {"rgb": "test_resnet", "xyz": "fpfh"})
    asked = {"row": "BTF", "preset": "official", "rgb": "unused", "size": 64, "input": [64, 64]}
    detector, samples, weights = rows.prepared({**asked, "precision": "fp32", "device": "cpu"})
    assert weights == {"rgb": "random"}
    assert detector.pipeline.dims() == {"2d": 240, "3d": 33}
    frame, right = detector.pipeline.frame(samples[0]), banks.fpfh
    grid = rows.ours(detector, frame)
    rows.check(detector, grid, rows.plain(detector, frame), "fp32")
    monkeypatch.setattr(banks, "fpfh", lambda *given: 1.1 * right(*given))
    with pytest.raises(ValueError, match="BTF: map differs from the plain form's by"):
        rows.check(detector, grid, rows.plain(detector, frame), "fp32")


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # as above
def test_fps_compares_m3dm_with_the_published_steps(fps, monkeypatch, preset):
    """It learns from one part, and its banks grow."""
    rows, banks = (importlib.import_module(n) for n in ("_fps_rows", "_plain_banks"))
    monkeypatch.setattr(importlib.import_module("_fps_learnt"), "IMAGES", 4)
    asked = {"row": "M3DM", "preset": preset, "rgb": "test_vit", "size": 64, "input": [64, 64]}
    detector, samples, _ = rows.prepared({**asked, "precision": "fp32", "device": "cpu"})
    frame = detector.pipeline.frame(samples[0])
    assert rows.has_plain(detector)
    grid = rows.ours(detector, frame)
    rows.check(detector, grid, rows.plain(detector, frame), "fp32")
    monkeypatch.setattr(banks, "enlarged", lambda grid, side: grid.max().expand(side, side))
    with pytest.raises(ValueError, match="M3DM: map differs from the plain form's by"):
        rows.check(detector, grid, rows.plain(detector, frame), "fp32")


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize(
    ("broken", "by"),
    [
        ("tokens", lambda right: lambda *given: 1.1 * right(*given)),
        ("resized", lambda right: lambda image, size: right(1.1 * image, size)),
        ("teacher", lambda right: lambda *given: 1.1 * right(*given)),
        ("student", lambda right: lambda *given: 1.1 * right(*given)),
        ("encoding", lambda right: lambda cells: right(cells).flip(1)),
    ],
)
def test_fps_compares_ast_with_the_published_steps(fps, monkeypatch, preset, broken, by):
    """Of colour, depth, teacher and student each counts."""
    rows, plain = (importlib.import_module(n) for n in ("_fps_rows", "_plain_ast"))
    monkeypatch.setattr(cmad.AST, "usual", {"rgb": "tf_efficientnet_b0", "xyz": "depth_blocks"})
    monkeypatch.setattr(cmad.AST, "usual_rgb_size", 64)
    asked = {"row": "AST", "preset": preset, "rgb": "unused", "size": 64, "input": [64, 64]}
    detector, samples, weights = rows.prepared({**asked, "precision": "fp32", "device": "cpu"})
    assert weights == {"rgb": "random"}
    frame = detector.pipeline.frame(samples[0])
    assert rows.has_plain(detector)
    grid = rows.ours(detector, frame)
    rows.check(detector, grid, rows.plain(detector, frame), "fp32")
    monkeypatch.setattr(plain, broken, by(getattr(plain, broken)))
    with pytest.raises(ValueError, match="AST: map differs from the plain form's by"):
        rows.check(detector, grid, rows.plain(detector, frame), "fp32")


@pytest.mark.filterwarnings("ignore::UserWarning")  # as above
def test_fps_has_a_row_without_a_plain_form(fps, monkeypatch, capsys, tmp_path):
    """As of a method that has none here, with a bank that grows to full size."""
    rows, learnt = (importlib.import_module(n) for n in ("_fps_rows", "_fps_learnt"))
    monkeypatch.setattr(learnt, "IMAGES", 4)
    monkeypatch.setattr(rows, "DRAWN", ())
    monkeypatch.setattr(rows, "has_plain", lambda detector: False)
    monkeypatch.setattr(rows, "memory", lambda asked, given: {"ours peak MB": 1.0})
    monkeypatch.setattr(fps, "process", lambda asked: rows.PARTS[asked["part"]](asked))
    given = ["PatchCore" if word == "Ours-T" else word for word in SMALL]
    aupro = ["--aupro", "PatchCore=0.93", "--table-only"]
    fps.main([*given, *aupro, "--json", str(tmp_path / "fps.json")])
    shown = capsys.readouterr().out
    assert "PatchCore: no plain form here" in shown
    row = json.loads((tmp_path / "fps.json").read_text())["rows"]["PatchCore"]
    assert (row["errors"], row["plain fps"], row["seconds"]["plain"]) == (None, None, [])
    assert "PatchCore (own AUPRO)" in (tmp_path / "fps.svg").read_text()


def test_fps_names_the_rows_and_values_that_it_takes(fps, capsys):
    for given, said in (
        (["--rows", "SPADE"], "must be some of BTF, "),
        (["--aupro", "BTF=95"], "must be ROW=VALUE, a value in (0, 1], got 'BTF=95'"),
    ):
        with pytest.raises(SystemExit):
            fps.main(given)
        assert said in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::UserWarning")  # as above
def test_fps_prints_no_times_where_the_results_differ(fps, monkeypatch, tmp_path, capsys):
    frames = importlib.import_module("_plain_frames")
    monkeypatch.setattr(frames, "farthest", lambda xyz, count: torch.zeros(count).long())
    with pytest.raises(SystemExit, match="error: CFM: map differs from the plain form's by"):
        fps.main([*SMALL, "--json", str(tmp_path / "fps.json")])
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())


def test_fps_knows_when_a_goal_is_reached(fps):
    given = [(6.0, 6), (5.9, 6), (2.9, -3), (3.0, -3), (None, -3)]
    judged = [fps.goal_of("", *one) for one in given]
    assert [one["reached"] for one in judged] == [True, False, True, False, False]
    assert [one["goal"] for one in judged[1:3]] == ["at least 6", "under 3"]


def test_fps_refuses_a_device_that_is_not_there(fps, monkeypatch):
    monkeypatch.setattr("cmad.gpu.missing", lambda: "device='cuda' needs this and that")
    with pytest.raises(SystemExit, match=r"^error: fps: device='cuda' needs this and that$"):
        fps.main(["--device", "cuda"])


def test_table_times_a_case_beside_the_usual_one_once_it_is_right(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    table = importlib.import_module("table")
    case = next(c for c in CASES if c.op == "group" and not c.timed)
    line = table.cliff(case, lambda: sum(range(2000)), 10)
    assert line["got"] > 0
    monkeypatch.setattr(reference, "group", lambda **given: np.zeros((len(given["centre"]), 1)) - 1)
    with pytest.raises(AssertionError):
        table.cliff(case, lambda: None, 10)
