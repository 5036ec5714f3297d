"""The commands of docs/line.md run as the page has them, but for ports and the broker's name."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cmad.datasets import Synthetic
from cmad.datasets.writing import write_part

pytestmark = pytest.mark.slow
PAGE = (Path(__file__).parents[2] / "docs" / "line.md").read_text()


def section(heading):
    """The text below a heading of the page, up to the next one."""
    return re.split(r"^#+ ", PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]


def command(heading, begin):
    """The one command below a heading that begins so."""
    blocks = re.findall(r"^```bash\n(.*?)^```", section(heading), re.M | re.S)
    [found] = [line for text in blocks for line in text.splitlines() if line.startswith(begin)]
    return found


def need(*programs):
    for name in programs:
        if not (shutil.which(name) or shutil.which(name, path="/usr/sbin")):
            pytest.skip(f"{name} is not installed")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def until(holds, seconds=60.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def answers(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


class Running:
    """A command at work, whose output is read as it comes."""

    def __init__(self, shell, folder, path):
        # In a group of its own, to which Ctrl-C goes.
        self.process = subprocess.Popen(
            ["bash", "-c", shell],
            cwd=folder,
            env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines = []
        self.reading = threading.Thread(target=self.read)
        self.reading.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def says(self, text):
        assert self.process.poll() is None or any(text in line for line in self.lines), self.lines
        return any(text in line for line in self.lines)

    def end(self, number=signal.SIGINT):
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        code = self.process.wait(60)
        self.reading.join(20)
        self.process.stdout.close()
        return code


class Desk:
    """The folder where the page is followed: its commands, with free ports in the places of its."""

    def __init__(self, folder):
        self.folder, self.running = folder, []
        self.ports = {name: str(free_port()) for name in ("9000", "1883", "8883", "4840", "8000")}
        own = folder / "bin"
        own.mkdir()
        (own / "cmad").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cmad "$@"\n')
        (own / "cmad").chmod(0o755)
        self.path = f"{own}:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"

    def local(self, text):
        return re.sub(r"\b(9000|1883|8883|4840|8000)\b", lambda m: self.ports[m[0]], text)

    def start(self, shell, says=None, port=None):
        """Start a command, and wait for what it says or for its port."""
        run = Running(self.local(shell), self.folder, self.path)
        self.running.append(run)
        if says is not None:
            until(lambda: run.says(says))
        if port is not None:
            until(lambda: answers(int(self.ports[port])))
        return run

    def run(self, shell):
        """Run a command; return what it prints."""
        done = subprocess.run(
            ["bash", "-c", self.local(shell)],
            cwd=self.folder,
            env={**os.environ, "PATH": self.path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def put_parts(self):
        """Copy parts into the watched folder, as the page says."""
        [copy] = re.findall(r"`(cp -r demo/parts frames/\w+)`", section("Send verdicts on"))
        self.run(copy)


@pytest.fixture
def desk(tmp_path, model):
    shutil.copy(model, tmp_path / "part.cmad")
    (tmp_path / "frames").mkdir()
    parts = Synthetic("test", good=1, defective=1, size=(72, 96))
    for part, kind in zip(parts, ("good", "hole"), strict=True):
        write_part(part, tmp_path / "demo" / "parts" / kind, "000")
    made = Desk(tmp_path)
    yield made
    for run in made.running:
        run.end(signal.SIGKILL)


WATCHING = "watching frames, 0 parts done before"
NAMES = ["again/good/000", "again/hole/000"]


def test_a_web_server(desk):
    [code] = re.findall(r"^```python\n(.*?)^```", section("A web server"), re.M | re.S)
    (desk.folder / "receiver.py").write_text(desk.local(code))
    receiver = desk.start("python receiver.py", port="9000")
    watch = desk.start(command("A web server", "cmad watch"), WATCHING)
    desk.put_parts()
    until(lambda: sum(line.startswith("{") for line in receiver.lines) == 2)
    got = [json.loads(line) for line in receiver.lines if line.startswith("{")]
    assert [verdict["name"] for verdict in got] == NAMES
    assert watch.end() == 130
    assert "the same command goes on" in watch.lines[-1]


def test_an_mqtt_broker(desk):
    need("mosquitto", "mosquitto_sub")
    pytest.importorskip("paho.mqtt.client")
    heading = "An MQTT broker"
    desk.start("mosquitto -p 1883", port="1883")
    subscribe = command(heading, "mosquitto_sub")
    reader = desk.start(subscribe.replace("-h 127.0.0.1", "-h 127.0.0.1 -p 1883"))
    told = command(heading, "cmad watch frames part.cmad --out line --mqtt 127")
    watch = desk.start(told, WATCHING)
    desk.put_parts()
    until(lambda: len(reader.lines) == 2)
    assert [json.loads(line)["name"] for line in reader.lines] == NAMES
    assert watch.end() == 130


def test_an_mqtt_broker_with_login_and_tls(desk):
    need("mosquitto", "mosquitto_passwd", "openssl")
    pytest.importorskip("paho.mqtt.client")
    new = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout broker.key -out ca.pem "
    desk.run(f"{new} -subj /CN=broker -addext subjectAltName=IP:127.0.0.1")
    heading = "An MQTT broker"
    desk.run(command(heading, "(umask 077"))
    assert (desk.folder / "password").stat().st_mode & 0o077 == 0
    desk.run('mosquitto_passwd -b -c users line1 "$(cat password)"')
    lines = ["listener 8883 127.0.0.1", "certfile ca.pem", "keyfile broker.key"]
    lines += ["password_file users", "allow_anonymous false"]
    lines += ["user root"] if os.getuid() == 0 else []
    (desk.folder / "broker.conf").write_text(desk.local("\n".join(lines) + "\n"))
    desk.start("mosquitto -c broker.conf", port="8883")
    told = command(heading, "cmad watch frames part.cmad --out line --mqtt mqtts://")
    watch = desk.start(told.replace("broker.example", "127.0.0.1"), WATCHING)
    desk.put_parts()
    until(lambda: watch.says("again/hole/000"))
    assert watch.end() == 130
    assert not any(line.startswith(("note: mqtt", "warning")) for line in watch.lines), watch.lines
    last = json.loads((desk.folder / "line" / "scores.jsonl").read_text().splitlines()[-1])
    assert json.loads((desk.folder / "line/outbox/mqtt.json").read_text())["id"] == last["id"]


def test_a_plc_by_opc_ua_with_a_certificate(desk):
    need("openssl")
    pytest.importorskip("asyncua")
    heading = "A PLC, by OPC UA"
    desk.run(command(heading, "openssl req"))
    told = command(heading, "cmad watch frames part.cmad --out line --opcua 0.0.0.0:4840 --")
    watch = desk.start(told.replace("0.0.0.0", "127.0.0.1"), WATCHING)
    [read] = re.findall(r"^uals .*--security.*", section(heading), re.M)
    seen = desk.run(read)
    assert re.search(r"2:Rejected +, True", seen)
    assert watch.end() == 130


def test_serve_over_http_and_for_other_machines(desk):
    need("curl")
    pytest.importorskip("fastapi", reason="fastapi, of the extra serve, is not installed")
    pytest.importorskip("uvicorn", reason="uvicorn, of the extra serve, is not installed")
    heading = "Serve over HTTP"
    [plain, open_] = re.findall(r"^cmad serve part\.cmad.*", section(heading), re.M)
    [score, health] = re.findall(r"^curl .*", section(heading), re.M)
    here = desk.start(f"{plain} --port 8000", "serving part on")
    assert json.loads(desk.run(score))["verdict"] in ("accepted", "rejected")
    assert here.end() == 130
    desk.run(command(heading, "(umask 077"))
    assert (desk.folder / "key").stat().st_mode & 0o077 == 0
    # Not on all addresses, as the page has it, lest others' machines reach a test.
    there = desk.start(f"{open_} --port 8000".replace("0.0.0.0", "127.0.0.1"), "serving part on")
    assert json.loads(desk.run(health))["status"] == "ok"
    without = re.sub(r'-H "[^"]*"', "", health)
    assert "this server needs a key" in desk.run(without)
    assert there.end() == 130
    assert not any(line.startswith("warning") for line in there.lines)
