"""A detector small enough for unit tests: real code, tiny networks, random seeded weights."""

import numpy as np
import pytest
import timm
import torch

import cmad


def tiny_vit(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = timm.models.VisionTransformer(
            img_size=48, patch_size=4, embed_dim=32, depth=1, num_heads=2, num_classes=0
        )
    return cmad.extractors.ViT(module)


def tiny_point_mae(seed=0):
    return cmad.extractors.PointMAE(
        groups=64, group_size=16, dim=12, heads=2, blocks=1, weights="random", seed=seed
    )


def part(seed, defect="good"):
    """A bumpy block on a plane, 48 x 48 pixels, its colour following its relief."""
    rng = np.random.default_rng(seed)
    v, u = np.indices((48, 48))
    height = np.zeros((48, 48))
    height[12:36, 12:36] = 0.02 + 0.003 * np.sin(v / 2)[12:36, 12:36]
    mask = np.zeros((48, 48), bool)
    if defect != "good":
        mask[20:26, 18:24] = True
        height[mask] -= 0.012
    z = 0.5 - height + 1e-5 * rng.standard_normal((48, 48))
    xyz = np.stack([(u - 23.3) * 1e-3, (v - 23.3) * 1e-3, z], -1).astype(np.float32)
    rgb = np.clip(height * 9000 + rng.normal(0, 3, (48, 48)), 0, 255).astype(np.uint8)
    return cmad.Sample(np.stack([rgb, rgb // 2, 255 - rgb], -1), xyz, mask, defect, f"part{seed}")


@pytest.fixture(scope="session")
def parts():
    """Good parts."""
    return [part(seed) for seed in range(6)]


@pytest.fixture(scope="session")
def make():
    """The pieces, to build more of them."""
    return {"vit": tiny_vit, "point_mae": tiny_point_mae, "part": part}


def detector(**options):
    return cmad.CFM(rgb=tiny_vit(), xyz=tiny_point_mae(), image_size=48, **options)


@pytest.fixture
def untrained():
    """Make an untrained tiny detector."""
    return detector


@pytest.fixture(scope="session")
def trained(parts):
    """A tiny detector trained on good parts; tests must not change it."""
    return detector().fit(parts, epochs=60, pixels_per_image=200)
