"""`cmad synthesise`: parts with anomalies as files that other commands read, and a picture."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cmad.cli.synthesise import _divided
from cmad.datasets import MVTec3D, Synthetic
from cmad.datasets import open as open_data
from cmad.datasets.writing import write_part
from cmad.report import Pasted, anomaly_sheet
from cmad.types import Sample

QUICK = ["--weights", "random", "--rgb", "test_vit", "--image-size", "112", "--epochs", "1"]
QUICK += ["--pixels-per-image", "20"]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Six good covers in a folder called parts."""
    root = tmp_path_factory.mktemp("good") / "parts"
    for i, sample in enumerate(Synthetic(good=6, size=(112, 112), seed=3)):
        write_part(sample, root / "good", f"{i:03d}")
    return root


def test_it_writes_a_data_set_that_is_read_again(run, good, tmp_path):
    out = tmp_path / "out"
    result = run("synthesise", good, out, "--count", 5, "--kinds", "both,colour,shape")
    assert result.code == 0, result.err
    assert f"5 parts with anomalies on 2 of 2 good parts written in {out}/parts/test" in result.out
    data = open_data(out)
    assert data.kind == "MVTec 3D-AD"
    assert data.categories == ("parts",)
    train, test = MVTec3D(out, "parts", "train"), MVTec3D(out, "parts", "test")
    assert len(train) == 4
    kinds = [sample.defect for sample in test]
    assert kinds == ["both"] * 2 + ["colour"] * 2 + ["good"] * 2 + ["shape"]
    originals = [s for s in test if s.defect == "good"]
    for sample in test:
        assert sample.mask.any() == (sample.defect != "good")
        same = [
            (sample.rgb == o.rgb)[~sample.mask].all() and (sample.xyz == o.xyz)[~sample.mask].all()
            for o in originals
        ]
        assert sum(same) == 1, "only the mask is changed"
    with Image.open(out / "synthetic.png") as picture:
        assert picture.width == 8 + 6 * (220 + 8)


def test_evaluate_takes_what_it_writes(run, good, tmp_path):
    out = tmp_path / "out"
    assert run("synthesise", good, out, "--count", 3).code == 0
    result = run("evaluate", out, "--out", tmp_path / "results", *QUICK)
    assert result.code == 0, result.err
    assert "parts" in result.out


def test_the_same_seed_writes_the_same_parts(run, good, tmp_path):
    outs = [tmp_path / name for name in "abc"]
    for out, seed in zip(outs, (1, 1, 2), strict=True):
        assert (
            run("synthesise", good, out, "--count", 2, "--seed", seed, "--without-good").code == 0
        )
    a, b, c = (sorted(p for p in out.rglob("*") if p.is_file()) for out in outs)
    assert [p.relative_to(outs[0]) for p in a] == [p.relative_to(outs[1]) for p in b]
    assert len(a) == 1 + 2 * 3  # the picture, and rgb, xyz, gt of each
    assert all(p.read_bytes() == q.read_bytes() for p, q in zip(a, b, strict=True))
    assert any(p.read_bytes() != q.read_bytes() for p, q in zip(a, c, strict=True))


def test_colour_is_cut_from_the_images_of_a_folder(run, good, tmp_path):
    (tmp_path / "textures").mkdir()
    Image.new("RGB", (50, 40), (0, 255, 0)).save(tmp_path / "textures" / "a.png")
    out = tmp_path / "out"
    result = run("synthesise", good, out, "--from", tmp_path / "textures", "--count", 4)
    assert result.code == 0, result.err
    pasted = [s.rgb[s.mask] for s in MVTec3D(out, "parts", "test") if s.defect == "both"]
    share = np.mean([(rgb[:, 1] > rgb[:, 0]).mean() for rgb in pasted])
    assert share > 0.9  # even after corruption it is greener than any cover


def test_a_single_part_is_cut_from_itself_and_it_is_said(run, good, tmp_path):
    out = tmp_path / "out"
    result = run("synthesise", good, out, "--parts", 1, "--count", 2)
    assert result.code == 0, result.err
    assert "there is one good part only: it is in train/good and in test/good" in result.out
    assert len(MVTec3D(out, "parts", "train")) == 1


@pytest.mark.filterwarnings("always")
def test_a_part_that_shows_nothing_is_named_and_not_used(run, good, tmp_path):
    [sample] = Synthetic(good=1, size=(112, 112), seed=3)
    blank = Sample(sample.rgb, np.zeros_like(sample.xyz), None, "good")
    for i, part in enumerate((sample, blank, sample, sample, sample, blank)):
        write_part(part, tmp_path / "in" / "good", f"{i:03d}")
    result = run("synthesise", tmp_path / "in", tmp_path / "out", "--count", 1)
    assert result.code == 0, result.err
    assert "2 of 6 parts are not used to synthesise anomalies" in result.err
    assert "on 1 of 2 good parts" in result.out
    assert "not used: good/001: xyz has no valid point" in result.out
    for split, count in (("train", 3), ("test", 2)):
        parts = MVTec3D(tmp_path / "out", "in", split)
        assert len(parts) == count
        assert all(part.xyz.any() for part in parts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kinds", "dent"], "--kinds must be some of both,colour,shape, got 'dent'"),
        (["--regions", "3"], "--regions must be two numbers"),
        (["--regions", "3,1"], "--regions must be two numbers"),
        (["--displacement", "2mm"], "--displacement must be two lengths such as 0.2mm,2mm"),
        (["--displacement", "2mm,far"], "--displacement must be two lengths"),
        (["--preset", "mine"], "--preset must be one of"),
        (["--from", "{tmp}/no"], "--from: there is no folder"),
        (["--from", "{tmp}"], "holds neither pairs rgb/ and xyz/ nor images"),
        (["--good", "fine"], "--good must be the name of a folder of parts"),
    ],
)
def test_wrong_arguments_are_named_and_nothing_is_written(run, good, tmp_path, arguments, message):
    given = [a.format(tmp=tmp_path) for a in arguments]
    result = run("synthesise", good, tmp_path / "out", *given)
    assert result.code == 1
    assert message in result.err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_not_written_into_and_defective_parts_are_refused(
    run, data, good, tmp_path
):
    (tmp_path / "a.txt").write_text("mine")
    result = run("synthesise", good, tmp_path)
    assert result.code == 1
    assert "OUT must be a new or an empty folder" in result.err
    result = run("synthesise", data / "cover" / "test", tmp_path / "out", "--without-good")
    assert result.code == 1
    assert "anomalies are pasted on good parts, got one that is labelled" in result.err


def test_a_third_of_the_parts_is_held_out_for_the_test():
    assert _divided(7, False) == ([0, 1, 3, 4, 6], [2, 5])
    assert _divided(2, False) == ([0], [1])
    assert _divided(1, False) == ([], [0])
    assert _divided(3, True) == ([], [0, 1, 2])


def test_the_sheet_shows_mask_and_movement_around_the_part():
    xyz = np.dstack([*np.indices((60, 80)) * 1e-3, np.full((60, 80), 0.5)]).astype(np.float32)
    rgb = np.full((60, 80, 3), 90, np.uint8)
    part, mask = np.zeros((2, 60, 80), bool)
    part[20:40, 30:50] = True
    mask[25:30, 35:40] = True
    changed = np.where(mask[..., None], 190, rgb).astype(np.uint8)
    moved = xyz.copy()
    moved[mask, 2] -= 0.002
    good = Sample(rgb, xyz, name="a")
    pasted = Pasted(good, Sample(changed, moved, mask, "both", "a+0000"), part)
    assert pasted.describe() == (
        "a+0000: both, 25 pixels; colours differ by 100 of 255 in the mean, points by 2.00 mm "
        "(at most 2.00)"
    )
    before, after, white, _, _, movement = (np.asarray(p) for p in pasted.pictures(0.002))
    assert before.shape == (26, 26, 3)  # the part's 20 pixels with a margin
    assert (before == 90).all()
    assert (after[8:13, 8:13] == 190).all()
    assert (white == 255).sum() == 3 * 25
    assert movement[9, 9].tolist() == [255, 250, 196]  # the end of the scale
    assert movement[0, 0].tolist() == [0, 0, 0]  # not on the part
    assert anomaly_sheet([pasted] * 2).height > 2 * 220


def test_points_in_millimetres_are_written_in_metres(run, good, tmp_path):
    root = tmp_path / "mm" / "good"
    for i, sample in enumerate(Synthetic(good=2, size=(112, 112), seed=3)):
        write_part(replace(sample, xyz=1000 * sample.xyz), root, f"{i:03d}")
    out = tmp_path / "out"
    result = run("synthesise", root, out, "--count", 1, "--without-good", "--unit", "mm")
    assert result.code == 0, result.err
    [made] = MVTec3D(out, "good", "test")
    there = made.xyz[..., 2] > 0
    assert 0.3 < np.median(made.xyz[there][:, 2]) < 0.7
