"""`cmad serve`: starts, refuses what cannot be, and ends when all is answered."""

import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

pytest.importorskip("fastapi", reason="fastapi, of the extra serve, is not installed")
pytest.importorskip("uvicorn", reason="uvicorn, of the extra serve, is not installed")
httpx = pytest.importorskip("httpx")

SLOW = """
import sys, time
from cmad.cli import main
from cmad.detectors import Detector
decide = Detector.decide
def slow(*args):
    print("AT WORK", flush=True)
    time.sleep(1.5)
    return decide(*args)
Detector.decide = slow
main()
"""


@pytest.fixture
def started():
    """Starts the command; returns the process and its address."""
    running = []

    def start(*arguments):
        command = [sys.executable, "-u", "-c", SLOW, "serve", *map(str, arguments), "--port", "0"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        late = threading.Timer(120, process.kill)
        late.start()
        running.append((process, late))
        line = ""
        while not line.startswith("serving "):
            line = process.stdout.readline()
            assert line, process.stderr.read()
        return process, line.split(" on ")[1].strip()

    yield start
    for process, late in running:
        late.cancel()
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_what_was_accepted_is_answered_before_it_ends(started, model, data, number, code):
    process, url = started(model)
    folder = data / "cover" / "test" / "good"
    files = {"image": ("000.png", (folder / "rgb" / "000.png").read_bytes())}
    files["points"] = ("000.tiff", (folder / "xyz" / "000.tiff").read_bytes())
    answers = []

    def ask():
        answers.append(httpx.post(f"{url}/score", files=files, timeout=60))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    while "AT WORK" not in process.stdout.readline():
        pass
    process.send_signal(number)
    for thread in threads:
        thread.join()
    out, err = process.communicate()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert process.returncode == code
    said = out if code == 0 else err
    assert "all 2 parts that were accepted are answered" in said.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.slow
def test_others_need_the_key_and_a_page_lives(started, model, tmp_path):
    (tmp_path / "key").write_text("0123456789abcdef\n")
    (tmp_path / "key").chmod(0o644)
    process, url = started(model, "--host", "0.0.0.0", "--key-file", tmp_path / "key")
    url = url.replace("0.0.0.0", "127.0.0.1")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{url}/health")
    asked = urllib.request.Request(f"{url}/health", headers={"X-API-Key": "0123456789abcdef"})
    with urllib.request.urlopen(asked) as answer:
        assert json.load(answer)["status"] == "ok"
    asked.full_url = f"{url}/"
    with urllib.request.urlopen(asked) as answer:
        assert b"/live.js" in answer.read()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    warning = f"warning: --key-file {tmp_path}/key can be read by all on this machine: chmod o= "
    assert err == f"{warning}{tmp_path}/key\n"


def test_a_port_in_use_is_said(run, model):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        got = run("serve", model, "--port", port)
    assert got.code == 1
    assert got.err == (
        f"error: 127.0.0.1:{port}: address already in use; choose another one with --port\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 is open to other machines, which needs --key-file"),
        (["--port", "70000"], "--port must be from 0 to 65535, got 70000"),
        (["--queue", "0"], "--queue must be from 1, got 0"),
        (["--max-mb", "nan"], "--max-mb must be from 1, got nan"),
        (["--shifts", "noon"], "--shifts must be times, HH:MM,HH:MM,..., got 'noon'"),
        (["--key-file", "{short}"], "must hold one line of 16 letters and digits or more"),
        (["--key-file", "{missing}"], "no such file"),
        (["--host", "no.such.host.invalid"], "needs --key-file"),
        (["{model}"], "several models are called cover; rename one"),
    ],
)
def test_options_that_cannot_be_stop_at_once(run, model, tmp_path, options, message):
    (tmp_path / "short").write_text("secret")
    names = {"short": tmp_path / "short", "missing": tmp_path / "missing", "model": model}
    got = run("serve", model, *(option.format(**names) for option in options))
    assert got.code == 1
    assert message in got.err
    assert len(got.err.splitlines()) == 1


def test_a_file_that_is_no_model_is_said(run, tmp_path):
    (tmp_path / "m.cmad").write_bytes(b"none")
    got = run("serve", tmp_path / "m.cmad", "--port", 0)
    assert got.code == 1
    assert "m.cmad" in got.err


@pytest.mark.parametrize("module", ["fastapi", "uvicorn", "python_multipart"])
def test_an_extra_that_is_missing_is_named(run, model, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    got = run("serve", model)
    assert got.code == 1
    assert f"error: cmad serve needs {module.replace('_', '-')} (" in got.err
    assert "pip install 'cmad-vision[serve]'" in got.err
