"""`cmad score` on other files than pairs of PNG and TIFF, and on files that cannot be read."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from cmad import xyz_from_depth
from cmad.datasets import Folder


def lines(out):
    return [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]


@pytest.fixture
def part(data):
    return Folder(data / "cover" / "test")[0]


def test_points_of_a_ply_file_are_scored_as_those_of_the_data_set(
    run, model, detector, part, tmp_path
):
    Image.fromarray(part.rgb).save(tmp_path / "frame.png")
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {part.xyz.size // 3}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    (tmp_path / "frame.ply").write_bytes(head.encode() + part.xyz.astype("<f4").tobytes())
    result = run("score", model, tmp_path / "frame.png", tmp_path / "frame.ply", "-o", tmp_path)
    assert result.code == 0, result.err
    [line] = lines(tmp_path)
    assert line["name"] == "frame"
    assert line["score"] == detector.predict(part.rgb, part.xyz).score


def test_a_depth_image_is_scored_with_the_cameras_numbers(run, model, detector, part, tmp_path):
    depth = np.round(part.xyz[..., 2] * 1000).astype(np.uint16)
    Image.fromarray(part.rgb).save(tmp_path / "frame.png")
    Image.fromarray(depth).save(tmp_path / "depth.png")
    files = tmp_path / "depth.png", tmp_path / "frame.png"
    options = *files, "--intrinsics", "280,280,48,36", "-o", tmp_path / "out"
    result = run("score", model, *options)
    assert result.code == 0, result.err
    xyz = xyz_from_depth(depth, (280, 280, 48, 36), unit="mm")
    assert lines(tmp_path / "out")[0]["score"] == detector.predict(part.rgb, xyz).score
    far = run("score", model, *options, "--depth-unit", "m")
    assert far.code == 1
    assert "but its points are" in far.err


def test_a_part_that_cannot_be_read_is_named_as_if_it_could(run, model, data, tmp_path):
    parts = tmp_path / "parts"
    shutil.copytree(data / "cover" / "test" / "good", parts / "new" / "good")
    (parts / "new" / "good" / "xyz" / "001.tiff").write_bytes(b"no points")
    result = run("score", model, parts, "-o", tmp_path / "out")
    assert result.code == 1
    assert [line["name"] for line in lines(tmp_path / "out")] == ["new/good/000", "new/good/001"]
    assert result.err.startswith("error: new/good/001: ")
    assert "001.tiff: cannot be read" in result.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "depth.png is a depth image, which needs intrinsics"),
        (["--intrinsics", "1,2,3"], "--intrinsics must be FX,FY,CX,CY, .* got '1,2,3'"),
        (["--intrinsics", "a,b,c,d"], "--intrinsics must be FX,FY,CX,CY, .* got 'a,b,c,d'"),
        (["--intrinsics", "0,1,2,3"], "focal lengths above 0, got '0,1,2,3'"),
        (["--intrinsics", "1,1,2,nan"], "--intrinsics must be FX,FY,CX,CY"),
        (["--intrinsics", "1,1,2,3", "--depth-scale", "0"], "depth_scale must be above 0, got 0"),
        (["--depth-scale", "0.1"], "depth_scale is for depth images, which need intrinsics"),
        (["--intrinsics", "1,1,2,3", "--depth-unit", "inch"], "must be 'm' or 'mm', got 'inch'"),
    ],
)
def test_options_that_do_not_fit_stop_at_once(run, model, tmp_path, options, message):
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "frame.png")
    Image.fromarray(np.zeros((4, 6), np.uint16)).save(tmp_path / "depth.png")
    files = tmp_path / "frame.png", tmp_path / "depth.png"
    result = run("score", model, *files, *options, "-o", tmp_path / "out")
    assert result.code == 1
    assert re.search(message, result.err)
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
