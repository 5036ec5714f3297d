"""`cmad score --drift FILE`: a monitor that goes on from run to run."""

import pytest

import cmad
from cmad.datasets import Synthetic
from cmad.datasets.writing import write_part
from cmad.drift import Monitor


@pytest.fixture(scope="module")
def model(detector, tmp_path_factory):
    detector = cmad.CFM(**{**detector.get_params(), "seed": 1})
    detector.fit(Synthetic("train", good=4, size=(96, 96)), epochs=2, pixels_per_image=50)
    detector.calibrate(Synthetic("validation", good=19, size=(96, 96)), 0.1, progress=False)
    path = tmp_path_factory.mktemp("drift") / "part.cmad"
    detector.save(path)
    return path


@pytest.fixture(scope="module")
def shift(tmp_path_factory):
    """Folders of usual parts, and of parts in weaker light."""
    root = tmp_path_factory.mktemp("shift")
    for part in Synthetic("test", good=10, size=(96, 96)):
        name = part.name.rsplit("/", 1)[1]
        write_part(part, root / "usual", name)
        part.rgb[:] = part.rgb // 1.12
        write_part(part, root / "dark", name)
    return root


def test_it_goes_on_from_run_to_run_and_says_when_it_alarms(run, model, shift, tmp_path):
    state = tmp_path / "line.drift"
    command = ["score", model, "--out", tmp_path / "out", "--no-maps", "--no-overlays"]
    first = run(*command, shift / "usual", "--drift", state)
    assert first.code == 0
    assert "drift: none in 10 parts (highest stake " in first.out
    then = run(*command, shift / "dark", "--drift", state)
    assert then.code == 0
    [line] = [row for row in then.err.splitlines() if row.startswith("drift: at ")]
    assert " of the image is lower since part 1" in line
    assert "calibrate again, and begin anew without" in then.out
    assert Monitor.load(state).parts == 20


def test_a_file_of_another_calibration_or_rate_is_refused(run, model, shift, tmp_path):
    state = tmp_path / "line.drift"
    command = ["score", model, shift / "usual", "--out", tmp_path / "out", "--drift", state]
    Monitor({"score": [0.0, 0.1, 0.2]}, 0.2).save(state)
    got = run(*command)
    assert got.code == 1
    assert "begun with a threshold of 0.2, now it is " in got.err
    assert not (tmp_path / "out").exists()
    cmad.load(model).monitor(0.01).save(state)
    assert (
        "begun with a false-alarm of 0.01, now it is 0.05"
        in run(*command, "--false-alarm", 0.05).err
    )
    state.write_bytes(b"something else")
    assert "not the state of a drift monitor" in run(*command).err
    assert state.read_bytes() == b"something else"


def test_it_takes_a_calibrated_model_and_a_place_to_write(run, detector, model, shift, tmp_path):
    out = ["--out", tmp_path / "out"]
    got = run("score", model, shift / "usual", *out, "--drift", tmp_path / "no" / "line.drift")
    assert got.code == 1
    assert "line.drift" in got.err
    bare = cmad.load(model)
    bare.calibrations = {}
    bare.save(tmp_path / "bare.cmad")
    got = run("score", tmp_path / "bare.cmad", shift / "usual", *out, "--drift", tmp_path / "d")
    assert "not calibrated; call calibrate" in got.err
