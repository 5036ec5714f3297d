"""The live page of `cmad watch`: beside the scoring, and never in its way."""

import json
import socket
import threading
import urllib.error
import urllib.request
from dataclasses import asdict

import pytest

from cmad.serve.hub import LAST, Hub
from cmad.serve.journal import Journal
from cmad.serve.results import Result

pytest.importorskip("fastapi", reason="fastapi, of the extra serve, is not installed")
pytest.importorskip("uvicorn", reason="uvicorn, of the extra serve, is not installed")

from cmad.serve.live import Live, Watched


class Still(Watched):
    """The model of a watched folder, without a detector."""

    def __init__(self):
        self.name, self.drift, self.replaced_, self._watcher = "part", None, None, None

    @property
    def replaced(self):
        return self.replaced_


class Folder:
    """Stands for a watcher."""

    away, arrivals = "", ()


def result(name, score=1.5, error=None):
    verdict = None if error else "rejected" if score > 2 else "accepted"
    return Result(name, score=score, threshold=2.0, verdict=verdict, error=error, seconds=0.1)


@pytest.fixture
def page():
    """A page with its model, notes and address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        model, notes = Still(), []
        live = Live(model, listening, notes.append, shifts=[(6, 0)])
        yield live, model, notes, f"http://127.0.0.1:{listening.getsockname()[1]}"
        live.stop()


def read(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def told(stream):
    """Return the next thing that a live page is told."""
    for text in stream:
        if text.startswith(b"data: "):
            return json.loads(text[6:])
    return None


def test_parts_are_shown_as_they_come_behind_those_of_an_earlier_process(page):
    live, model, notes, url = page
    live.start([result("old")])
    model.follow(Folder())
    with urllib.request.urlopen(f"{url}/events", timeout=20) as stream:
        message = told(stream)
        [old] = message["parts"]
        assert (old["name"], old["time"], old["verdict"]) == ("old", None, "accepted")
        assert (message["models"], message["shifts"]) == (["part"], [])
        live.add(result("new", 3.0))
        message = told(stream)
        [new] = message["parts"]
        assert (new["name"], new["verdict"]) == ("new", "rejected")
        assert new["time"] is not None
        [shift] = message["shifts"]
        assert shift["models"] == {"part": {"rejected": 1}}
        live.stop()  # an open page does not hold it up
        assert told(stream) is None
    with pytest.raises(urllib.error.URLError):
        read(f"{url}/health")
    assert notes == []


def test_health_and_notes_tell_of_the_folder_and_the_model(page):
    live, model, _, url = page
    live.start([])
    folder = Folder()
    model.follow(folder)
    assert json.loads(read(f"{url}/health"))["status"] == "ok"
    folder.away, model.replaced_, folder.arrivals = "frames is not there", "m is gone", [1, 2]
    with pytest.raises(urllib.error.HTTPError, match="503") as caught:
        read(f"{url}/health")
    said = json.loads(caught.value.read())
    caught.value.close()
    note = "frames is not there; m is gone"
    assert said["models"] == {"part": {"working": False, "waiting": 2, "note": note}}


def test_there_is_nothing_to_send_parts_to(page):
    live, _, _, url = page
    live.start([])
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        urllib.request.urlopen(f"{url}/score", data=b"x", timeout=20)
    caught.value.close()
    assert "/score" not in json.loads(read(f"{url}/openapi.json"))["paths"]


def test_a_page_that_dies_says_so_and_takes_parts_all_the_same(page, monkeypatch):
    live, _, notes, _ = page
    died = threading.Event()

    def dies(*_):
        died.set()
        raise RuntimeError("no memory")

    monkeypatch.setattr(live._server, "run_on", dies)
    live.start([])
    assert died.wait(20)
    live._thread.join(20)
    live.add(result("a"))
    assert notes == ["the live page has ended, scoring goes on: no memory"]


def test_the_journal_keeps_the_latest_results_for_the_page(tmp_path):
    journal = Journal(tmp_path, maps=False, overlays=False)
    own = {"part": "p", "seen": (), "model": "m", "drift": []}
    for i in range(LAST + 3):
        journal.add(result(f"{i}", error="cut" if i == LAST + 2 else None), {"id": f"{i}", **own})
    journal.close()
    journal = Journal(tmp_path, maps=False, overlays=False)
    journal.close()
    assert [one.name for one in journal.last] == [f"{i}" for i in range(3, LAST + 3)]
    hub = Hub(["part"])
    hub.recall("part", map(asdict, journal.last))
    assert hub.since(0)[-1]["verdict"] == "not scored"
    assert (hub.counts["part"].verdicts, hub.shifts()) == ({}, [])
