"""The benchmark scripts say in a line what is missing, before they work for minutes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

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
    assert rows["op discrepancy"]["floor_ms"] > 0
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
