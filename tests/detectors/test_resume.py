"""A detector's training that is stopped and continued, and one that must not be."""

import os
import signal
import subprocess
import sys

import pytest
import torch

import cmad
from cmad import checkpoint, progress
from cmad.checkpoint import Checkpoint
from cmad.detectors import _g2sf_learning, _m3dm_learning, _training

HOW = {"epochs": 6, "pixels_per_image": 30, "batch_size": 2, "progress": False}


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Copy and write as often as it is asked for, however little time there is between."""
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))


def fit_until(detector, parts, steps, monkeypatch, **how):
    """Press Ctrl-C in a step of the training."""
    losses, done = _training.cosine_losses, [0]

    def pressed(*args):
        done[0] += 1
        if done[0] > steps:
            raise KeyboardInterrupt
        return losses(*args)

    with monkeypatch.context() as patch:
        patch.setattr(_training, "cosine_losses", pressed)
        with pytest.raises(KeyboardInterrupt):
            detector.fit(parts, **HOW, **how)


def same(a, b):
    assert a.losses == b.losses
    assert a.tensors().keys() == b.tensors().keys()
    for name, tensor in a.tensors().items():
        assert torch.equal(tensor, b.tensors()[name]), name


@pytest.mark.parametrize("steps", [4, 10, 16])  # of 18: three of two parts in each of six epochs
def test_a_continued_training_gives_bit_for_bit_the_same_detector(
    untrained, parts, tmp_path, monkeypatch, steps
):
    path = tmp_path / "part.checkpoint"
    fit_until(untrained(), parts, steps, monkeypatch, checkpoint=path)
    assert path.exists()
    epochs = []
    monkeypatch.setattr(
        _training, "foreground", lambda *a, f=_training.foreground: (epochs.append(1), f(*a))[1]
    )
    again = untrained().fit(parts, **HOW, checkpoint=path)
    assert len(epochs) == 6 * (6 - steps // 3)  # only the epochs that were left
    whole = untrained().fit(parts, **HOW)
    same(again, whole)
    a, b = (d.predict(parts[0].rgb, parts[0].xyz) for d in (again, whole))
    assert a.score == b.score
    assert (a.map == b.map).all()
    assert not path.exists()


def test_a_detector_whose_training_was_stopped_is_as_it_was(
    untrained, parts, tmp_path, monkeypatch
):
    detector = untrained()
    fit_until(detector, parts, 10, monkeypatch, checkpoint=tmp_path / "c")
    assert not detector.tensors()
    assert detector.losses == []
    same(detector.fit(parts, **HOW, checkpoint=tmp_path / "c"), untrained().fit(parts, **HOW))


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from conftest import detector, part
from cmad import checkpoint, progress

checkpoint.SHARE = float("inf")
epochs = checkpoint.Checkpoint.epochs

def counted(self, *args, **parts):
    for epoch in epochs(self, *args, **parts):
        if epoch == 4:
            os.kill(os.getpid(), 9)
        yield epoch

checkpoint.Checkpoint.epochs = counted
detector().fit(
    [part(seed) for seed in range(6)], epochs=6, pixels_per_image=30, batch_size=2, progress=False,
    checkpoint=checkpoint.Checkpoint(sys.argv[2], every=0),
)
"""


def test_a_training_that_was_killed_goes_on_too(untrained, parts, tmp_path):
    path = tmp_path / "c"
    folder = os.path.dirname(__file__)
    ran = subprocess.run([sys.executable, "-c", KILLED, folder, path], check=False)
    assert ran.returncode == -signal.SIGKILL
    said = []
    keeper = Checkpoint(path, say=said.append)
    again = untrained().fit(parts, **HOW, checkpoint=keeper)
    assert said == ["continuing at epoch 5 of 6"]
    same(again, untrained().fit(parts, **HOW))
    assert path.exists()  # whoever brings the object removes the file
    keeper.remove()
    assert list(tmp_path.iterdir()) == []


def other(part):
    rgb = part.rgb.copy()
    rgb[24, 24, 0] ^= 1
    return cmad.Sample(rgb, part.xyz, part.mask, part.defect, part.name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 7}, r"epochs: 6 then, 7 now"),
        ({"pixels_per_image": None}, r"pixels_per_image: 30 then, null now"),
        ({"batch_size": 3}, r"batch_size: 2 then, 3 now"),
        ({"shuffle": False}, r"shuffle: true then, false now"),
        ({"seed": 1}, r"seed: 0 then, 1 now"),
        ({"preset": "official"}, r'preset: "paper" then, "official" now'),
        ({"precision": "fp32"}, r'precision: "auto" then, "fp32" now'),
        ({"background": "none"}, r'preparation: "\w+" then, "\w+" now'),
        ({"parts": lambda p: p[:5]}, r'parts: {"number": 6, .* then, {"number": 5, '),
        ({"parts": lambda p: p[::-1]}, r'parts: {"number": 6, .* then, {"number": 6, '),
        ({"parts": lambda p: [*p[:5], other(p[5])]}, r'parts: {"number": 6, '),
        ({"vit": 1}, r"rgb extractor: .* then, .* now"),
        ({"point_mae": 1}, r"xyz extractor: .* then, .* now"),
    ],
    ids=str,
)
def test_a_training_of_anything_else_is_refused(
    make, untrained, parts, tmp_path, monkeypatch, change, message
):
    path = tmp_path / "c"
    fit_until(untrained(), parts, 10, monkeypatch, checkpoint=path)
    before = path.read_bytes()
    how = {**HOW, **{k: v for k, v in change.items() if k in ("shuffle", *HOW)}}
    options = {k: v for k, v in change.items() if k in ("seed", "preset", "precision")}
    extractors = {"vit": make["vit"], "point_mae": make["point_mae"]}
    rgb, xyz = (extractors[name](change.get(name, 0)) for name in ("vit", "point_mae"))
    if "background" in change:
        options["background"] = change["background"]
    detector = cmad.CFM(rgb=rgb, xyz=xyz, image_size=48, **options)
    given = change.get("parts", list)(parts)
    with pytest.raises(ValueError, match=f"c: holds another training, .*{message}"):
        detector.fit(given, **how, checkpoint=path)
    assert path.read_bytes() == before
    assert not detector.tensors()


def test_options_that_differ_are_refused_before_any_feature_is_extracted(
    untrained, parts, tmp_path, monkeypatch
):
    fit_until(untrained(), parts, 10, monkeypatch, checkpoint=tmp_path / "c")

    def read():
        raise AssertionError("a part is read")
        yield

    with pytest.raises(ValueError, match="epochs: 6 then, 7 now"):
        untrained().fit(read(), **{**HOW, "epochs": 7}, checkpoint=tmp_path / "c")


def test_a_method_without_epochs_writes_no_checkpoint(make, parts, tmp_path):
    detector = cmad.PatchCore(
        rgb=make["vit"](), xyz=make["point_mae"](), image_size=48, cells_2d=12, cells_3d=12
    )
    detector.fit(parts, progress=False, checkpoint=Checkpoint(tmp_path / "c", every=0))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_method_is_refused(make, untrained, parts, tmp_path, monkeypatch):
    fit_until(untrained(), parts, 10, monkeypatch, checkpoint=tmp_path / "c")
    detector = cmad.PatchCore(rgb=make["vit"](), xyz=make["point_mae"](), image_size=48)
    with pytest.raises(ValueError, match='method: "CFM" then, "PatchCore" now'):
        detector.fit(parts, progress=False, checkpoint=tmp_path / "c")


def test_features_on_disk_and_another_cache_change_nothing(untrained, parts, tmp_path, monkeypatch):
    path = tmp_path / "c"
    fit_until(untrained(), parts, 10, monkeypatch, checkpoint=path, memory_limit=0)
    again = untrained(cache=tmp_path / "cache").fit(parts, **HOW, checkpoint=path)
    same(again, untrained().fit(parts, **HOW))


def test_the_bar_begins_where_the_training_does(untrained, parts, tmp_path, monkeypatch):
    fit_until(untrained(), parts, 10, monkeypatch, checkpoint=tmp_path / "c")
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    lines = []
    monkeypatch.setattr(progress, "_write", lines.append)
    untrained().fit(parts, **{**HOW, "progress": True}, checkpoint=tmp_path / "c")
    training = [line.split(",")[0] for line in lines if line.startswith("training")]
    assert training[0] == "training: 4 of 6"
    assert len(training) == 3  # the last line is that of the end


@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_g2sf_continues_bit_for_bit_with_its_dropout_and_its_best_epoch(
    make, parts, tmp_path, monkeypatch, epoch
):
    how = {"epochs": 6, "synthetic_parts": 4, "patches_per_part": 30, "progress": False}

    def untrained():
        options = {"cells": 12, "fraction": 0.3, "image_size": 48}
        return cmad.G2SF(rgb=make["vit"](), xyz=make["point_mae"](), **options)

    def stopped(*args, validated=_g2sf_learning.validated):
        seen.append(1)
        if len(seen) > epoch:
            raise KeyboardInterrupt
        return validated(*args)

    seen = []
    path = tmp_path / "part.checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr(_g2sf_learning, "validated", stopped)
        with pytest.raises(KeyboardInterrupt):
            untrained().fit(parts[:3], **how, checkpoint=path)
    assert path.exists()
    same(untrained().fit(parts[:3], **how, checkpoint=path), untrained().fit(parts[:3], **how))
    assert not path.exists()


@pytest.mark.parametrize("epoch", [1, 3])
def test_m3dms_fusion_continues_bit_for_bit(make, parts, tmp_path, monkeypatch, epoch):
    how = {"epochs": 4, "batch_size": 2, "patches_per_part": 30, "progress": False}

    def untrained():
        options = {"cells_2d": 12, "cells_3d": 16, "fraction": 0.3, "image_size": 48}
        return cmad.M3DM(rgb=make["vit"](), xyz=make["point_mae"](), **options)

    def stopped(*args, learning_rate=_m3dm_learning.learning_rate):
        if args[1] > epoch:
            raise KeyboardInterrupt
        return learning_rate(*args)

    path = tmp_path / "part.checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr(_m3dm_learning, "learning_rate", stopped)
        with pytest.raises(KeyboardInterrupt):
            untrained().fit(parts[:4], **how, checkpoint=path)
    assert path.exists()
    continued, whole = untrained(), untrained()
    assert (
        continued.fit(parts[:4], **how, checkpoint=path).losses
        == whole.fit(parts[:4], **how).losses
    )
    assert len(whole.losses) == 8
    same(continued, whole)
    assert not path.exists()
