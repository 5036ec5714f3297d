import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from cmad.extractors import PointMAE


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    """No local weights, empty caches, and a network that refuses every connection."""

    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.delenv("CMAD_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)


@pytest.fixture
def small_vit():
    """Make a small transformer with random weights of timm's kind."""

    def make(**arguments):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            size = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 3}
            return VisionTransformer(**(size | {"num_classes": 0} | arguments)).eval()

    return make


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=generator)


@pytest.fixture
def cloud():
    """Make a bumpy sheet of points, 10 cm wide, half a metre away."""

    def make(n=400, seed=0):
        rng = np.random.default_rng(seed)
        xy = rng.uniform(-0.05, 0.05, (n, 2))
        z = 0.5 + 0.004 * np.sin(90 * xy[:, :1]) + rng.normal(0, 2e-4, (n, 1))
        return torch.from_numpy(np.hstack([xy, z]).astype(np.float32))

    return make


@pytest.fixture
def small_point_mae():
    """Make a small Point-MAE, with random weights unless told."""

    def make(**arguments):
        size = {"groups": 32, "group_size": 8, "dim": 24, "heads": 3, "weights": "random"}
        return PointMAE(**(size | arguments))

    return make
