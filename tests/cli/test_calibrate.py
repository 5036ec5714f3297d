"""`cmad calibrate`: a new threshold without training; and which models are replaced."""

import os
import re
import shutil

import pytest
import tifffile
import torch

import cmad
from cmad import model_file
from cmad.cli._model import beside, calibrated
from cmad.datasets import Folder

QUICK = ["--weights", "random", "--rgb", "vit_tiny_patch16_224", "--variant", "tiny"]
QUICK += ["--image-size", "112", "--epochs", "1", "--pixels-per-image", "20"]


@pytest.fixture(scope="module")
def held_out(data):
    return data / "cover" / "validation"


@pytest.fixture(scope="module")
def plain(run, data, tmp_path_factory):
    """A fitted model without a threshold."""
    out = tmp_path_factory.mktemp("plain") / "plain.cmad"
    result = run("fit", data, "--category", "cover", "-o", out, *QUICK)
    assert result.code == 0, result.err
    return out


@pytest.fixture
def own(plain, tmp_path):
    """A copy of it."""
    return shutil.copy(plain, tmp_path / "own.cmad")


def test_it_sets_the_threshold_that_calibrate_sets_and_says_both(run, own, held_out):
    want = cmad.load(own)
    want.calibrate(Folder(held_out), 0.4)
    first = run("calibrate", own, held_out, "-r", "0.4")
    assert first.code == 0, first.err
    assert first.err == ""
    assert first.out.startswith("not calibrated before\n")
    assert cmad.load(own).calibrations == want.calibrations
    second = run("calibrate", own, held_out, "-r", "0.7")
    assert second.code == 0, second.err
    old, new = want.threshold, cmad.load(own).threshold
    assert new < old
    assert f"before: threshold {old:.6g}, at most 0.4 of good parts rejected\n" in second.out
    assert f"threshold {new:.6g}: at most 0.7 of good parts rejected, from 2 held" in second.out
    assert f"saved {own}, " in second.out


def test_nothing_but_the_calibration_changes(run, own, plain, held_out, tmp_path):
    out = tmp_path / "new.cmad"
    assert run("calibrate", own, held_out, "-r", "0.4", "--out", out).code == 0
    assert own.read_bytes() == plain.read_bytes()
    (was, before), (header, tensors) = model_file.read(plain), model_file.read(out)
    assert header.pop("calibration")
    assert was.pop("calibration") == {}
    for name in ("calibrated", "timing"):  # which are of the calibration
        assert header["card"].pop(name) is not None
        assert was["card"].pop(name) is None
    assert header == was
    new = set(tensors) - set(before)
    assert "calibration.2d+3d.scores" in new
    assert all(
        name.startswith(("calibration.2d+3d.scores", "calibration.2d+3d.levels.")) for name in new
    )
    assert all(torch.equal(tensors[name], before[name]) for name in before)
    assert not any(name.startswith("extractors.") for name in tensors)


def test_extractors_in_the_file_stay_there(run, data, held_out, tmp_path):
    model = tmp_path / "m.cmad"
    options = ["--category", "cover", "-o", model, "--include-extractors", *QUICK]
    assert run("fit", data, *options).code == 0
    _, before = model_file.read(model)
    assert run("calibrate", model, held_out, "-r", "0.4").code == 0
    header, tensors = model_file.read(model)
    assert header["variant"] == "tiny"
    assert any(name.startswith("extractors.rgb.") for name in tensors)
    assert all(torch.equal(tensors[name], before[name]) for name in before)


def test_a_category_is_calibrated_on_its_validation_parts(run, own, data, held_out, tmp_path):
    options = ["-r", "0.4", "--out", tmp_path / "a.cmad"]
    assert run("calibrate", own, data, "--category", "cover", *options).code == 0
    assert run("calibrate", own, held_out, "-r", "0.4").code == 0
    assert cmad.load(tmp_path / "a.cmad").calibration == cmad.load(own).calibration


def test_the_unit_of_the_model_counts_and_one_that_is_given_instead(
    run, data, held_out, own, tmp_path
):
    shutil.copytree(held_out, tmp_path / "mm")
    for file in (tmp_path / "mm").rglob("xyz/*.tiff"):
        tifffile.imwrite(file, tifffile.imread(file) * 1000, photometric="rgb")
    wrong = run("calibrate", own, tmp_path / "mm", "-r", "0.4")
    assert wrong.code == 1
    assert "xyz must be in metres" in wrong.err
    assert run("calibrate", own, tmp_path / "mm", "-r", "0.4", "--unit", "mm").code == 0
    detector = cmad.load(own)
    assert detector.units.unit == "m"
    detector.units = cmad.units.Units("mm")
    detector.save(own)
    assert run("calibrate", own, tmp_path / "mm", "-r", "0.4").code == 0
    want = detector.threshold
    assert cmad.load(own).threshold == pytest.approx(want, rel=1e-3)  # points were rounded


@pytest.mark.filterwarnings("always")
def test_bad_parts_are_left_out_where_asked_and_a_good_folder_is_named(
    run, own, held_out, tmp_path
):
    shutil.copytree(held_out / "good", tmp_path / "parts" / "fine")
    broken = tmp_path / "parts" / "fine" / "xyz" / "001.tiff"
    broken.write_bytes(b"no points")
    command = ["calibrate", own, tmp_path / "parts", "-r", "0.5"]
    before = own.read_bytes()
    failed = run(*command)
    assert failed.code == 1
    assert "fine/001" in failed.err
    assert own.read_bytes() == before
    result = run(*command, "--skip-bad", "--good", "fine")
    assert result.code == 0, result.err
    assert "warning: 1 of 2 samples were left out: fine/001: " in result.err
    assert "from 1 held-out good parts" in result.out
    wrong = run(*command, "--skip-bad", "--good", "okay")
    assert "--good must be the name of a folder of parts (fine, parts), got 'okay'" in wrong.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{data}/cover/train", "-r", "0.5"], "000 was trained on, so its score is lower"),
        (["{data}/cover/test", "-r", "0.4"], "only good parts may be used, bump/000 is labelled"),
        (["{held_out}", "-r", "0.1"], "needs at least 9 good parts, got 2"),
        (["{held_out}", "-r", "1.5"], "must be in (0, 1), got 1.5"),
        (["{data}", "-r", "0.4"], "holds several categories; add --category with one of"),
        (["{data}/cover", "-r", "0.4"], "pass {data}/cover/validation, or its parent folder"),
        (["{held_out}", "-r", "0.4", "--out", "{tmp}"], "--out must name a file, {tmp} is a"),
        (["{held_out}", "-r", "0.4", "-o", "{tmp}/no/m"], "--out: there is no folder {tmp}/no"),
        (["{held_out}", "-r", "0.4", "--unit", "inch"], "--unit must be m or mm, got 'inch'"),
    ],
)
def test_what_cannot_be_leaves_the_model_as_it_was(
    run, own, data, held_out, tmp_path, arguments, message
):
    assert run("calibrate", own, held_out, "-r", "0.4").code == 0
    before = own.read_bytes()
    places = {"data": data, "tmp": tmp_path, "held_out": held_out}
    result = run("calibrate", own, *[a.format(**places) for a in arguments])
    assert result.code == 1
    assert message.format(**places) in result.err
    assert len(result.err.splitlines()) == 1
    assert own.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["own.cmad"]


def test_a_missing_model_and_a_missing_rate_are_named(run, own, held_out, tmp_path):
    gone = run("calibrate", tmp_path / "gone.cmad", held_out, "-r", "0.4", "-o", own)
    assert (gone.code, "gone.cmad: no such file or folder" in gone.err) == (1, True)
    assert run("calibrate", own, held_out).code == 2


def test_a_link_to_the_model_stays_a_link(run, own, held_out, tmp_path):
    link = tmp_path / "current.cmad"
    link.symlink_to(own)
    assert run("calibrate", link, held_out, "-r", "0.4").code == 0
    assert link.is_symlink()
    assert cmad.load(own).threshold is not None
    again = run("calibrate", link, held_out, "-r", "0.4", "--out", own)  # the same file
    assert again.code == 0, again.err


def test_a_folder_that_cannot_be_written_to_is_named_at_once(run, own, held_out, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    result = run("calibrate", own, held_out, "-r", "0.4")
    assert result.err == f"error: the folder {own.parent} cannot be written to\n"
    assert result.out == ""


def test_a_calibrated_model_is_replaced_only_where_that_is_asked_for(run, own, data, held_out):
    first = run("fit", data, "--category", "cover", "-o", own, "-r", "0.4", *QUICK)
    assert first.code == 0, first.err  # it was not calibrated
    before, threshold = own.read_bytes(), cmad.load(own).threshold
    other = shutil.copy(own, own.with_name("other.cmad"))
    said = rf"{own} is a calibrated model \(threshold {threshold:.6g}, at most 0.4 of good parts"
    for command in (
        ["fit", data, "--category", "cover", "-o", own, *QUICK],
        ["calibrate", other, held_out, "-r", "0.4", "-o", own],
    ):
        refused = run(*command)
        assert refused.code == 1
        assert re.match(
            rf"error: --out: {said} rejected\); name another .* --overwrite", refused.err
        )
        assert refused.out == ""  # before any work
        assert own.read_bytes() == before
    result = run(*command, "--overwrite")
    assert result.code == 0, result.err
    assert re.match(rf"{said} rejected\), which the new one will replace", result.out)
    fitted = run("fit", data, "--category", "cover", "-o", own, "--overwrite", *QUICK)
    assert fitted.code == 0, fitted.err
    assert "which the new one will replace" in fitted.out
    assert calibrated(own) is None


def test_a_model_of_another_format_counts_too(own, tmp_path):
    header, tensors = model_file.read(own)
    for known, want in (({"2d": {"threshold": 1.0, "false_reject_rate": 0.1}}, True), ({}, False)):
        model_file.write(own, {**header, "format": 1, "calibration": known}, tensors)
        assert (calibrated(own) is not None) is want
    own.write_bytes(own.read_bytes()[:200])
    assert calibrated(own) is None
    for text in (b"", b"notes", b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{}"):
        (tmp_path / "x").write_bytes(text)
        assert calibrated(tmp_path / "x") is None
    assert calibrated(tmp_path / "none") is None


def test_what_is_kept_of_a_training_never_replaces_a_calibrated_model(run, own, held_out):
    model = own.with_name("m.cmad")
    kept = own.rename(own.with_name("m.uncalibrated.cmad"))
    assert beside(model) == kept
    assert run("calibrate", kept, held_out, "-r", "0.4").code == 0
    assert beside(model).name == "m.uncalibrated-2.cmad"
