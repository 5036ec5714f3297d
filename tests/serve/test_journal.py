"""scores.jsonl as a journal: torn ends, foreign files, tables made anew, and locks."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from cmad.serve.journal import Journal
from cmad.serve.locks import Lock, of_folder
from cmad.serve.results import Result, Results
from cmad.types import Prediction, Region

REGION = Region((1, 2, 3, 4), 5, 6.5, (0.1, 0.2, 0.3), 7.0, (1, 2), "3d", {"3d": 8.0})


def opened(folder):
    return Journal(folder, maps=True, overlays=True)


def own(name, n=0):
    return {"id": f"{name} {n}", "part": name, "seen": ((n, 2, 3),), "model": "m", "drift": []}


def filled(folder, names="ab"):
    journal = opened(folder)
    for name in names:
        full = Prediction(1.0, np.ones((4, 6), np.float32))
        result = Result(journal.unique(name), regions=(REGION,), warnings=["one", "two"])
        result.take(full, ["one", "two"])
        result.regions = (REGION,)
        journal.add(result, own(name), np.zeros((4, 6, 3), np.uint8), full)
    journal.close()
    return folder


def test_what_is_done_is_known_again(tmp_path):
    journal = opened(filled(tmp_path))
    assert (journal.count, journal.failed, journal.ids) == (2, 0, {"a 0", "b 0"})
    assert journal.marks == {"a": ((0, 2, 3),), "b": ((0, 2, 3),)}
    assert [journal.unique(name) for name in ("a", "B", "c")] == ["a-2", "B-2", "c"]
    journal.close()


@pytest.mark.parametrize("cut", [1, 2, 40, 10**6, "end"])
def test_a_torn_line_is_cut_off(tmp_path, cut):
    path = filled(tmp_path) / "scores.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    cut = len(second) - 1 if cut == "end" else min(cut, len(second) - 2)
    path.write_bytes(first + second[:cut])
    journal = opened(tmp_path)
    assert (journal.count, journal.ids) == (1, {"a 0"})
    journal.close()
    assert path.read_bytes() == first
    with (tmp_path / "scores.csv").open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["a"]
    filled(tmp_path, "b")
    assert path.read_bytes() == first + second


@pytest.mark.parametrize("left", [b"", b'{"na', b'{"name": "a", "rgb"', b"\0" * 4096])
def test_of_a_first_line_that_is_torn_nothing_is_left(tmp_path, left):
    (tmp_path / "scores.jsonl").write_bytes(left)
    journal = opened(tmp_path)
    assert journal.count == 0
    journal.close()
    assert (tmp_path / "scores.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    "text", [b"mine", b"mine\n", b'{"name": "a"}\n', b"[1]\n", b'{"name": "a", "id": 1}\n']
)
def test_another_file_of_that_name_is_left_alone(tmp_path, text):
    (tmp_path / "scores.jsonl").write_bytes(text)
    with pytest.raises(FileExistsError, match="no table of cmad watch, or damaged at byte 0"):
        opened(tmp_path)
    assert (tmp_path / "scores.jsonl").read_bytes() == text


def test_results_of_cmad_score_are_not_added_to(tmp_path):
    with Results(tmp_path, maps=False, overlays=False) as results:
        results.add(Result("a"))
    with pytest.raises(FileExistsError, match="name another folder with --out"):
        opened(tmp_path)


def test_damage_in_the_middle_is_said_and_not_mended(tmp_path):
    path = filled(tmp_path, "abc") / "scores.jsonl"
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second.replace(b'"b"', b'"b') + third)
    with pytest.raises(FileExistsError, match=f"damaged at byte {len(first)}:"):
        opened(tmp_path)
    assert path.read_bytes().endswith(third)


def test_the_table_is_made_anew_from_the_lines(tmp_path):
    table = filled(tmp_path) / "scores.csv"
    whole = table.read_bytes()
    for damaged in (b"", whole[:-30], whole.splitlines(keepends=True)[0]):
        table.write_bytes(damaged)
        opened(tmp_path).close()
        assert table.read_bytes() == whole
    [row, _] = csv.DictReader(whole.decode().splitlines())
    assert (row["regions"], row["largest_area"], row["largest_modality"]) == ("1", "6.5", "3d")
    assert row["warnings"] == "one; two"


def test_lines_are_those_of_cmad_score_and_some_more(tmp_path):
    [line, _] = (filled(tmp_path / "ours") / "scores.jsonl").read_text().splitlines()
    with Results(tmp_path / "its", maps=False, overlays=False) as results:
        results.add(Result("a"))
    its = json.loads((tmp_path / "its" / "scores.jsonl").read_text())
    assert list(json.loads(line)) == [*its, "id", "part", "seen", "model", "drift"]
    assert (tmp_path / "ours" / "scores.csv").read_text().splitlines()[0] == (
        (tmp_path / "its" / "scores.csv").read_text().splitlines()[0]
    )


def test_a_write_that_fails_half_way_leaves_no_part_of_a_line(tmp_path, monkeypatch):
    journal = opened(filled(tmp_path))
    before = journal.path.read_bytes()
    write, calls = os.write, []

    def full(at, data):
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return write(at, data[:10])

    monkeypatch.setattr("cmad.serve.journal.os.write", full)
    with pytest.raises(OSError, match="No space left") as error:
        journal.add(Result("c"), own("c"))
    assert error.value.filename == str(tmp_path)
    assert journal.path.read_bytes() == before
    assert "c 0" not in journal.ids
    journal.close()


LOCKED = """
import sys
from pathlib import Path
from cmad.serve.locks import Lock
lock = Lock(Path(sys.argv[1]), "it", "wait")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_lock_is_of_one_process_and_goes_with_it(tmp_path):
    path = tmp_path / "lock"
    command = [sys.executable, "-c", LOCKED, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(RuntimeError, match=rf"it has another .*\(process {other.pid}\); wait"):
            Lock(path, "it", "wait")
        other.kill()
    Lock(path, "it", "wait").release()
    lock = Lock(path, "it", "wait")
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_folder_is_the_same_by_all_its_names(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "link").symlink_to("frames")
    assert of_folder(tmp_path / "link") == of_folder(tmp_path / "frames" / ".." / "frames")
    assert of_folder(tmp_path) != of_folder(tmp_path / "frames")
    assert of_folder(tmp_path / "frames").parent != tmp_path / "frames"
