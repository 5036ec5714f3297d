"""`cmad watch`: killed at any moment it goes on; refusals, Ctrl-C, drift and receivers."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import cmad
from cmad.datasets import Synthetic
from cmad.datasets.writing import write_part
from cmad.drift import Monitor
from cmad.serve.locks import Lock, of_folder

LAUNCH = """
import importlib, os, signal, sys
from cmad.cli import main

module, path, count, when = sys.argv.pop(1).split(":")
*owner, name = path.split(".")
place = importlib.import_module(module)
for part in owner:
    place = getattr(place, part)
real, calls = getattr(place, name), []

def dies(*args, **kwargs):
    calls.append(args)
    if len(calls) != int(count):
        return real(*args, **kwargs)
    if when == "after":
        real(*args, **kwargs)
    if when == "half":  # of what is written
        real(args[0], args[1][: len(args[1]) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

setattr(place, name, dies)
main()
"""
"""The command; it is killed before, in or after the n-th call of a function."""
QUICK = ["--settle", 0.05, "--poll", 0.05]


def lines(out):
    return [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]


@pytest.fixture
def frames(tmp_path):
    for i, part in enumerate(Synthetic("test", good=2, defective=2, size=(72, 96))):
        write_part(part, tmp_path / "frames", f"Teil {i} é")
    return tmp_path / "frames"


@pytest.fixture
def started():
    """Starts the command; waits until it has printed a line with a text."""
    running = []

    def start(*arguments, until):
        command = [sys.executable, "-u", "-m", "cmad", *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        late = threading.Timer(120, process.kill)
        late.start()
        running.append((process, late))
        said = []
        for line in process.stdout:
            said.append(line)
            if until in line:
                break
        assert until in "".join(said), process.stderr.read()
        process.said = said[-1]
        return process

    yield start
    for process, late in running:
        late.cancel()
        process.kill()
        process.communicate()


def check(out, frames):
    """Each part is there once, in both tables and with its map."""
    names = [f"Teil {i} é" for i in range(4)]
    assert sorted(line["name"] for line in lines(out)) == names
    with (out / "scores.csv").open(newline="") as file:
        assert [r["name"] for r in csv.DictReader(file)] == [line["name"] for line in lines(out)]
    assert sorted(p.name for p in (out / "maps").iterdir()) == [f"{n}.tiff" for n in names]
    assert all(line["error"] is None for line in lines(out))


def test_once_scores_as_cmad_score_does_and_the_second_time_nothing(run, model, frames, tmp_path):
    out = tmp_path / "out"
    got = run("watch", frames, model, "-o", out, "--once", *QUICK)
    assert got.code == 0, got.err
    assert f"4 parts more in {out}/scores.jsonl, 4 in all" in got.out
    check(out, frames)
    assert run("score", model, frames, "-o", tmp_path / "its").code == 0
    for ours, its in zip(lines(out), lines(tmp_path / "its"), strict=True):
        for name in ("name", "score", "verdict", "p_value", "regions", "map", "rgb", "xyz"):
            assert ours[name] == its[name]
        assert f"{ours['name']}: {ours['verdict']}, score " in got.out
    again = run("watch", frames, model, "-o", out, "--once", *QUICK)
    assert again.code == 0
    assert "0 parts more in" in again.out
    check(out, frames)


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        "cmad.serve.watching:read_sample:2:before",
        "cmad.serve.results:os.replace:2:before",  # the first is of scores.csv
        "cmad.serve.results:os.replace:3:after",
        "cmad.serve.journal:os.write:2:half",
        "cmad.serve.journal:os.fsync:3:before",
        "cmad.serve.journal:Journal._note:2:before",
        "cmad.serve.watching:Watcher._finish:3:before",
    ],
)
def test_killed_at_any_moment_no_part_is_lost_and_none_scored_twice(
    run, model, frames, tmp_path, moment
):
    command = ["watch", frames, model, "-o", tmp_path / "out", "--once", *QUICK]
    command = [*map(str, command), "--no-overlays"]
    launched = [sys.executable, "-c", LAUNCH, moment, *command]
    ran = subprocess.run(launched, capture_output=True, text=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    got = run(*command)
    assert got.code == 0, got.err
    check(tmp_path / "out", frames)
    assert not list((tmp_path / "out").rglob(".partial*"))


@pytest.mark.slow
def test_killed_while_parts_come_again_and_again(started, run, model, frames, tmp_path):
    out = tmp_path / "out"
    command = ["watch", frames, model, "-o", out, *QUICK]
    for i in range(2):
        process = started(*command, until="Teil")
        process.send_signal(signal.SIGKILL)
        process.wait()
        part = next(iter(Synthetic("test", good=1, size=(72, 96), seed=10 + i)))
        write_part(part, frames, f"more {i}")
    assert run(*command, "--once").code == 0
    names = [line["name"] for line in lines(out)]
    assert sorted(names) == sorted([*(f"Teil {i} é" for i in range(4)), "more 0", "more 1"])


@pytest.mark.slow
def test_ctrl_c_ends_after_the_part_in_work_and_a_second_watcher_is_refused(
    started, run, model, frames, tmp_path
):
    out = tmp_path / "out"
    process = started("watch", frames, model, "-o", out, *QUICK, until="Teil 0")
    same = run("watch", frames, model, "-o", out, "--once", *QUICK)
    assert same.code == 1
    words = f"has another cmad watch at work (process {process.pid}); stop it first"
    assert same.err.startswith(f"error: --out {out} {words}")
    other = run("watch", frames, model, "-o", tmp_path / "other", "--once", *QUICK)
    assert other.code == 1
    assert other.err.startswith(f"error: {frames} {words}")
    score = run("score", model, frames, "-o", out)  # which would remove what is there
    assert score.code == 1
    assert score.err.startswith(f"error: --out {out} {words}")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    count = len(lines(out))
    said = f"interrupted: {count} parts more in {out}/scores.jsonl, {count} in all"
    assert err.splitlines()[-1] == f"{said}; the same command goes on"
    assert run("watch", frames, model, "-o", out, "--once", *QUICK).code == 0
    check(out, frames)


@pytest.mark.slow
def test_a_service_that_is_stopped_ends_well(started, model, frames, tmp_path):
    process = started("watch", frames, model, "-o", tmp_path / "out", *QUICK, until="Teil 3")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "4 parts more in" in out


def test_what_is_not_whole_is_named_and_left_for_the_next_time(run, model, frames, tmp_path):
    points = frames / "xyz" / "Teil 1 é.tiff"
    data = points.read_bytes()
    points.write_bytes(data[:500])
    (frames / "xyz" / "Teil 2 é.tiff").rename(tmp_path / "away")
    command = ["watch", frames, model, "-o", tmp_path / "out", "--once", *QUICK]
    got = run(*command)
    assert got.code == 1
    assert [line["name"] for line in lines(tmp_path / "out")] == ["Teil 0 é", "Teil 3 é"]
    one, two, last = got.err.splitlines()
    assert one.startswith("error: Teil 1 é: not whole yet: ")
    assert "has no points" in two
    assert last.startswith("error: 2 parts could not be scored")
    points.write_bytes(data)
    (tmp_path / "away").rename(frames / "xyz" / "Teil 2 é.tiff")
    assert run(*command).code == 0
    check(tmp_path / "out", frames)


def test_messages_are_in_the_words_of_the_command(run, model, frames, tmp_path):
    (frames / "xyz" / "Teil 0 é.tiff").unlink()
    (frames / "xyz" / "Teil 0 é.png").write_bytes((frames / "rgb" / "Teil 0 é.png").read_bytes())
    got = run("watch", frames, model, "-o", tmp_path / "out", "--once", *QUICK)
    assert "is a depth image, which needs --intrinsics" in got.err


def test_drift_is_in_the_lines_and_goes_on_from_run_to_run(run, detector, tmp_path):
    detector = cmad.CFM(**{**detector.get_params(), "seed": 1})
    detector.fit(Synthetic("train", good=4, size=(96, 96)), epochs=2, pixels_per_image=50)
    detector.calibrate(Synthetic("validation", good=19, size=(96, 96)), 0.1, progress=False)
    detector.save(tmp_path / "m.cmad")
    state, out = tmp_path / "line.drift", tmp_path / "out"
    command = ["watch", tmp_path / "frames", tmp_path / "m.cmad", "-o", out, "--once", *QUICK]
    for darker in (1, 1.12):
        for part in Synthetic("test", good=10, size=(96, 96)):
            part.rgb[:] = part.rgb // darker
            write_part(part, tmp_path / "frames", f"{darker} {part.name[-3:]}")
        got = run(*command, "--drift", state)
        assert got.code == 0, got.err
    assert Monitor.load(state).parts == 20
    [said] = [line for line in got.err.splitlines() if line.startswith("drift: at ")]
    assert " of the image is lower since part " in said
    found = [line["drift"] for line in lines(out)]
    assert found[9] == []
    assert found[-1][0] in said
    pytest.importorskip("jinja2", reason="the report needs Jinja2, the extra report")
    assert run("report", out, "-o", tmp_path / "r.html").code == 0
    page = (tmp_path / "r.html").read_text()
    panel = page[page.index('panel of-line drift"') :].split("</section>")[0]
    assert "; ".join(found[-1]) in panel  # the same as in the lines, by the levels that they keep
    assert panel.count("<polyline") == len(Monitor.load(state).stakes) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--webhook", "nowhere"], "--webhook must be a URL"),
        (["--mqtt", "a:b"], "--mqtt must be HOST or HOST:PORT, got 'a:b'"),
        (["--mqtt", "a", "--mqtt-topic", "#"], "--mqtt-topic must be a topic without + and #"),
        (["--mqtt", "mqtts://u:secret@a"], "--mqtt must be without a user; --mqtt-user and"),
        (
            ["--mqtt", "http://a"],
            "--mqtt must be HOST, mqtt://HOST or mqtts://HOST, got 'http://a'",
        ),
        (["--mqtt", "a", "--mqtt-ca", "ca.pem"], "--mqtt-ca is of TLS, which --mqtt-tls or"),
        (["--mqtt", "mqtts://a", "--mqtt-ca", "no.pem"], "no.pem: no such file"),
        (["--mqtt", "mqtts://a", "--mqtt-ca", __file__], "holds no certificates in PEM"),
        (["--mqtt-user", "u"], "--mqtt-user is of --mqtt, which is not given"),
        (["--mqtt-tls"], "--mqtt-tls is of --mqtt, which is not given"),
        (["--mqtt", "a", "--mqtt-password-file", "f"], "--mqtt-password-file is of --mqtt-user"),
        (["--opcua-cert", "f"], "--opcua-cert is of --opcua, which is not given"),
        (["--opcua", "4840", "--opcua-key", "f"], "--opcua-cert and --opcua-key belong together"),
        (["--host", "0.0.0.0"], "--host is of --port, which is not given"),
        (["--key-file", "f"], "--key-file is of --port, which is not given"),
        (["--shifts", "07:00"], "--shifts is of --port, which is not given"),
        (["--port", "70000"], "--port must be from 0 to 65535, got 70000"),
        (["--port", "0", "--host", "0.0.0.0"], "which needs --key-file"),
        (["--port", "0", "--shifts", "noon"], "--shifts must be times, HH:MM,HH:MM,..."),
        (["--opcua", "here"], "--opcua must be PORT or HOST:PORT, got 'here'"),
        (["--settle", "-1"], "--settle must be from 0 to 3600 seconds"),
        (["--poll", "0"], "--poll must be from 0.01 to 3600 seconds"),
    ],
)
def test_options_that_cannot_be_stop_at_once(run, model, frames, tmp_path, options, message):
    got = run("watch", frames, model, "-o", tmp_path / "out", "--once", *options)
    assert got.code == 1
    assert message in got.err
    assert len(got.err.splitlines()) == 1
    Lock(of_folder(frames), "", "").release()  # nothing is left locked


def test_a_password_is_one_line_of_a_file_that_others_cannot_read(run, model, frames, tmp_path):
    pytest.importorskip("paho.mqtt.client")
    secret = tmp_path / "password"
    command = ["watch", frames, model, "-o", tmp_path / "out", "--once", *QUICK]
    command += ["--mqtt", "127.0.0.1:9", "--mqtt-user", "u", "--mqtt-password-file", secret]
    assert f"error: {secret}: no such file or folder" in run(*command).err
    for text in ("", "a\nb\n"):
        secret.write_text(text)
        secret.chmod(0o600)
        got = run(*command)
        assert got.err == f"error: --mqtt-password-file {secret} must hold one line\n"
    secret.chmod(0o644)
    got = run(*command)
    assert got.err.splitlines()[0] == (
        f"warning: --mqtt-password-file {secret} can be read by all on this machine: "
        f"chmod o= {secret}"
    )
    assert not (tmp_path / "out" / "scores.csv").read_text().count("\n") > 1  # nothing is scored


@pytest.mark.parametrize(
    ("option", "module", "package"),
    [
        ("--mqtt", "paho.mqtt.client", "paho-mqtt"),
        ("--opcua", "asyncua", "asyncua"),
        ("--port", "fastapi", "fastapi"),
        ("--port", "uvicorn", "uvicorn"),
    ],
)
def test_an_extra_that_is_missing_is_named(
    run, model, frames, tmp_path, monkeypatch, option, module, package
):
    monkeypatch.setitem(sys.modules, module, None)
    value, extra = ("0", "serve") if option == "--port" else ("127.0.0.1:4840", "line")
    got = run("watch", frames, model, "-o", tmp_path / "out", "--once", option, value)
    assert got.code == 1
    assert f"error: {option} needs {package} (" in got.err
    assert f"pip install 'cmad-vision[{extra}]'" in got.err


def test_a_port_in_use_is_said_before_anything_is_scored(run, model, frames, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        got = run("watch", frames, model, "-o", tmp_path / "out", "--once", "--port", port)
    assert got.code == 1
    assert got.err == (
        f"error: 127.0.0.1:{port}: address already in use; choose another one with --port\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_the_live_page_shows_what_is_scored_and_ends_with_it(
    started, model, frames, tmp_path, number, code
):
    pytest.importorskip("fastapi", reason="fastapi, of the extra serve, is not installed")
    pytest.importorskip("uvicorn", reason="uvicorn, of the extra serve, is not installed")
    command = ["watch", frames, model, "-o", tmp_path / "out", *QUICK, "--port", 0]
    names, url = [f"Teil {i} é" for i in range(4)], ""
    for earlier in (False, True):
        process = started(*command, until="; live page on ")
        url = process.said.split("; live page on ")[1].strip()
        with urllib.request.urlopen(f"{url}/events", timeout=60) as stream:
            found = []
            for text in stream:  # each part once, in the first message or as it comes
                if text.startswith(b"data: "):
                    found += json.loads(text[6:])["parts"]
                if len(found) >= 4:
                    break
            assert [part["name"] for part in found] == names
            assert all((part["time"] is None) == earlier for part in found)
            with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
                counted = "cmad_parts_total{" in answer.read().decode()
            assert counted != earlier
            process.send_signal(number)  # while the page is open
            out, err = process.communicate()
        assert process.returncode == code
        assert "Traceback" not in err
        assert "4 in all" in (out if code == 0 else err).splitlines()[-1]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=20)


def test_model_and_folder_in_each_others_place(run, model, frames, tmp_path):
    got = run("watch", model, frames, "-o", tmp_path / "out")
    assert got.code == 1
    assert f"the folder comes first: cmad watch {frames} {model}" in got.err
    got = run("watch", tmp_path / "nowhere", model, "-o", tmp_path / "out")
    assert got.code == 1
    assert not (tmp_path / "out").exists()


def test_results_of_cmad_score_are_left_alone(run, model, frames, tmp_path):
    out = tmp_path / "out"
    assert run("score", model, frames, "-o", out).code == 0
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    got = run("watch", frames, model, "-o", out, "--once", *QUICK)
    assert got.code == 1
    assert "is no table of cmad watch" in got.err
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.slow
def test_a_webhook_that_is_away_does_not_hold_up_scoring(run, model, frames, tmp_path, monkeypatch):
    monkeypatch.setattr("cmad.cli._receivers.GRACE", 0.2)
    out, begin = tmp_path / "out", time.monotonic()
    command = ["watch", frames, model, "-o", out, "--once", *QUICK]
    got = run(*command, "--webhook", "http://127.0.0.1:9/")
    assert got.code == 0, got.err
    check(out, frames)
    assert "note: webhook is away, verdicts wait for it: " in got.err
    assert "note: webhook: 4 verdicts are not sent yet; the same command goes on" in got.err
    assert time.monotonic() - begin < 60
    assert Path(os.path.realpath(out / "outbox" / "webhook.json")).exists()
