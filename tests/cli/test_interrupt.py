"""Ctrl-C ends a command with one line that says what is left, and exit code 130."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

import cmad
from cmad import demo as demonstration
from cmad.cli._interrupt import Watched
from cmad.detectors import CFM, Detector
from cmad.serve.results import Names
from cmad.testing import eyecandies

QUICK = ["--weights", "random", "--rgb", "vit_tiny_patch16_224", "--variant", "tiny"]
QUICK += ["--image-size", "112", "--epochs", "1", "--pixels-per-image", "20"]

LAUNCH = """
import importlib, signal, sys, time
from cmad.cli import main

module, path, count = sys.argv.pop(1).split(":")
*owner, name = path.split(".")
place = importlib.import_module(module)
for part in owner:
    place = getattr(place, part)
real, calls = getattr(place, name), []

def waits(*args, **kwargs):
    calls.append(args)
    if len(calls) == int(count):
        print("HERE", flush=True)
        time.sleep(100)
    return real(*args, **kwargs)

if count != "0":
    setattr(place, name, waits)
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where it is started ignoring it
main()
"""
"""The command; it waits in the n-th call of a function, to be interrupted there."""


def interrupt(where, *arguments, until="HERE"):
    """Start a command, send SIGINT when it has printed a line; return exit code, out and err."""
    command = [sys.executable, "-u", "-c", LAUNCH, where, *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        late = threading.Timer(180, process.kill)
        late.start()
        try:
            before = []
            for text in process.stdout:
                before.append(text)
                if until in text:
                    break
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
        finally:
            late.cancel()
            process.kill()
    return process.returncode, "".join(before) + out, err


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def breaks(monkeypatch):
    """Makes the n-th call of a function be interrupted."""

    def at(place, name, call=1):
        real, calls = getattr(place, name), []

        def broken(*args, **kwargs):
            calls.append(args)
            if len(calls) == call:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        monkeypatch.setattr(place, name, broken)

    return at


@pytest.mark.slow
def test_a_training_that_is_interrupted_leaves_the_model(model, data, tmp_path):
    out = tmp_path / "m.cmad"
    shutil.copy(model, out)
    options = [*QUICK, "--epochs", "10000000", "--overwrite"]
    options += ["--unit", "m", "--category", "cover", "-o", out]
    code, _, err = interrupt("cmad.api:score:0", "fit", data, *options, until="3D")
    *notes, last = err.splitlines()
    assert (code, last) == (130, f"interrupted: {out} is as it was")
    assert out.read_bytes() == model.read_bytes()
    # Where it was in its first epoch there is nothing to keep.
    kept = files(tmp_path)
    assert kept in (["m.cmad"], ["m.cmad", "m.cmad.checkpoint"])
    assert len(notes) == len(kept) - 1
    for note in notes:
        assert re.match(rf"note: \d+ of 10000000 epochs are kept in {re.escape(str(out))}", note)


@pytest.mark.slow
def test_a_calibration_that_is_interrupted_leaves_the_model(model, data, tmp_path):
    out = shutil.copy(model, tmp_path / "m.cmad")
    command = ["calibrate", out, data / "cover" / "validation", "-r", "0.4"]
    code, _, err = interrupt("cmad.calibrate:Parts.scored:2", *command)
    assert (code, err) == (130, f"interrupted: {out} is as it was\n")
    assert out.read_bytes() == model.read_bytes()
    assert files(tmp_path) == ["m.cmad"]


@pytest.mark.slow
def test_scoring_that_is_interrupted_keeps_the_parts_so_far(model, data, tmp_path):
    command = ["score", model, data / "cover" / "test", "-o", tmp_path]
    code, _, err = interrupt("cmad.detectors:Detector.decide:3", *command)
    assert (code, err) == (130, f"interrupted: 2 of 4 parts in {tmp_path / 'scores.csv'}\n")
    with (tmp_path / "scores.csv").open(newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert len(names) == 2
    lines = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == names
    assert files(tmp_path / "maps") == [f"{name}.tiff" for name in names]


@pytest.mark.slow
def test_an_evaluation_that_is_interrupted_goes_on(run, tmp_path):
    data, out = tmp_path / "Eyecandies", tmp_path / "out"
    for name, seed in (("CandyCane", 0), ("Lollipop", 1)):
        eyecandies.write(data, name, train=2, validation=2, good=1, size=160, seed=seed)
    command = ["evaluate", data, "-o", out, *QUICK]
    code, said, err = interrupt("cmad.evaluate.category:_category:2", *command)
    assert "CandyCane: " in said
    kept = f"results of 1 of 2 categories kept in {out}, the same command goes on"
    assert (code, err) == (130, f"interrupted: {kept}\n")
    again = run(*command)
    assert again.code == 0, again.err
    assert "results kept from before: CandyCane" in again.out


@pytest.mark.slow
def test_a_demo_that_is_interrupted_has_written_no_model(tmp_path):
    out = tmp_path / "demo"
    code, _, err = interrupt("cmad.demo:_made:2", "demo", "-o", out)
    progress = re.compile(r"extracting features: ")
    left = [line for line in err.splitlines() if not progress.match(line)]
    said = f"interrupted: {out / 'demo.cmad'} was not written; the same command starts again"
    assert (code, left) == (130, [said])
    assert files(tmp_path) == []


def test_an_interrupted_calibration_keeps_the_training(run, data, tmp_path, breaks):
    out, kept = tmp_path / "m.cmad", tmp_path / "m.uncalibrated.cmad"
    command = ["fit", data, "--category", "cover", "-o", out, "-r", "0.4", *QUICK]
    breaks(Detector, "calibrate")
    result = run(*command)
    assert result.code == 130
    assert result.err == (
        f"interrupted: {out} was not written; the model without a threshold is {kept}, to go on: "
        f"cmad calibrate {kept} GOOD_PARTS -r 0.4 --out {out}\n"
    )
    assert cmad.load(kept).threshold is None
    go_on = ["calibrate", kept, data / "cover" / "validation", "-r", "0.4", "--out", out]
    assert run(*go_on).code == 0
    assert cmad.load(out).threshold is not None


def test_what_is_said_of_the_model_is_what_became_of_it(run, data, tmp_path, monkeypatch):
    """Also where Ctrl-C comes when it is saved already."""
    save, out = Detector.save, tmp_path / "m.cmad"

    def interrupted(*args):
        save(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(Detector, "save", interrupted)
    for _ in range(2):
        result = run("fit", data, "--category", "cover", "-o", out, *QUICK)
        assert (result.code, result.err) == (130, f"interrupted: {out} is already the new one\n")
    monkeypatch.undo()
    watched = Watched(out)
    assert str(watched) == f"{out} is as it was"
    out.unlink()
    assert str(Watched(out)) == f"{out} was not written"


def test_before_the_first_part_nothing_of_an_earlier_run_is_touched(
    run, model, data, tmp_path, breaks
):
    command = ["score", model, data / "cover" / "test" / "good", "-o", tmp_path]
    assert run(*command).code == 0
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    breaks(Detector, "restore")
    result = run(*command)
    assert (result.code, result.err) == (
        130,
        f"interrupted: results in {tmp_path} are as they were\n",
    )
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_what_an_interrupted_run_wrote_is_removed_by_the_next(run, model, data, tmp_path, breaks):
    command = ["score", model, data / "cover" / "test", "-o", tmp_path]
    breaks(Names, "unique", 3)
    assert run(*command).code == 130
    assert len(files(tmp_path / "maps")) == 2
    result = run("score", model, data / "cover" / "test" / "hole", "-o", tmp_path)
    assert result.code == 0, result.err
    assert files(tmp_path / "maps") == ["000.tiff"]


def test_evaluate_counts_seeds_and_what_is_kept_from_before(run, tmp_path, breaks):
    data, out = tmp_path / "Eyecandies", tmp_path / "out"
    eyecandies.write(data, "CandyCane", train=2, validation=2, good=1, size=160, seed=0)
    command = ["evaluate", data, "-o", out, *QUICK]
    assert run(*command).code == 0
    breaks(CFM, "learn")
    result = run(*command, "--seeds", "2")
    assert result.code == 130
    assert "results of 1 of 2 categories (categories x 2 seeds) kept in" in result.err


def test_words_of_one_command_are_not_the_next_ones(run, model, data, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    good = data / "cover" / "test" / "good"
    assert run("score", model, good, "-o", tmp_path).code == 0
    monkeypatch.setattr("cmad.model_file.read", interrupted)
    result = run("info", model)
    assert (result.code, result.err) == (
        130,
        "interrupted: files that were written before are left\n",
    )


def test_an_interrupted_demo_leaves_an_earlier_model(run, tmp_path, breaks):
    (tmp_path / "demo.cmad").write_bytes(b"earlier")
    breaks(demonstration, "make_detector")
    breaks(demonstration, "_made")
    result = run("demo", "-o", tmp_path)
    assert result.code == 130
    assert f"interrupted: {tmp_path / 'demo.cmad'} is as it was; the same command" in result.err
