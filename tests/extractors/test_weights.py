import io
import time
from email.message import Message

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cmad.extractors import PointMAE, ViT, weights

SIZE = {"dim": 24, "heads": 3, "depth": 1, "groups": 8, "group_size": 4}


class GatedError(Exception):
    """The hub wants a token."""


@pytest.fixture
def release(monkeypatch, tmp_path, small_point_mae):
    """Serve a checkpoint as the authors' release; return what is served and the cache."""
    state = small_point_mae(depth=1).state_dict()
    file = io.BytesIO()
    torch.save({"base_model": {f"module.MAE_encoder.{k}": v for k, v in state.items()}}, file)
    served = {"bytes": file.getvalue(), "length": len(file.getvalue()), "requests": []}

    def urlopen(url, timeout):
        assert timeout <= 10
        served["requests"].append(url)
        response = io.BytesIO(served["bytes"])
        response.headers = Message()
        response.headers["Content-Length"] = str(served["length"])
        return response

    monkeypatch.delenv("CMAD_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return served, tmp_path / "cmad"


def test_the_local_folder_wins_over_the_network(monkeypatch, tmp_path, no_weights):
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("CMAD_WEIGHTS", str(folder))
    vit = ViT("vit_tiny_patch16_224", weights="random", block=1, image_size=32)
    assert weights.find("vit_tiny_patch16_224.augreg_in21k") is None
    save_file(vit.state_dict(), folder / "vit_tiny_patch16_224.safetensors")
    found = ViT("vit_tiny_patch16_224.augreg_in21k", block=1, image_size=32)
    assert found.fingerprint() == vit.fingerprint()
    tagged = folder / "vit_tiny_patch16_224.augreg_in21k.pth"
    torch.save({k: v + 1 for k, v in vit.state_dict().items()}, tagged)
    assert weights.find("vit_tiny_patch16_224.augreg_in21k") == tagged
    assert weights.find("vit_tiny_patch16_224") == folder / "vit_tiny_patch16_224.safetensors"


@pytest.mark.parametrize("name", ["pretrain.pth", "point_mae.pth", "point_mae.safetensors"])
def test_point_mae_is_found_under_each_of_its_names(
    monkeypatch, tmp_path, no_weights, small_point_mae, name
):
    source = small_point_mae(depth=1)
    if name.endswith("pth"):
        torch.save({"base_model": source.state_dict()}, tmp_path / name)
    else:
        save_file(source.state_dict(), tmp_path / name)
    monkeypatch.setenv("CMAD_WEIGHTS", str(tmp_path))
    assert PointMAE(**SIZE).state_dict().keys() == source.state_dict().keys()
    assert name in PointMAE(**SIZE).describe()


def test_a_tilde_is_the_home_folder_in_settings_and_paths(
    monkeypatch, tmp_path, no_weights, small_point_mae
):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "w").mkdir()
    file = tmp_path / "w" / "point_mae.safetensors"
    save_file(small_point_mae(depth=1).state_dict(), file)
    monkeypatch.setenv("CMAD_WEIGHTS", "~/w")
    assert weights.find("point_mae") == file
    assert weights.read("~/w/point_mae.safetensors").keys() == weights.read(file).keys()
    assert weights.origin("~/w/point_mae.safetensors") == str(file)


def test_a_setting_that_is_no_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CMAD_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(RuntimeError, match=r"CMAD_WEIGHTS must name a folder, got '.*nowhere'"):
        PointMAE()


def test_numpy_numbers_beside_the_weights_are_read_and_code_is_not(tmp_path):
    path = tmp_path / "a.pth"
    checkpoint = {"state_dict": {"module.a": torch.ones(2)}, "best": np.float64(0.5)}
    torch.save(checkpoint, path)
    torch.testing.assert_close(weights.read(path), {"a": torch.ones(2)})
    torch.save({"a": torch.ones(2), "b": GatedError}, path)
    with pytest.raises(RuntimeError, match=r"cannot read .*a\.pth"):
        weights.read(path)


def test_missing_damaged_and_empty_files_are_named(tmp_path):
    with pytest.raises(RuntimeError, match=r"no such file: .*a\.pth"):
        weights.read(tmp_path / "a.pth")
    for name in ("a.pth", "a.safetensors"):
        (tmp_path / name).write_bytes(b"\x80\x02half a file")
        with pytest.raises(RuntimeError, match=f"cannot read .*{name}"):
            weights.read(tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "b.pth")
    with pytest.raises(RuntimeError, match=r"b\.pth: .*must hold named tensors, got none"):
        weights.read(tmp_path / "b.pth")


def test_the_release_is_downloaded_once_and_kept_as_safetensors(release, small_point_mae):
    served, cache = release
    first, again = PointMAE(**SIZE), PointMAE(**SIZE)
    assert served["requests"] == [weights.POINT_MAE_URL]
    assert sorted(p.name for p in cache.iterdir()) == [
        "point_mae.safetensors",
        "point_mae.sha256",
        "pretrain.pth",
    ]
    want = small_point_mae(depth=1)
    for extractor in (first, again):
        for name, tensor in want.state_dict().items():
            assert torch.equal(extractor.state_dict()[name], tensor), name


def test_a_file_that_changed_in_the_cache_is_refused(release):
    _, cache = release
    PointMAE(**SIZE)
    state = weights.read(cache / "point_mae.safetensors")
    save_file({k: v + 1 for k, v in state.items()}, cache / "point_mae.safetensors")
    with pytest.raises(RuntimeError, match="has changed since its download; delete"):
        PointMAE(**SIZE)


@pytest.mark.parametrize("fault", ["truncated", "damaged", "another hash"])
def test_a_bad_download_leaves_nothing_behind(monkeypatch, release, fault):
    served, cache = release
    whole = served["bytes"]
    if fault == "truncated":
        served["bytes"] = whole[:-100]
    elif fault == "damaged":
        served["bytes"] = bytes(len(whole))
    else:
        monkeypatch.setattr(weights, "POINT_MAE_SHA256", "0" * 64)
    says = {"truncated": "bytes", "damaged": "cannot read", "another hash": "SHA-256 must be 000"}
    with pytest.raises(RuntimeError, match=says[fault]):
        PointMAE(**SIZE)
    assert list(cache.iterdir()) == []
    monkeypatch.undo()


def test_a_cached_file_of_the_hub_is_used_without_the_network(monkeypatch, tmp_path, no_weights):
    vit = ViT("vit_tiny_patch16_224", weights="random")
    cached = tmp_path / "model.safetensors"
    state = vit.state_dict() | {"head.weight": torch.zeros(9, 192), "head.bias": torch.zeros(9)}
    save_file(state, cached)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(cached))
    before = torch.get_rng_state()
    found = ViT("vit_tiny_patch16_224")
    assert found.fingerprint() == vit.fingerprint()
    assert "weights of timm" in found.describe()
    assert torch.equal(torch.get_rng_state(), before)


def test_offline_the_hub_is_not_asked_again_and_again(no_weights, monkeypatch):
    monkeypatch.setattr("timm.create_model", lambda *_, **__: pytest.fail("asked the hub"))
    start = time.perf_counter()
    with pytest.raises(RuntimeError, match="no route to host"):
        ViT()
    assert time.perf_counter() - start < 5


def test_every_failure_of_the_hub_is_explained(no_weights, monkeypatch):
    def fail(*_, **__):
        raise GatedError("gated")

    monkeypatch.setattr(weights, "_reach", lambda _: None)
    monkeypatch.setattr("timm.create_model", fail)
    with pytest.raises(RuntimeError, match=r"on the network \(gated\)") as caught:
        ViT()
    assert isinstance(caught.value.__cause__, GatedError)


def test_the_fingerprint_depends_on_names_and_values():
    a, b = torch.arange(4.0), torch.ones(2)
    want = weights.fingerprint({"a": a, "b": b})
    assert weights.fingerprint({"b": b, "a": a.clone()}) == want
    assert weights.fingerprint({"a": b, "b": a}) != want
    assert weights.fingerprint({"a": a + 1, "b": b}) != want
    assert weights.fingerprint({"a": a.view(2, 2), "b": b}) != want
