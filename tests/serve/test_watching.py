"""A watched folder: what comes is scored once, whatever the folder, the files and the disk do."""

import csv
import os
import resource
import shutil
import time

import numpy as np
import pytest
import tifffile
from PIL import Image

from cmad.serve import arrivals, watching
from cmad.serve.arrivals import Arrivals
from cmad.serve.extras import need


def test_parts_are_scored_as_they_come(station):
    station.put("a", 50)
    with station.running():
        station.until(lambda: station.names() == ["a"])
        station.put("b", 150)
        station.until(lambda: station.names() == ["a", "b"])
        station.put("batch 2/Gehäuse 07 é", 60)  # below a folder that was not there
        station.until(lambda: len(station.names()) == 3)
    assert [line["verdict"] for line in station.lines()] == ["accepted", "rejected", "accepted"]
    assert station.names()[2] == "batch 2/Gehäuse 07 é"
    with (station.out / "scores.csv").open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == station.names()
    for line in station.lines():
        assert tifffile.imread(station.out / line["map"]).shape == (24, 32)


def test_a_second_run_scores_nothing_twice_and_goes_on(station):
    station.put("a")
    assert station.once() == []
    before = station.lines()
    station.put("b", seed=1)
    station.once()
    assert station.lines()[:1] == before
    assert station.names() == ["a", "b"]
    station.once()
    assert station.names() == ["a", "b"]


def test_a_half_written_file_never_gets_a_verdict(station):
    station.put("a", 50)
    whole = {p: p.read_bytes() for p in station.frames.rglob("a.*")}
    for path in whole:
        path.unlink()
    for path, data in whole.items():
        path.write_bytes(data[: len(data) // 2])
    with station.running(patience=30, settle=0.02):
        for path, data in whole.items():
            for end in np.linspace(len(data) // 2, len(data) - 1, 10).astype(int):
                path.write_bytes(data[:end])
                time.sleep(0.02)
        time.sleep(0.3)  # both cut by one byte, and settled
        assert station.lines() == []
        for path, data in whole.items():
            path.write_bytes(data)
        station.until(lambda: station.names() == ["a"])
    [line] = station.lines()
    assert (line["error"], line["score"]) == (None, 50)


def test_files_that_keep_changing_are_not_looked_into(station, monkeypatch):
    reads = []
    monkeypatch.setattr(watching, "read_sample", lambda *a, **k: reads.append(a) or 1 / 0)
    station.put("a")
    path = station.frames / "rgb" / "a.png"
    with station.running(settle=0.5):
        for i in range(20):
            os.utime(path, ns=(i, i))
            time.sleep(0.05)
        assert reads == []


def test_a_part_that_changes_while_it_is_read_is_read_again(station, monkeypatch):
    read, calls = watching.read_sample, []

    def changed(*args, **kwargs):
        sample = read(*args, **kwargs)
        calls.append(sample)
        if len(calls) == 1:
            station.put("a", 60)
        return sample

    monkeypatch.setattr(watching, "read_sample", changed)
    station.put("a", 50)
    with station.running():
        station.until(lambda: station.lines() != [])
    assert [line["score"] for line in station.lines()] == [60]


def test_a_file_that_stays_unreadable_is_reported_and_scored_when_it_is_mended(station):
    station.put("a")
    path = station.frames / "xyz" / "a.tiff"
    data = path.read_bytes()
    path.write_bytes(data[:1000])
    with station.running(patience=0.3):
        station.until(lambda: len(station.lines()) == 1)
        [line] = station.lines()
        assert "a.tiff: cannot be read" in line["error"]
        assert (line["score"], line["verdict"], line["rejected"]) == (None, None, None)
        path.write_bytes(data)
        station.until(lambda: len(station.lines()) == 2)
    assert station.lines()[1]["name"] == "a"
    assert station.lines()[1]["score"] == 50
    station.once()
    assert len(station.lines()) == 2


def test_an_image_without_points_is_reported_after_a_while_and_scored_when_they_come(station):
    station.put("a")
    points = station.frames / "xyz" / "a.tiff"
    points.rename(station.frames / "a.away")
    station.put("b")
    with station.running(patience=0.5):
        station.until(lambda: station.names() == ["b"])  # which does not wait for it
        station.until(lambda: len(station.lines()) == 2)
        assert station.lines()[1]["name"] == "a"
        assert "rgb/a.png: has no points" in station.lines()[1]["error"]
        assert station.lines()[1]["xyz"] is None
        (station.frames / "a.away").rename(points)
        station.until(lambda: len(station.lines()) == 3)
    assert station.lines()[2]["score"] == 50
    with station.running(patience=0.01):
        time.sleep(0.3)
    assert len(station.lines()) == 3


def test_points_without_an_image_and_two_images_are_told_apart(station):
    for name in ("a", "b"):
        station.put(name)
    (station.frames / "rgb" / "a.png").unlink()
    Image.new("RGB", (32, 24)).save(station.frames / "rgb" / "b.jpg")
    left = station.once()
    faults = {part.coming.name: part.fault for part in left}
    assert "xyz/a.tiff: has no image" in faults["a"]
    assert "b.png: the same part has b.jpg beside it" in faults["b"]
    assert station.lines() == []


def test_a_name_that_comes_again_is_another_part_unless_nothing_in_it_is_new(station):
    station.put("a", 50)
    station.once()
    station.put("a", 50)  # written anew as it was
    station.once()
    assert station.names() == ["a"]
    station.put("a", 150)
    station.once()
    assert station.names() == ["a", "a-2"]
    assert [line["part"] for line in station.lines()] == ["a", "a"]
    assert len({line["id"] for line in station.lines()}) == 2
    assert sorted(p.name for p in (station.out / "maps").iterdir()) == ["a-2.tiff", "a.tiff"]
    station.once()
    assert len(station.lines()) == 2


def test_a_part_that_the_detector_cannot_judge_does_not_hold_up_the_others(station):
    station.put("a", 255)
    station.put("b", 50)
    station.once()
    assert [line["error"] for line in station.lines()] == ["glare: no verdict", None]
    station.once()
    assert len(station.lines()) == 2


def test_a_folder_that_disappears_is_waited_for(station):
    station.put("a")
    away = station.frames.with_name("elsewhere")
    with station.running() as run:
        station.until(lambda: station.names() == ["a"])
        station.frames.rename(away)
        station.until(lambda: any("is not there; waiting for it" in note for note in station.notes))
        time.sleep(0.2)
        assert run.thread.is_alive()
        away.rename(station.frames)
        station.until(lambda: any("is there again" in note for note in station.notes))
        station.put("b")
        station.until(lambda: station.names() == ["a", "b"])
        shutil.rmtree(station.frames)
        station.until(lambda: sum("waiting for it" in note for note in station.notes) == 2)
        station.frames.mkdir()
        station.put("c")
        station.until(lambda: station.names() == ["a", "b", "c"])
    assert len([note for note in station.notes if "waiting" in note]) == 2


def test_a_folder_that_is_not_there_is_an_error_where_it_is_looked_at_once(station):
    station.frames.rmdir()
    with pytest.raises(FileNotFoundError):
        station.once()


def test_a_full_disk_ends_it_and_loses_nothing(station):
    """A limit on the size of files fails as a full disk does: in the middle of a write."""
    for i in range(4):
        station.put(f"part {i}", 50, i)
    station.once()
    size = (station.out / "scores.jsonl").stat().st_size
    for i in range(4, 8):
        station.put(f"part {i}", 50, i)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 900, before[1]))
    try:
        with pytest.raises(OSError, match=r"out") as full:
            station.once()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert full.value.filename
    assert (station.out / "scores.jsonl").read_bytes().endswith(b"\n")
    station.once()
    assert sorted(station.names()) == [f"part {i}" for i in range(8)]


def test_the_clock_of_the_day_going_back_changes_nothing(station, monkeypatch):
    station.put("a")
    station.once()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    station.put("b", 60)
    for kind, ending in (("rgb", "png"), ("xyz", "tiff")):
        os.utime(station.frames / kind / f"b.{ending}", ns=(1, 1))  # long before a
    station.once()
    station.put("a", 70)
    for kind, ending in (("rgb", "png"), ("xyz", "tiff")):
        os.utime(station.frames / kind / f"a.{ending}", ns=(1, 1))
    station.once()
    assert station.names() == ["a", "b", "a-2"]


def test_without_watchdog_the_folder_is_looked_at_all_the_same(station, monkeypatch):
    def missing(module, *rest):
        return need("no_such_module", *rest) if module.startswith("watchdog") else None

    monkeypatch.setattr("cmad.serve.events.need", missing)
    with station.running():
        station.put("a")
        station.until(lambda: station.names() == ["a"])
    [note] = station.notes
    assert "needs watchdog" in note
    assert "pip install 'cmad-vision[line]'; looking every 0.02 s" in note


def test_events_come_before_the_next_look(station):
    pytest.importorskip("watchdog")
    with station.running(poll=3600):
        time.sleep(0.2)
        station.put("a")
        station.until(lambda: station.names() == ["a"])
    assert station.notes == []


def test_parts_are_taken_in_the_order_they_came_in(station):
    now = [0.0]
    seen = Arrivals(station.frames, lambda *_: False, settle=1, clock=lambda: now[0])
    for name in ("c", "a", "b"):
        station.put(name)
        seen.look()
        now[0] += 0.1
    assert seen.settled() == []
    assert seen.due() == pytest.approx(0.7)
    now[0] = 2.0
    assert [part.coming.name for part in seen.settled()] == ["c", "a", "b"]
    [first, *_] = seen.settled()
    seen.later(first, "why", 60)
    assert [part.coming.name for part in seen.settled()] == ["a", "b"]
    now[0] = 3.1
    assert len(seen.settled()) == 3
    for _ in range(9):
        seen.later(first, "why", 60)
    assert first.again == 60  # and not later than that
    assert arrivals.SLOWEST == 60
