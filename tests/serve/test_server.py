"""The server: verdicts over HTTP, and what is refused; by starlette's client and by sockets."""

import base64
import io
import json
import os
import shutil
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import Image

import cmad
from cmad.datasets import MVTec3D, Synthetic
from cmad.serve.hub import LAST, Hub
from cmad.serve.limits import Limits
from cmad.serve.uploads import named

fastapi = pytest.importorskip("fastapi", reason="fastapi, of the extra serve, is not installed")
pytest.importorskip("uvicorn", reason="uvicorn, of the extra serve, is not installed")
testclient = pytest.importorskip("fastapi.testclient", reason="needs httpx")

from cmad.serve import running as served  # noqa: E402
from cmad.serve.app import make  # noqa: E402
from cmad.serve.gate import Gate  # noqa: E402
from cmad.serve.running import scoring  # noqa: E402
from cmad.serve.worker import Worker  # noqa: E402

LIMITS = Limits(bytes=4 << 20, pixels=20_000)


@pytest.fixture(scope="module")
def detector(data):
    detector = cmad.CFM(
        rgb=cmad.extractors.ViT("test_vit", block=1, image_size=64, weights="random"),
        xyz=cmad.extractors.PointMAE(
            groups=32, group_size=8, dim=24, heads=2, depth=1, weights="random"
        ),
        image_size=64,
    )
    detector.fit(MVTec3D(data, "cover", "train"), epochs=2, pixels_per_image=50)
    parts = Synthetic("validation", good=9, size=(72, 96), seed=1)
    detector.calibrate(parts, false_reject_rate=0.2, progress=False)
    return detector


@pytest.fixture(scope="module")
def path(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "Gehäuse 1.cmad"
    detector.save(path)
    return path


@pytest.fixture
def part(data):
    """The bytes of the files of a part."""
    folder = data / "cover" / "test" / "good"
    return (folder / "rgb" / "000.png").read_bytes(), (folder / "xyz" / "000.tiff").read_bytes()


def form(part, names=("a.png", "a.tiff")):
    return {"image": (names[0], part[0]), "points": (names[1], part[1])}


def built(*paths, room=4, drift=None):
    names = [path.stem for path in paths]
    hub = Hub(names)
    return [Worker(path, "cpu", room, drift, hub) for path in paths], hub


@pytest.fixture
def client(path):
    workers, hub = built(path)
    app = make(workers, hub, LIMITS, lambda: False)
    with testclient.TestClient(app) as client:
        client.workers, client.hub = workers, hub
        yield client


@contextmanager
def running(workers, hub, limits=LIMITS, **options):
    """A real server in a thread."""
    server = scoring(workers, hub, limits, **options)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        ready = threading.Event()
        thread = threading.Thread(target=server.run_on, args=(listening, ready.set))
        thread.start()
        assert ready.wait(20)
        port = listening.getsockname()[1]
        try:
            yield SimpleNamespace(server=server, port=port, thread=thread)
        finally:
            server.should_exit = True
            thread.join(20)
        assert not thread.is_alive()


def test_connections_that_stall_in_their_headers_are_closed(path, monkeypatch):
    monkeypatch.setattr(served.Impatient, "seconds", 0.5)
    get = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    with running(*built(path)) as one, ExitStack() as open_:
        stalled = [
            open_.enter_context(socket.create_connection(("127.0.0.1", one.port), 10))
            for _ in range(3)
        ]
        stalled[1].sendall(get)
        stalled[2].sendall(get + b"\r\n")  # answered, and then the next request stalls
        assert b" 200 " in stalled[2].recv(1 << 16).splitlines()[0]
        stalled[2].sendall(get)
        for connection in stalled:
            while connection.recv(1 << 16):  # until it is closed; otherwise this times out
                pass
        assert b" 200 " in asked(one.port, get + b"Connection: close\r\n\r\n").splitlines()[0]


def asked(port, request, seconds=20.0):
    """Send bytes; return all that is answered."""
    with socket.create_connection(("127.0.0.1", port), seconds) as to:
        to.sendall(request)
        found = b""
        while more := to.recv(1 << 16):
            found += more
    return found


def posted(part, extra=b""):
    """Return a request to /score as bytes."""
    lines = []
    for field, name, data in (("image", "a.png", part[0]), ("points", "a.tiff", part[1])):
        head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"'
        lines.append(f"--B\r\n{head}\r\n\r\n".encode() + data + b"\r\n")
    body = b"".join(lines) + b"--B--\r\n"
    head = (
        "POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + extra + body


def test_a_part_is_judged_as_by_predict(client, detector, part, data):
    answer = client.post("/score", files=form(part), data={"name": "Teil é"})
    assert answer.status_code == 200, answer.text
    line = answer.json()
    names = [s.name for s in MVTec3D(data, "cover", "test")]
    sample = MVTec3D(data, "cover", "test")[names.index("test/good/000")]
    want = detector.predict(sample.rgb, sample.xyz)
    assert (line["score"], line["verdict"], line["p_value"]) == (
        want.score,
        want.verdict,
        want.p_value,
    )
    assert (line["name"], line["rgb"], line["xyz"]) == ("Teil é", "a.png", "a.tiff")
    assert line["model"].startswith("Gehäuse 1 ")
    assert (line["map"], line["overlay"], line["error"]) == (None, None, None)
    assert client.post("/score", files=form(part)).json()["name"] == "a"


def test_lines_have_the_fields_of_scores_jsonl(client, part):
    from dataclasses import fields

    from cmad.serve.results import Result

    line = client.post("/score", files=form(part)).json()
    assert list(line) == [*(f.name for f in fields(Result)), "model", "drift", "number"]


@pytest.mark.parametrize("kind", ["tiff", "png"])
def test_the_map_is_sent_on_request(client, detector, part, kind):
    line = client.post("/score", files=form(part), data={"map": kind}).json()
    field = {"tiff": "map", "png": "overlay"}[kind]
    head, _, data = line[field].partition(",")
    assert head == f"data:image/{kind};base64"
    file = io.BytesIO(base64.b64decode(data))
    if kind == "tiff":
        assert tifffile.imread(file).shape == (72, 96)
    else:
        assert Image.open(file).size[0] == 96
    assert line[{"tiff": "overlay", "png": "map"}[kind]] is None


def test_a_depth_image_is_taken_with_the_cameras_numbers(client, detector, part):
    xyz = tifffile.imread(io.BytesIO(part[1]))
    file = io.BytesIO()
    depth = np.round(xyz[..., 2] * 1000).astype(np.uint16)
    Image.fromarray(depth).save(file, "PNG")
    files = form((part[0], file.getvalue()), ("a.png", "depth.png"))
    answer = client.post("/score", files=files, data={"intrinsics": "280,280,48,36"})
    points = cmad.xyz_from_depth(depth, (280, 280, 48, 36), unit="mm")
    rgb = np.asarray(Image.open(io.BytesIO(part[0])))
    assert answer.json()["score"] == detector.predict(rgb, points).score
    answer = client.post("/score", files=files)
    assert answer.status_code == 422
    assert "depth.png is a depth image, which needs intrinsics" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["ply", "pcd", "npz"])
def test_points_come_in_every_form(client, part, kind):
    xyz = tifffile.imread(io.BytesIO(part[1])).astype("<f4")
    want = client.post("/score", files=form(part)).json()["score"]
    if kind == "npz":
        file = io.BytesIO()
        np.savez(file, xyz=xyz)
        data = file.getvalue()
    elif kind == "ply":
        head = "ply\nformat binary_little_endian 1.0\nelement vertex 6912\n"
        head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
        data = head.encode() + xyz.tobytes()
    else:
        head = "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 96\nHEIGHT 72\n"
        data = f"{head}POINTS 6912\nDATA binary\n".encode() + xyz.tobytes()
    files = form((part[0], data), ("a.png", f"a.{kind}"))
    assert client.post("/score", files=files).json()["score"] == want


def bomb():
    file = io.BytesIO()
    zeros = np.zeros((3000, 3000, 3), np.float32)
    tifffile.imwrite(file, zeros, photometric="rgb", compression="zlib")
    return file.getvalue()


def grey():
    file = io.BytesIO()
    Image.new("L", (96, 72)).save(file, "PNG")
    return file.getvalue()


WRONG = {
    "a zip bomb": (("a.png", None), ("a.tiff", bomb), 413, "a.tiff: holds 9000000 pixels"),
    "cut short": (("a.png", None), ("a.tiff", lambda: b"cut"), 422, "a.tiff: cannot be read: "),
    "cut image": (("cut.png", "cut"), ("a.tiff", None), 422, "cut.png: cannot be read: "),
    "empty": (("a.png", None), ("a.tiff", lambda: b""), 422, "a.tiff: is empty"),
    "a type": (("a.gif", None), ("a.tiff", None), 415, "image must be one of .png, "),
    "no type": (("a.png", None), ("points", None), 415, "points must be one of .tif, "),
    "grey": (("a.png", grey), ("a.tiff", None), 422, "a.png: rgb must be an 8-bit RGB image"),
    "a path": (("../../a.png", "cut"), ("C:\\b\\a.tiff", None), 422, "a.png: cannot be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_files_that_are_wrong_are_refused_in_the_words_of_the_command_line(client, part, case):
    *files, code, words = WRONG[case]
    sent = []
    for (_, what), data in zip(files, part, strict=True):
        sent.append(data if what is None else data[: len(data) // 2] if what == "cut" else what())
    answer = client.post("/score", files=form(sent, [name for name, _ in files]))
    assert (answer.status_code, answer.json()["detail"][: len(words)]) == (code, words)
    assert "/tmp" not in answer.text
    assert "cmad-serve-" not in answer.text
    [last] = client.hub.since(0)  # no verdict of the part before stays on the page
    assert last["verdict"] == "not scored"
    assert client.post("/score", files=form(part)).status_code == 200


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"model": "other"}, 404, "model must be one of Gehäuse 1, got 'other'"),
        ({"intrinsics": "1,2"}, 422, "intrinsics must be FX,FY,CX,CY"),
        ({"unit": "inch"}, 422, "unit: Input should be 'm' or 'mm'"),
        ({"map": "jpg"}, 422, "map: Input should be 'tiff' or 'png'"),
        ({"depth_scale": "nan"}, 422, "depth_scale: "),
        ({"depth_scale": "2"}, 422, "depth_scale is for depth images"),
        ({"name": "x" * 501}, 422, "name: "),
    ],
)
def test_fields_that_cannot_be_are_refused(client, part, fields, code, words):
    answer = client.post("/score", files=form(part), data=fields)
    assert (answer.status_code, answer.json()["detail"][: len(words)]) == (code, words)


def test_a_form_that_is_none_and_a_file_that_is_missing(client, part):
    assert client.post("/score", content=b"x").status_code == 422
    answer = client.post("/score", files={"image": ("a.png", part[0])})
    assert answer.json() == {"detail": "points: Field required"}
    headers = {"Content-Type": "multipart/form-data"}
    assert client.post("/score", content=b"x", headers=headers).status_code == 400
    assert client.post("/score", files=form(part), headers={}).status_code == 200


def test_no_path_of_a_request_is_opened_and_nothing_is_left(client, part, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    target = tmp_path / "out" / "x.tiff"
    for name in (str(target), f"..{target}", "x/../../y.tiff", "a\r\nb.tiff", "é" * 300 + ".tiff"):
        answer = client.post("/score", files=form(part, ("a.png", name)))
        assert answer.status_code == 200, (name, answer.text)
        assert "/" not in answer.json()["xyz"]
        assert "\n" not in answer.json()["xyz"]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "secret.tiff").write_bytes(part[1])
    answer = client.post("/score", files=form((part[0], b"none"), ("a.png", "secret.tiff")))
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\parts\\a b.png", "a b.png"),
        ("a\nb\0c", "a b c"),
        (None, ""),
        ("...", ""),
        ("e\u0301", "é"),
        ("x" * 300, "x" * 120),
    ],
)
def test_names_are_words(name, want):
    assert named(name) == want


@pytest.fixture
def slow(monkeypatch):
    """Lets the worker judge only when it may."""
    may, judged = threading.Semaphore(0), Worker._judged

    def waits(self, job):
        assert may.acquire(timeout=30)
        return judged(self, job)

    monkeypatch.setattr(Worker, "_judged", waits)
    return may


def test_a_full_queue_answers_503_and_what_was_accepted_is_answered(path, part, slow):
    workers, hub = built(path, room=2)
    answers = []

    def ask():
        answers.append(asked(run.port, posted(part)))

    with running(workers, hub) as run:
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 20
        while len(answers) < 5:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert all(b"503 Service Unavailable" in answer for answer in answers)
        assert all(b"retry-after: " in answer.lower() for answer in answers)
        run.server.should_exit = True  # what was accepted is answered all the same
        time.sleep(0.3)
        for _ in range(8):
            slow.release()
        for thread in threads:
            thread.join(20)
        run.thread.join(20)
    done = [answer for answer in answers if b"200 OK" in answer]
    assert (len(answers), len(done)) == (8, 3)  # one at work, two waiting
    assert hub.number == 3


def test_uploads_that_are_too_large_are_refused_before_they_are_read(path, part):
    workers, hub = built(path)
    with running(workers, hub) as run:
        head = "POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; "
        head += "boundary=B\r\nConnection: close\r\n"
        begin = time.monotonic()
        answer = asked(run.port, f"{head}Content-Length: {2 << 30}\r\n\r\n--B".encode())
        assert b"413 " in answer.splitlines()[0]
        assert b"larger than the 4 MB taken here" in answer
        assert time.monotonic() - begin < 5
        # Of a length that is not told, as much is read as is taken.
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        start = b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        body = b"%x\r\n" % len(start) + start + b"\r\n" + chunk * 100 + b"0\r\n\r\n"
        try:
            answer = asked(run.port, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + body)
        except ConnectionError:  # it answered, and closed while more was sent
            answer = b"413 "
        assert b"413 " in answer
        assert b"200 OK" in asked(run.port, posted(part))


def test_slow_clients_hold_up_nobody_and_are_let_go(path, part):
    workers, hub = built(path)
    request = posted(part)
    with running(workers, hub, seconds=1.0) as run:
        slow = []
        for _ in range(5):
            to = socket.create_connection(("127.0.0.1", run.port), 20)
            to.sendall(request[: len(request) // 2])
            slow.append(to)
        assert b"200 OK" in asked(run.port, request)
        for to in slow:
            assert b"408 " in to.recv(1 << 16).splitlines()[0]
            to.close()
        assert b"200 OK" in asked(run.port, request)


def test_requests_need_the_key_where_there_is_one(path, part):
    workers, hub = built(path)
    app = Gate(
        make(workers, hub, LIMITS, lambda: False), key="k" * 16, most=1 << 20, at_once=4, seconds=9
    )
    with testclient.TestClient(app) as client:
        for headers in ({}, {"X-API-Key": "k" * 15}, {"Authorization": "Basic !"}):
            for answer in (
                client.get("/", headers=headers),
                client.post("/score", headers=headers),
            ):
                assert answer.status_code == 401
                assert "WWW-Authenticate" in answer.headers
        for headers in ({"X-API-Key": "k" * 16}, {"Authorization": f"Bearer {'k' * 16}"}):
            assert client.get("/health", headers=headers).status_code == 200
        assert client.get("/", auth=("any", "k" * 16)).status_code == 200


def test_pages_of_other_sites_may_not_ask(path):
    workers, hub = built(path)
    names = ("127.0.0.1", "localhost")
    app = Gate(
        make(workers, hub, LIMITS, lambda: False),
        key=None,
        most=1,
        at_once=1,
        seconds=9,
        names=names,
    )
    with testclient.TestClient(app, base_url="http://127.0.0.1:8000") as client:
        assert client.get("/health").status_code == 200
        assert client.get("/health", headers={"Host": "evil.example"}).status_code == 403
        assert client.get("/health", headers={"Origin": "http://evil.example"}).status_code == 403
        assert client.get("/health", headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200


def test_a_model_that_is_replaced_stays_the_one_that_was_loaded(path, part, tmp_path):
    own = shutil.copy(path, tmp_path / "m.cmad")
    workers, hub = built(Path(own))
    with testclient.TestClient(make(workers, hub, LIMITS, lambda: False)) as client:
        before = client.post("/score", files=form(part)).json()
        assert client.get("/health").json()["models"]["m"]["note"] is None
        Path(own).write_bytes(b"another one")
        note = client.get("/health").json()["models"]["m"]["note"]
        assert note.startswith("m.cmad is another file now; this is the model that was loaded")
        after = client.post("/score", files=form(part)).json()
        assert (after["score"], after["model"]) == (before["score"], before["model"])
        Path(own).unlink()
        assert "is not there any more" in client.get("/model").json()["models"][0]["note"]
        assert 'cmad_model_replaced{model="m"} 1' in client.get("/metrics").text


def test_several_models_by_name(path, part, tmp_path):
    other = shutil.copy(path, tmp_path / "b.cmad")
    workers, hub = built(path, Path(other))
    with testclient.TestClient(make(workers, hub, LIMITS, lambda: False)) as client:
        answer = client.post("/score", files=form(part), data={"model": "b"})
        assert answer.json()["model"].startswith("b ")
        assert client.post("/score", files=form(part)).json()["model"].startswith("Gehäuse 1 ")
        found = client.get("/model").json()["models"]
        assert [model["name"] for model in found] == ["Gehäuse 1", "b"]
        [one] = client.get("/model", params={"name": "b"}).json()["models"]
        assert one["modalities"] == ["2d", "3d"]
        assert one["threshold"] == workers[0].detector.threshold
        assert client.get("/model", params={"name": "c"}).status_code == 404
        assert set(client.get("/health").json()["models"]) == {"Gehäuse 1", "b"}


def test_metrics_count_by_model_and_verdict(client, part):
    for _ in range(3):
        client.post("/score", files=form(part))
    client.post("/score", files=form((part[0], b"x")))
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    verdict = client.hub.since(0)[0]["verdict"]
    assert f'cmad_parts_total{{model="Gehäuse 1",verdict="{verdict}"}} 3' in answer.text
    assert 'cmad_parts_total{model="Gehäuse 1",verdict="not scored"} 1' in answer.text
    prometheus = pytest.importorskip("prometheus_client.parser")
    found = {f.name: f for f in prometheus.text_string_to_metric_families(answer.text)}
    assert found["cmad_parts"].type == "counter"
    assert found["cmad_drift_alarmed"].samples[0].value == 0
    assert {s.labels["stream"] for s in found["cmad_drift_stake"].samples} >= {"score", "2d", "3d"}


def test_the_schema_describes_what_is_answered_with_examples(client, part):
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/score", "/model", "/health", "/metrics"}
    line = schema["components"]["schemas"]["Line"]
    answer = client.post("/score", files=form(part)).json()
    assert set(line["required"]) - {"map", "overlay"} <= set(line["example"]) <= set(answer)
    assert set(line["required"]) <= set(answer)
    fields = schema["components"]["schemas"]["Body_score_score_post"]["properties"]
    assert set(fields) >= {"image", "points", "model", "map", "intrinsics"}
    assert fields["intrinsics"]["examples"] == ["600,600,320,240"]


def test_the_page_and_what_it_needs_come_from_here(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "http" not in page.text.replace("http-equiv", "")
    assert client.get("/live.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/live.css").status_code == 200
    assert client.get("/live.py").status_code == 404


def test_events_tell_of_parts_as_they_come_and_end_with_the_server(path, part):
    workers, hub = built(path)
    with running(workers, hub) as run:
        to = socket.create_connection(("127.0.0.1", run.port), 20)
        to.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        file = to.makefile("rb")

        def message():
            for line in file:
                if line.startswith(b"data: "):
                    return json.loads(line[6:])
            return None

        first = message()
        assert (first["parts"], first["models"]) == ([], ["Gehäuse 1"])
        assert first["drift"]["Gehäuse 1"]["moved"] == []
        assert b"200 OK" in asked(run.port, posted(part))
        [told] = message()["parts"]
        assert (told["name"], told["number"]) == ("a", 1)
        run.server.should_exit = True
        begin = time.monotonic()
        assert message() is None
        run.thread.join(20)
        assert time.monotonic() - begin < 10
        to.close()


def test_a_mistake_of_the_worker_does_not_end_it(client, part, monkeypatch):
    calls = []

    def breaks(self, *args, **kwargs):
        calls.append(args)
        raise RuntimeError("out of memory")

    with monkeypatch.context() as broken:
        broken.setattr(type(client.workers[0].detector), "grids", breaks)
        answer = client.post("/score", files=form(part))
        assert (answer.status_code, answer.json()["detail"]) == (500, "out of memory")
    assert len(calls) == 1
    assert client.post("/score", files=form(part)).status_code == 200
    assert client.hub.since(0)[0]["verdict"] == "not scored"


def test_drift_is_kept_in_its_file(path, part, tmp_path):
    state = tmp_path / "m.drift"
    for count in (1, 2):
        workers, hub = built(path, drift=state)
        with testclient.TestClient(make(workers, hub, LIMITS, lambda: False)) as client:
            client.post("/score", files=form(part))
        assert workers[0].drift.monitor.parts == count
    assert os.path.getsize(state) > 0


def line_of(verdict, name="a", error=None):
    known = {"name": name, "score": 1.0, "threshold": 2.0, "p_value": 0.5, "regions": []}
    return {**known, "verdict": verdict, "error": error, "seconds": 0.1}


def test_counts_are_by_shift_also_over_midnight():
    now = [datetime(2026, 3, 1, 21, 59)]
    hub = Hub(["m"], [(6, 0), (14, 0), (22, 0)], now=lambda: now[0])
    hub.add("m", line_of("accepted"))
    for hour, minute in ((22, 0), (23, 59)):
        now[0] = datetime(2026, 3, 1, hour, minute)
        hub.add("m", line_of("rejected"))
    now[0] = datetime(2026, 3, 2, 5, 59)
    hub.add("m", line_of(None))
    hub.add("m", line_of(None, error="cut short"))
    night = {"rejected": 2, "without verdict": 1, "not scored": 1}
    assert hub.shifts() == [
        {"begun": "2026-03-01 22:00", "models": {"m": night}},
        {"begun": "2026-03-01 14:00", "models": {"m": {"accepted": 1}}},
    ]
    for day in range(3, 20):
        now[0] = datetime(2026, 3, day, 7)
        hub.add("m", line_of("accepted"))
    assert len(hub.shifts()) == 3


def test_memory_of_parts_is_bounded():
    hub = Hub(["m", "n"])
    for i in range(3 * LAST):
        hub.add("m", line_of("accepted", f"part {i}"))
    hub.add("n", line_of("rejected"))
    assert len(hub.since(0)) == LAST + 1
    assert [part["number"] for part in hub.since(3 * LAST)] == [3 * LAST + 1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_request_that_the_schema_allows_is_answered_with_an_error_of_the_server(path):
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    workers, hub = built(path)
    with running(workers, hub) as run:
        answered = codes_of(schemathesis, f"http://127.0.0.1:{run.port}")
    assert len(answered) > 50
    assert max(answered) < 500


def codes_of(schemathesis, url):
    from hypothesis import HealthCheck, given, settings

    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    answered = []
    for operation in schema.get_all_operations():

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.ok().as_strategy())
        def ask(case):
            answer = case.call(base_url=url, timeout=30)
            answered.append(answer.status_code)

        ask()
    return answered
