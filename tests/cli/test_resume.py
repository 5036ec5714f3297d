"""Commands that are interrupted in their training, and run again."""

import pytest

import cmad
from cmad import checkpoint
from cmad.detectors import _training

QUICK = ["--weights", "random", "--rgb", "vit_tiny_patch16_224", "--variant", "tiny"]
QUICK += ["--image-size", "112", "--epochs", "4", "--pixels-per-image", "20"]


@pytest.fixture
def pressed(monkeypatch):
    """Makes Ctrl-C come in the third epoch of a training, until it is told not to."""
    losses, done = _training.cosine_losses, []

    def counting(*args):
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return losses(*args)

    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))
    monkeypatch.setattr(_training, "cosine_losses", counting)
    return done


def interrupted(run, *command):
    """Run a command that Ctrl-C ends."""
    result = run(*command)
    assert result.code == 130, result.err
    return result


def test_fit_goes_on_where_it_was_interrupted(run, data, tmp_path, pressed):
    out = tmp_path / "part.cmad"
    command = ["fit", data, "--category", "cover", "-o", out, "-r", "0.4", *QUICK]
    beside = tmp_path / "part.cmad.checkpoint"
    result = interrupted(run, *command)
    said = f"note: 2 of 4 epochs are kept in {beside}: the same command goes on behind them"
    assert said in result.err
    assert [path.name for path in tmp_path.iterdir()] == [beside.name]
    result = run(*command)
    assert result.code == 0, result.err
    assert "continuing at epoch 3 of 4" in result.out
    assert len(pressed) == 3 + 2
    assert [path.name for path in tmp_path.iterdir()] == ["part.cmad"]
    whole = tmp_path / "whole.cmad"
    assert run(*[whole if word is out else word for word in command]).code == 0
    a, b = cmad.load(out), cmad.load(whole)
    assert a.threshold == b.threshold
    assert all((tensor == b.tensors()[name]).all() for name, tensor in a.tensors().items())


def test_fit_with_other_options_is_refused_and_the_training_kept(run, data, tmp_path, pressed):
    out = tmp_path / "part.cmad"
    command = ["fit", data, "--category", "cover", "-o", out, *QUICK]
    interrupted(run, *command)
    before = (tmp_path / "part.cmad.checkpoint").read_bytes()
    result = run(*command, "--epochs", "5")
    assert result.code == 1
    assert "part.cmad.checkpoint: holds another training, stopped after epoch 2 of 4" in result.err
    assert "epochs: 4 then, 5 now" in result.err
    assert "the same command goes on" not in result.err
    assert (tmp_path / "part.cmad.checkpoint").read_bytes() == before
    assert not out.exists()


def test_a_model_that_cannot_be_saved_leaves_the_training(
    run, data, tmp_path, pressed, monkeypatch
):
    monkeypatch.setattr(checkpoint.Checkpoint.__init__, "__kwdefaults__", {"every": 0, "say": None})
    pressed.extend([1, 1, 1])  # no Ctrl-C
    out = tmp_path / "part.cmad"
    command = ["fit", data, "--category", "cover", "-o", out, *QUICK]

    def full(*_, **__):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(cmad.detectors.Detector, "save", full)
        assert run(*command).code == 1
    result = run(*command)
    assert result.code == 0, result.err
    assert "continuing behind the last of 4 epochs" in result.out
    assert [path.name for path in tmp_path.iterdir()] == ["part.cmad"]


def test_evaluate_goes_on_in_the_category_and_epoch_it_was_in(run, data, tmp_path, pressed):
    out = tmp_path / "out"
    command = ["evaluate", data, "--out", out, *QUICK]
    interrupted(run, *command)
    assert (out / "categories" / "cover.checkpoint").exists()
    result = run(*command)
    assert result.code == 0, result.err
    assert len(pressed) == 3 + 2
    assert [path.name for path in (out / "categories").iterdir()] == ["cover.json"]


def test_evaluate_keeps_the_training_where_the_test_is_interrupted(
    run, data, tmp_path, pressed, monkeypatch
):
    monkeypatch.setattr(checkpoint.Checkpoint.__init__, "__kwdefaults__", {"every": 0, "say": None})
    pressed.extend([1, 1, 1])

    def ctrl_c(*_, **__):
        raise KeyboardInterrupt

    command = ["evaluate", data, "--out", tmp_path / "out", *QUICK]
    with monkeypatch.context() as patch:
        patch.setattr(cmad.detectors.Detector, "features", ctrl_c)
        interrupted(run, *command)
    trained = len(pressed)
    assert run(*command).code == 0
    assert len(pressed) == trained
