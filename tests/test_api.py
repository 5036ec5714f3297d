"""`cmad.score` and `cmad.use`: how the model is named, and that it is loaded once."""

import gc
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

import cmad
from cmad import api


class Fake:
    """Stands for a detector: the API only loads, keeps and calls it."""

    made: ClassVar[list] = []

    def __init__(self, path):
        self.path = path
        self.text = path.read_text()
        self.made.append(weakref.ref(self))

    def predict(self, rgb, xyz, unit, strict):
        if isinstance(rgb, list):
            return [self.predict(r, x, unit, strict) for r, x in zip(rgb, xyz, strict=True)]
        name = f"{unit}, strict" if strict else unit
        return cmad.Prediction(score=float(len(self.path.name)), map=rgb, name=name)


@pytest.fixture
def loads(monkeypatch, tmp_path):
    """Count loads; forget models before and after."""
    seen = []
    Fake.made.clear()

    def load(path):
        seen.append(path.name)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such model file")
        return Fake(path)

    monkeypatch.setattr(api, "load", load)
    monkeypatch.delenv("CMAD_MODEL", raising=False)
    api._models.clear()
    cmad.use(None)
    yield seen
    api._models.clear()
    cmad.use(None)


def model(tmp_path, name):
    path = tmp_path / name
    path.write_text(name)
    return path


def test_without_a_model_score_says_how_to_name_one(loads):
    with pytest.raises(
        RuntimeError, match=r"pass model=..., call cmad.use\(path\), or set CMAD_MO"
    ):
        cmad.score(None, None)


def test_argument_wins_over_use_wins_over_environment(loads, tmp_path, monkeypatch):
    a, bb, ccc = (model(tmp_path, n) for n in ("a", "bb", "ccc"))
    monkeypatch.setenv("CMAD_MODEL", str(a))
    assert float(cmad.score(None, None)) == 1
    cmad.use(bb)
    assert float(cmad.score(None, None)) == 2
    assert float(cmad.score(None, None, model=ccc)) == 3
    cmad.use(None)
    assert float(cmad.score(None, None)) == 1


def test_a_model_is_loaded_once_and_again_when_its_file_changes(loads, tmp_path):
    path = model(tmp_path, "a")
    cmad.score(None, None, model=path)
    cmad.score(None, None, model=str(path), unit="mm")
    assert loads == ["a"]
    os.utime(path, ns=(1, 1))
    cmad.score(None, None, model=path)
    assert loads == ["a", "a"]


def replaced(path, text):
    """Put another file in a file's place, with the time of the old one."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    new = path.with_name("new")
    new.write_text(text)
    os.utime(new, ns=times)
    new.replace(path)


def overwritten(path, text):
    """Write into a file, and set its time back; no entry's own time can be set back."""
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # as coarse as the system's clock tick
        path.write_text(text)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [replaced, overwritten])
@pytest.mark.parametrize("text", ["old", "longer"])
def test_a_file_that_changed_but_kept_its_time_is_loaded_again(change, text, loads, tmp_path):
    path = model(tmp_path, "old")
    cmad.score(None, None, model=path)
    time = path.stat().st_mtime_ns
    change(path, text.replace("old", "new"))
    assert path.stat().st_mtime_ns == time
    cmad.score(None, None, model=path)
    assert [api._loaded(path).text, len(loads)] == [text.replace("old", "new"), 2]


def test_a_file_that_is_replaced_while_it_loads_is_loaded_again(loads, tmp_path, monkeypatch):
    path = model(tmp_path, "old")
    inner = api.load

    def load(path):
        detector = inner(path)
        if detector.text == "old":
            replaced(path, "new")
        return detector

    monkeypatch.setattr(api, "load", load)
    assert [api._loaded(path).text for _ in range(3)] == ["old", "new", "new"]
    assert len(loads) == 2


def alive():
    gc.collect()
    return [one().text for one in Fake.made if one() is not None]


def test_of_a_path_only_the_newest_model_is_held(loads, tmp_path):
    path = tmp_path / "a"
    for save in range(5):
        path.write_text("x" * save)
        cmad.score(None, None, model=path)
    assert len(loads) == 5
    assert alive() == ["xxxx"]


def test_the_models_used_last_are_held_and_a_bad_one_drives_none_out(loads, tmp_path):
    paths = [model(tmp_path, name) for name in "abcd"]
    for path in (*paths, paths[0]):
        cmad.score(None, None, model=path)
    for _ in range(5):
        with pytest.raises(FileNotFoundError):
            cmad.score(None, None, model=tmp_path / "none")
    cmad.score(None, None, model=model(tmp_path, "e"))
    assert sorted(alive()) == ["a", "c", "d", "e"]


def test_a_model_that_loads_keeps_none_waiting_but_those_who_ask_for_it(
    loads, tmp_path, monkeypatch
):
    slow, quick = model(tmp_path, "slow"), model(tmp_path, "quick")
    begun, go_on = threading.Event(), threading.Event()
    inner = api.load

    def load(path):
        if path == slow:
            begun.set()
            assert go_on.wait(60)
        return inner(path)

    monkeypatch.setattr(api, "load", load)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(cmad.score, None, None, model=slow) for _ in range(2)]
        assert begun.wait(60)
        try:
            assert float(pool.submit(cmad.score, None, None, model=quick).result(60)) == 5
            assert not any(one.done() for one in waiting)
        finally:
            go_on.set()
    assert [float(one.result()) for one in waiting] == [4, 4]
    assert loads == ["quick", "slow"]


def test_use_finds_a_missing_file_at_once(loads, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such model file"):
        cmad.use(tmp_path / "none")


def test_unit_and_strict_are_passed_on_and_batches_are_sent_elsewhere(loads, tmp_path):
    path = model(tmp_path, "a")
    assert cmad.score(None, None, model=path, unit="mm").name == "mm"
    assert cmad.score(None, None, model=path, strict=True).name == "None, strict"
    with pytest.raises(ValueError, match=r"for a batch use cmad.load\(path\).predict"):
        cmad.score([1], [1], model=path)


def test_without_a_unit_the_model_decides(loads, tmp_path):
    assert cmad.score(None, None, model=model(tmp_path, "a")).name is None


def test_a_tilde_is_the_home_folder_however_the_model_is_named(loads, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    model(tmp_path, "bb")
    assert float(cmad.score(None, None, model="~/bb")) == 2
    monkeypatch.setenv("CMAD_MODEL", "~/bb")
    assert float(cmad.score(None, None)) == 2
    cmad.use("~/bb")
    monkeypatch.delenv("CMAD_MODEL")
    monkeypatch.setenv("HOME", "/")  # what was named stays what it was
    assert float(cmad.score(None, None)) == 2
    assert loads == ["bb"]


def test_threads_share_one_real_model_and_relative_paths_are_kept(tmp_path, monkeypatch):
    """With random weights, which are drawn from a generator that all threads share."""
    monkeypatch.delenv("CMAD_MODEL", raising=False)
    parts = cmad.datasets.Synthetic("train", good=1, size=(64, 64))
    vit = cmad.extractors.ViT("vit_tiny_patch16_224", block=1, weights="random")
    mae = cmad.extractors.PointMAE(groups=64, dim=48, blocks=1, weights="random")
    detector = cmad.CFM(rgb=vit, xyz=mae).fit(parts, epochs=1, pixels_per_image=50)
    monkeypatch.chdir(tmp_path)
    detector.save("part.cmad")
    rgb, xyz = parts[0].rgb, parts[0].xyz
    with ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(lambda _: float(cmad.score(rgb, xyz, model="part.cmad")), range(4)))
    assert scores == [float(detector.predict(rgb, xyz))] * 4
    assert len({id(api._loaded("part.cmad")) for _ in range(2)}) == 1
    cmad.use("part.cmad")
    monkeypatch.chdir("/")
    assert float(cmad.score(rgb, xyz)) == scores[0]
    cmad.use(None)


def test_seeded_weights_are_the_same_from_many_threads():
    def draw(seed):
        return cmad.nn.Mappings(8, 8, seed).CFM_2Dto3D.input.weight

    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(draw, [seed % 4 for seed in range(64)]))
    for i, weight in enumerate(drawn):
        assert (weight == draw(i % 4)).all()
