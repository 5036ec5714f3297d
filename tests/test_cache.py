"""The cache: what goes in comes out, what is not whole is not there, and no failure stops work."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch

from cmad import cache as module
from cmad.cache import Cache, digest

KEY = digest("a key")


def tensors(seed=0):
    g = torch.Generator().manual_seed(seed)
    return {
        "float": torch.rand(5, 3, generator=g),
        "half": torch.rand(7, generator=g).to(torch.bfloat16),
        "long": torch.randint(99, (4,), generator=g),
        "bool": torch.rand(3, 3, generator=g) > 0.5,
        "bytes": torch.randint(255, (2, 5), dtype=torch.uint8, generator=g),
        "none": torch.zeros(0, 4),
        "one": torch.tensor(0.5, dtype=torch.float64),
    }


def same(got, want):
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor)
    return True


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def file_of(cache):
    (path,) = cache.folder.iterdir()
    return path


def test_tensors_come_back_as_they_went_in(cache):
    assert cache.get("part", KEY) is None
    cache.put("part", KEY, tensors())
    assert same(cache.get("part", KEY), tensors())
    assert same(Cache(cache.folder).get("part", KEY), tensors())
    assert cache.get("other", KEY) is None
    assert cache.get("part", digest("another")) is None


def test_any_layout_is_stored_and_nothing_is_changed(cache):
    whole = torch.arange(12.0).view(3, 4)
    given = {"turned": whole.T, "shared": whole[1:], "grad": whole.clone().requires_grad_()}
    cache.put("part", KEY, given)
    assert same(cache.get("part", KEY), {k: v.detach() for k, v in given.items()})
    cache.get("part", KEY)["turned"].zero_()
    assert same(cache.get("part", KEY), {k: v.detach() for k, v in given.items()})


def test_a_second_entry_replaces_the_first(cache):
    cache.put("part", KEY, tensors(0))
    cache.put("part", KEY, tensors(1))
    assert same(cache.get("part", KEY), tensors(1))
    assert len(list(cache.folder.iterdir())) == 1


def test_a_flipped_bit_anywhere_is_noticed(cache):
    cache.put("part", KEY, {"a": torch.arange(6.0).view(2, 3), "b": torch.arange(6)})
    path = file_of(cache)
    whole = path.read_bytes()
    for at in range(len(whole)):
        broken = bytearray(whole)
        broken[at] ^= 1 << at % 8
        path.write_bytes(broken)
        assert cache.get("part", KEY) is None, at
    cache.put("part", KEY, tensors())
    assert same(cache.get("part", KEY), tensors())


def test_a_truncated_or_foreign_file_is_not_trusted(cache):
    cache.put("part", KEY, tensors())
    path = file_of(cache)
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 100, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert cache.get("part", KEY) is None, length
    for other in (whole + b"\0", b"not a file of tensors at all", bytes(1000), b"\xff" * 1000):
        path.write_bytes(other)
        assert cache.get("part", KEY) is None
    cache.put("part", KEY, tensors())
    assert same(cache.get("part", KEY), tensors())


def test_a_file_of_another_format_is_rebuilt(cache, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(module, "FORMAT", module.FORMAT - 1)
        cache.put("part", KEY, tensors(0))
        assert same(cache.get("part", KEY), tensors(0))
    assert cache.get("part", KEY) is None
    cache.put("part", KEY, tensors(1))
    assert same(cache.get("part", KEY), tensors(1))


def test_a_file_under_the_name_of_another_is_not_trusted(cache):
    cache.put("part", KEY, tensors())
    path, other = file_of(cache), digest("another")
    shutil.copy(path, path.with_name(path.name.replace(KEY, other)))
    shutil.copy(path, path.with_name(path.name.replace("part", "frame")))
    assert cache.get("part", other) is None
    assert cache.get("frame", KEY) is None
    assert cache.get("part", KEY) is not None


@pytest.mark.parametrize("bad", ["", "a/b", "..", "a-b", "a\n"])
def test_kinds_and_keys_cannot_lead_out_of_the_folder(cache, bad):
    with pytest.raises(ValueError, match="kind must be letters and digits"):
        cache.put(bad, KEY, tensors())
    with pytest.raises(ValueError, match="key must be letters and digits"):
        cache.get("part", bad)


def test_the_size_is_that_of_the_files_and_clearing_is_deleting(cache):
    assert cache.size() == 0
    for key in ("1", "2"):
        cache.put("part", key, {"a": torch.zeros(1000)})
    assert cache.size() == sum(p.stat().st_size for p in cache.folder.iterdir()) > 8000
    shutil.rmtree(cache.folder)
    assert cache.size() == 0
    assert cache.get("part", "1") is None
    cache.put("part", "1", tensors())
    assert same(cache.get("part", "1"), tensors())


def script(source, *args):
    """Start a process of its own that has `cache`, a Cache of the folder named first."""
    head = """
        import os, resource, signal, sys, warnings
        import torch
        from cmad.cache import Cache
        cache = Cache(sys.argv[1])
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(source), *map(str, args)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_may_use_the_same_keys_at_once(cache):
    for key in ("1", "2"):
        cache.put("part", key, {"a": torch.zeros(20_000), "b": torch.zeros(20_000)})
    source = """
        for turn in range(60):
            value = 100.0 * turn + int(sys.argv[2])
            cache.put("part", str(turn % 2 + 1), {n: torch.full((20_000,), value) for n in "ab"})
            for key in ("1", "2"):
                found = cache.get("part", key)
                assert found is not None, f"{key} was not whole in turn {turn}"
                assert len(torch.cat([found["a"], found["b"]]).unique()) == 1
    """
    running = [script(source, cache.folder, i) for i in range(2)]
    for process in running:
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
    assert sorted(p.name for p in cache.folder.iterdir()) == [
        f"part-{i}.safetensors" for i in (1, 2)
    ]


def test_a_crash_midway_leaves_no_entry_and_its_leftover_goes_after_a_day(cache):
    source = """
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        cache.put("part", "1", {"a": torch.zeros(1000)})
    """
    process = script(source, cache.folder)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert cache.get("part", "1") is None
    leftover = file_of(cache)
    Cache(cache.folder)
    assert leftover.exists()  # it may belong to a process that is still writing
    os.utime(leftover, (time.time() - 25 * 60 * 60,) * 2)
    entry = cache.folder / "part-2.safetensors"
    entry.touch()
    os.utime(entry, (0, 0))
    Cache(cache.folder)
    assert list(cache.folder.iterdir()) == [entry]


def test_a_full_disk_gives_one_warning_and_leaves_no_partial_file(cache):
    cache.put("part", "1", tensors())
    source = """
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for key in ("2", "3"):
                cache.put("part", key, {"a": torch.zeros(100_000)})
        assert cache.get("part", "1") is not None and cache.get("part", "2") is None
        print(*[f"{w.category.__name__}: {w.message}" for w in said], sep="\\n")
    """
    process = script(source, cache.folder)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    (line,) = out.splitlines()
    assert line.startswith(f"RuntimeWarning: {cache.folder}: results cannot be cached there (File")
    assert [p.name for p in cache.folder.iterdir()] == ["part-1.safetensors"]


def test_a_folder_that_cannot_be_written_gives_one_warning(tmp_path):
    file = tmp_path / "file"
    file.touch()
    cache = Cache(file / "cache")  # fails for every user, also for one who may write anywhere
    with pytest.warns(RuntimeWarning, match=r"file/cache: .*Not a directory") as said:
        cache.put("part", "1", tensors())
    assert len(said) == 1
    cache.put("part", "2", tensors())  # a second warning would be an error
    assert cache.get("part", "1") is cache.get("part", "2") is None
    assert cache.size() == 0


def test_digests_tell_content_apart():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    parts = [
        (a,),
        (a.reshape(3, 2),),
        (a.astype(np.float64),),
        (a.view(np.int32),),
        (a + 1,),
        (np.where(a == 0, np.float32(-0.0), a),),
        (a, a),
        (a[:1], a[1:]),
        ("a", "b"),
        ("b", "a"),
        ("ab",),
        (["a", "b"],),
        ({"a": 1, "b": 2},),
        (1,),
        ("1",),
        (),
    ]
    assert len({digest(*p) for p in parts}) == len(parts)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "?", "i8", "f2"])
def test_digests_do_not_depend_on_how_content_is_held(dtype):
    a = np.arange(6).reshape(2, 3).astype(dtype)
    same_content = [
        a.copy(order="F"),
        np.repeat(a, 2, 1)[:, ::2],
        a.astype(a.dtype.newbyteorder(">")),
        torch.from_numpy(a),
        torch.from_numpy(a.T.copy()).T,
    ]
    assert {digest(x) for x in same_content} == {digest(a)}
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(np.zeros((0, 3), dtype)) != digest(np.zeros((3, 0), dtype))


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Cache("~/kept").put("kind", KEY, tensors())
    assert len(list((tmp_path / "kept").iterdir())) == 1
    assert not (tmp_path / "~").exists()
