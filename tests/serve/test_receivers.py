"""Verdicts reach who is to have them, also after that one was away."""

import asyncio
import http.server
import json
import math
import os
import shutil
import socket
import subprocess
import threading
import time

import pytest

from cmad.serve.journal import Journal
from cmad.serve.mqtt import Login, Mqtt, address
from cmad.serve.opcua import NAMESPACE, NODES, OpcUa
from cmad.serve.outbox import RefusedError, Sender
from cmad.serve.results import Result
from cmad.serve.webhook import Webhook


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def answers(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def until(holds, seconds=30.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "out", maps=False, overlays=False)
    yield journal
    journal.close()


def add(journal, name, **known):
    own = {"id": f"id of {name}", "part": name, "seen": (), "model": "m.cmad 1", "drift": []}
    result = Result(name, **{"score": 1.5, "threshold": 2.0, "rejected": False, **known})
    journal.add(result, own)


class Listed:
    """A receiver that can be away."""

    name = "listed"

    def __init__(self):
        self.got, self.away, self.refuses, self.tries = [], False, "", 0

    def send(self, line, verdict):
        self.tries += 1
        if self.away:
            raise ConnectionRefusedError("nobody there")
        if verdict["name"] == self.refuses:
            raise RefusedError("no")
        assert json.loads(line) == verdict
        self.got.append(verdict["name"])

    def close(self):
        self.got.append("closed")


def sender(receiver, journal, notes):
    return Sender(receiver, journal.path, notes.append, first=0.01, longest=0.05)


def test_lines_are_sent_as_they_come(journal):
    to, notes = Listed(), []
    sending = sender(to, journal, notes)
    for name in "abc":
        add(journal, name)
        sending.notify()
    until(lambda: to.got == ["a", "b", "c"])
    assert sending.finish(5) == 0
    assert to.got[3:] == ["closed"]
    assert notes == []


def test_a_receiver_that_is_away_gets_all_when_it_is_back(journal):
    to, notes = Listed(), []
    to.away = True
    sending = sender(to, journal, notes)
    for name in "abc":
        add(journal, name)
        sending.notify()
    until(lambda: to.tries > 3)
    to.away = False
    until(lambda: to.got == ["a", "b", "c"])
    until(lambda: len(notes) == 2)
    sending.finish(5)
    assert notes == ["listed is away, verdicts wait for it: nobody there", "listed is back"]


def test_what_is_not_sent_is_sent_by_the_next_process(journal):
    to, notes = Listed(), []
    add(journal, "before it was named")
    sending = sender(to, journal, notes)
    add(journal, "a")
    until(lambda: to.got == ["a"])
    to.away = True
    add(journal, "b")
    add(journal, "c")
    assert sending.finish(0.2) == 2
    to.away = False
    sending = sender(to, journal, notes)
    until(lambda: to.got[-2:] == ["b", "c"])
    assert sending.finish(5) == 0
    assert to.got == ["a", "closed", "b", "c", "closed"]


def test_each_receiver_has_its_own_pace(journal):
    here, away, notes = Listed(), Listed(), []
    away.name, away.away = "away", True
    both = [sender(here, journal, notes), sender(away, journal, notes)]
    add(journal, "a")
    until(lambda: here.got == ["a"])
    assert [one.finish(0.1) for one in both] == [0, 1]


def test_a_verdict_that_is_refused_does_not_hold_up_the_next(journal):
    to, notes = Listed(), []
    to.refuses = "a"
    sending = sender(to, journal, notes)
    add(journal, "a")
    add(journal, "b")
    until(lambda: to.got == ["b"])
    sending.finish(5)
    assert notes == ["listed refuses the verdict on a: no"]


def test_a_position_of_another_journal_does_not_count(journal, tmp_path):
    to, notes = Listed(), []
    sending = sender(to, journal, notes)
    add(journal, "a")
    until(lambda: to.got == ["a"])
    sending.finish(5)
    journal.path.write_text(journal.path.read_text().replace("id of a", "id of b"))
    sending = sender(to, journal, notes)
    until(lambda: to.got == ["a", "closed", "a"])
    assert sending.finish(5) == 0
    assert notes == []


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        code = self.server.answers.pop(0) if self.server.answers else 204
        if code < 300:
            self.server.got.append((json.loads(body), self.headers["Idempotency-Key"]))
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def do_GET(self):  # where a redirection would lead
        self.server.got.append(({"name": "redirected"}, ""))

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    """Starts a web server on a port, again and again."""
    running = []

    def start(port, answers=()):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Hook)
        server.got, server.answers = [], list(answers)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        running.append((server, thread))
        return server

    def stop():
        while running:
            server, thread = running.pop()
            server.shutdown()
            server.server_close()
            thread.join()

    yield start, stop
    stop()


def test_a_webhook_gets_verdicts_also_after_it_was_away(journal, web):
    start, stop = web
    port, notes = free_port(), []
    server = start(port)
    sending = sender(Webhook(f"http://127.0.0.1:{port}/verdict"), journal, notes)
    add(journal, "Teil é")
    until(lambda: len(server.got) == 1)
    [(verdict, key)] = server.got
    assert verdict == json.loads(journal.path.read_text())
    assert key == verdict["id"] == "id of Teil é"
    stop()
    add(journal, "b")
    add(journal, "c")
    until(lambda: len(notes) == 1)
    assert "refused" in notes[0]
    server = start(port)
    until(lambda: [v["name"] for v, _ in server.got] == ["b", "c"])
    assert sending.finish(5) == 0


def test_a_webhook_that_answers_with_an_error_is_asked_again(journal, web):
    start, _ = web
    port, notes = free_port(), []
    server = start(port, [503, 404, 302, 429, 422])
    sending = sender(Webhook(f"http://127.0.0.1:{port}/"), journal, notes)
    add(journal, "a")
    add(journal, "b")
    until(lambda: [v["name"] for v, _ in server.got] == ["b"])
    sending.finish(5)
    assert notes[0] == ("webhook is away, verdicts wait for it: it answers 503 Service Unavailable")
    assert "refuses the verdict on a: it answers 422" in notes[1]


@pytest.mark.parametrize("url", ["localhost:9000", "ftp://a/b", "http://", "file:///etc/passwd"])
def test_a_webhook_is_a_url_of_the_web(url):
    with pytest.raises(ValueError, match="--webhook must be a URL"):
        Webhook(url)


@pytest.mark.parametrize(
    ("text", "options", "want"),
    [
        ("broker", {"port": 1883}, ("broker", 1883)),
        ("broker:99", {"port": 1883}, ("broker", 99)),
        ("[::1]:99", {"port": 1883}, ("::1", 99)),
        ("4840", {"host": "127.0.0.1"}, ("127.0.0.1", 4840)),
        ("0.0.0.0:4840", {"host": "127.0.0.1"}, ("0.0.0.0", 4840)),
    ],
)
def test_addresses_are_read(text, options, want):
    assert address(text, "--x", **options) == want


@pytest.mark.parametrize("text", ["", ":99", "a:", "a:b", "a:0", "a:70000"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="--x must be HOST or HOST:PORT"):
        address(text, "--x", 1883)


@pytest.fixture
def broker(tmp_path):
    """Starts mosquitto on a port; it keeps what it has for subscribers from run to run."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if not found:
        pytest.skip("mosquitto, a broker of MQTT, is not installed")
    pytest.importorskip("paho.mqtt.client")
    running = []

    def start(port, *more):
        kept = tmp_path / "mosquitto"
        kept.mkdir(exist_ok=True)
        settings = tmp_path / "mosquitto.conf"
        lines = [f"listener {port} 127.0.0.1", *(more or ("allow_anonymous true",))]
        lines += ["persistence true", f"persistence_location {kept}/"]
        lines += ["user root"] if os.getuid() == 0 else []
        settings.write_text("".join(f"{line}\n" for line in lines))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        running.append(subprocess.Popen([found, "-c", settings], **quiet))
        until(lambda: answers(port))

    def stop():
        while running:
            process = running.pop()
            process.terminate()  # it then writes what it has
            process.wait(20)

    yield start, stop
    stop()


def subscribed(port, topic, login=None, ca=None):
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    got, ready = [], threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, client_id="reader", clean_session=False)
    client.on_message = lambda _, __, message: got.append((message.qos, message.payload))
    client.on_subscribe = lambda *_: ready.set()
    if login is not None:
        client.username_pw_set(*login)
    if ca is not None:
        client.tls_set(str(ca))
    client.connect("127.0.0.1", port)
    client.subscribe(topic, qos=1)
    client.loop_start()
    assert ready.wait(10)
    return client, got


def test_a_broker_gets_verdicts_also_after_it_was_away(journal, broker):
    start, stop = broker
    port, notes = free_port(), []
    start(port)
    client, got = subscribed(port, "line 1/verdict")
    sending = sender(Mqtt(f"127.0.0.1:{port}", "line 1/verdict"), journal, notes)
    add(journal, "Teil é")
    until(lambda: len(got) == 1)
    assert got[0][0] == 1
    assert json.loads(got[0][1]) == json.loads(journal.path.read_text())
    client.loop_stop()
    stop()
    add(journal, "b")
    add(journal, "c")
    until(lambda: len(notes) == 1)
    start(port)
    client.disconnect()
    client, got = subscribed(port, "line 1/#")
    until(lambda: [json.loads(data)["name"] for _, data in got][-2:] == ["b", "c"])
    assert sending.finish(10) == 0
    assert notes[0].startswith(f"mqtt is away, verdicts wait for it: 127.0.0.1:{port}")
    client.disconnect()
    client.loop_stop()


@pytest.mark.parametrize("topic", ["", "a/#", "+/b"])
def test_a_topic_is_one(topic):
    with pytest.raises(ValueError, match="--mqtt-topic must be a topic"):
        Mqtt("broker", topic)


@pytest.fixture
def certificates(tmp_path):
    """Makes a key with a certificate that vouches for itself; returns their files."""
    found = shutil.which("openssl")
    if not found:
        pytest.skip("openssl, which makes certificates, is not installed")

    def make(name, *names):
        key, own = tmp_path / f"{name}-key.pem", tmp_path / f"{name}.pem"
        new = [found, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        new += ["-keyout", key, "-out", own, "-subj", f"/CN={name}"]
        new += ["-addext", f"subjectAltName={','.join(names)}"]
        subprocess.run(new, check=True, capture_output=True)
        return own, key

    return make


@pytest.fixture
def users(tmp_path):
    """A password file of mosquitto, of one user; returns lines for its settings."""
    found = shutil.which("mosquitto_passwd")
    if not found:
        pytest.skip("mosquitto_passwd is not installed")
    path = tmp_path / "users"
    make = [found, "-b", "-c", path, "line1", "säcret 1"]
    subprocess.run(make, check=True, capture_output=True)
    return "allow_anonymous false", f"password_file {path}"


def test_a_broker_lets_in_who_has_the_password_and_others_wait(journal, broker, users):
    start, _ = broker
    port, notes, password = free_port(), [], ["wrong"]
    start(port, *users)
    client, got = subscribed(port, "cmad/verdict", ("line1", "säcret 1"))
    sending = sender(
        Mqtt(f"127.0.0.1:{port}", "cmad/verdict", Login("line1", lambda: password[0])),
        journal,
        notes,
    )
    begin = time.monotonic()
    add(journal, "a")
    add(journal, "b")  # written all the same
    until(lambda: len(notes) == 1)
    assert notes == [
        f"mqtt is away, verdicts wait for it: 127.0.0.1:{port} does not let 'line1' in (Not "
        "authorized): wrong user or password"
    ]
    assert time.monotonic() - begin < 5
    password[0] = "säcret 1"  # it is mended while cmad runs
    until(lambda: len(got) == 2)
    assert [json.loads(data)["name"] for _, data in got] == ["a", "b"]
    assert sending.finish(10) == 0
    assert notes[1:] == ["mqtt is back"]
    client.disconnect()
    client.loop_stop()


def test_a_broker_that_wants_a_login_says_so(journal, broker, users):
    start, _ = broker
    port = free_port()
    start(port, *users)
    with pytest.raises(OSError, match=r"wants a login \(Not authorized\): --mqtt-user"):
        Mqtt(f"127.0.0.1:{port}", "t").send(b"{}", {})


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_gets_verdicts_by_tls(journal, broker, users, certificates):
    start, stop = broker
    own, key = certificates("broker", "IP:127.0.0.1")
    other, _ = certificates("other", "IP:127.0.0.1")
    wrong_name, its_key = certificates("elsewhere", "DNS:elsewhere")
    port, notes = free_port(), []
    place, login = f"127.0.0.1:{port}", Login("line1", lambda: "säcret 1")
    start(port, *users, f"certfile {own}", f"keyfile {key}")
    client, got = subscribed(port, "cmad/verdict", ("line1", "säcret 1"), own)
    to = Mqtt(f"mqtts://{place}", "cmad/verdict", login, ca=own)
    sending = sender(to, journal, notes)
    add(journal, "Teil é")
    until(lambda: len(got) == 1)
    assert json.loads(got[0][1])["name"] == "Teil é"
    assert sending.finish(10) == 0
    assert notes == []
    client.disconnect()
    client.loop_stop()
    refused = {
        r"certificate does not hold \(self.signed certificate\); --mqtt-ca": {"tls": True},
        r"certificate does not hold \(.*\); --mqtt-ca names who vouches": {
            "tls": True,
            "ca": other,
        },
        r"closed the connection; does it want --mqtt-tls": {},
    }
    for words, options in refused.items():
        with pytest.raises(OSError, match=words):
            Mqtt(place, "cmad/verdict", login, **options).send(b"{}", {})
    stop()
    start(port, *users, f"certfile {wrong_name}", f"keyfile {its_key}")
    with pytest.raises(OSError, match=r"certificate does not hold \(ip address mismatch"):
        Mqtt(place, "cmad/verdict", login, tls=True, ca=wrong_name).send(b"{}", {})
    stop()
    start(port)
    with pytest.raises(OSError, match=r"no TLS \(|does it speak TLS\?"):
        Mqtt(place, "cmad/verdict", tls=True).send(b"{}", {})


@pytest.mark.parametrize(
    ("broker", "tls", "want"),
    [
        ("a", False, ("a", 1883, False)),
        ("a", True, ("a", 8883, True)),
        ("mqtts://a", False, ("a", 8883, True)),
        ("mqtts://a:1", False, ("a", 1, True)),
        ("mqtt://a", False, ("a", 1883, False)),
        ("mqtts://[::1]/", False, ("::1", 8883, True)),
    ],
)
def test_a_broker_is_named_in_several_ways(broker, tls, want):
    pytest.importorskip("paho.mqtt.client")
    to = Mqtt(broker, "t", tls=tls)
    assert (to._host, to._port, to._trust is not None) == want
    assert not to.in_clear
    assert Mqtt(broker, "t", Login("u", lambda: None), tls=tls).in_clear == (not want[2])


def read(port, then=None, user=None, secure=None):
    """Read all nodes with asyncua's client."""
    from asyncua import Client

    async def all_nodes():
        client = Client(f"opc.tcp://127.0.0.1:{port}/cmad")
        if secure is not None:
            own, key = secure
            client.application_uri = "urn:client"
            await client.set_security_string(f"Basic256Sha256,SignAndEncrypt,{own},{key}")
        if user is not None:
            client.set_user(user)
        async with client:
            space = await client.get_namespace_index(NAMESPACE)
            folder = await client.nodes.objects.get_child(f"{space}:cmad")
            nodes = {name: await folder.get_child(f"{space}:{name}") for name in NODES}
            if then is not None:
                await then(nodes)
            return {name: await node.read_value() for name, node in nodes.items()}

    return asyncio.run(all_nodes())


REGIONS = [
    {"area": area, "pixels": 4, "box": (0, 0, 2, 2), "centroid": None, "peak": 1.0}
    for area in (2.5, None, 7.5)
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_client_of_opc_ua_reads_the_latest_verdict(journal):
    asyncua = pytest.importorskip("asyncua")
    port, notes = free_port(), []
    server = OpcUa(str(port), "m.cmad 1")
    sending = sender(server, journal, notes)
    try:
        first = read(port)
        assert (first["Rejected"], first["Parts"], first["Model"]) == (True, 0, "m.cmad 1")
        assert math.isnan(first["Score"])
        add(journal, "Teil é", verdict="accepted", p_value=0.25)
        until(lambda: sending.sent == 1)
        got = read(port)
        assert (got["Name"], got["Verdict"], got["Score"]) == ("Teil é", "accepted", 1.5)
        assert (got["PValue"], got["Rejected"], got["Parts"]) == (0.25, False, 1)
        add(journal, "b", rejected=True, verdict="rejected", score=3.0)
        add(journal, "c", error="cannot be read", score=None, rejected=None)
        until(lambda: sending.sent == 3)
        got = read(port)
        assert (got["Verdict"], got["Rejected"], got["Parts"]) == ("not scored", True, 3)
        assert math.isnan(got["Score"])
        beat = got["Heartbeat"]
        until(lambda: read(port)["Heartbeat"] > beat)

        async def write(nodes):
            with pytest.raises(asyncua.ua.UaStatusCodeError, match=r"(?i)denied|writ"):
                await nodes["Rejected"].write_value(False)

        for user in (None, "admin"):  # asyncua lets an admin write, who needs no password
            assert read(port, write, user)["Rejected"] is True
        with pytest.raises(OSError, match=f"--opcua {port}: "):
            OpcUa(str(port), "m")
    finally:
        sending.finish(5)
    OpcUa(str(port), "m").close()  # the port is free again
    assert notes == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_with_a_certificate_only_encrypted_clients_of_opc_ua_are_let_in(
    journal, certificates, monkeypatch
):
    asyncua = pytest.importorskip("asyncua")
    own, key = certificates("server", "URI:urn:cmad:line1", "IP:127.0.0.1")
    plc = certificates("plc", "URI:urn:client")
    port, notes = free_port(), []
    server = OpcUa(str(port), "m.cmad 1", (own, key))
    sending = sender(server, journal, notes)
    try:
        add(journal, "Teil é", verdict="accepted")
        until(lambda: sending.sent == 1)
        got = read(port, secure=plc)
        assert (got["Name"], got["Verdict"], got["Rejected"]) == ("Teil é", "accepted", False)
        with pytest.raises(asyncua.ua.UaError, match="No matching endpoints"):
            read(port)

        def anonymous(endpoints, *_):
            [endpoint] = endpoints
            assert endpoint.SecurityMode == asyncua.ua.MessageSecurityMode.SignAndEncrypt
            return endpoint

        # A client that asks without encryption whatever the server offers.
        monkeypatch.setattr(asyncua.Client, "find_endpoint", staticmethod(anonymous))
        with pytest.raises(asyncua.ua.uaerrors.BadUserAccessDenied):
            read(port)
    finally:
        sending.finish(5)
    assert notes == []


def test_a_certificate_of_opc_ua_and_its_key_belong_together(certificates, tmp_path):
    pytest.importorskip("asyncua")
    (own, key), (_, other) = certificates("server", "URI:urn:a"), certificates("b", "URI:urn:b")
    for pair, words in (
        ((own, other), "is not the key of --opcua-cert"),
        ((key, key), "server-key.pem is not a certificate, PEM or DER"),
        ((own, own), "server.pem is not a key without a password, PEM or DER"),
    ):
        with pytest.raises(ValueError, match=words):
            OpcUa(str(free_port()), "m", pair)
    with pytest.raises(FileNotFoundError, match="none"):
        OpcUa(str(free_port()), "m", (tmp_path / "none", key))
