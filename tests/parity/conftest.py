"""What the parity tests share: the fixture files and the generators beside them."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import cmad


@pytest.fixture(scope="session")
def parity_folder():
    folder = os.environ.get("CMAD_FIXTURES")
    if not folder:
        pytest.skip("CMAD_FIXTURES is not set: no arrays of the published implementations here")
    return Path(folder)


@pytest.fixture(scope="session")
def each_fixture(parity_folder):
    """Yield (path, arrays) of every file of a pattern; skip where there is none."""

    def each(pattern):
        paths = sorted(parity_folder.glob(pattern))
        if not paths:
            pytest.skip(f"no file {pattern} in CMAD_FIXTURES")
        for path in paths:
            with np.load(path, allow_pickle=False) as arrays:
                yield path, dict(arrays)

    return each


def _module(folder, name):
    spec = importlib.util.spec_from_file_location(f"parity_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synth(parity_folder):
    """The generator of the samples that the fixtures were made from."""
    return _module(parity_folder, "synth")


@pytest.fixture(scope="session")
def detweights(parity_folder):
    """The generator of the weights that the fixtures were made with."""
    return _module(parity_folder, "detweights")


@pytest.fixture(scope="session")
def published(detweights):
    """Make the detector of a fixture's configuration, with the generator's weights."""
    import timm

    def make(config, size):
        dim, depth, heads = config.get("vit", (96, config.get("vit_depth", 4), 3))
        if config["kind"] == "full":
            dim, depth, heads = config["D2"], config["vit_depth"], 12
        vit = timm.models.VisionTransformer(
            img_size=size, patch_size=8, embed_dim=dim, depth=depth, num_heads=heads, num_classes=0
        )
        detweights.fill(vit, config["wseed"], "rgb.")
        width = config.get("trans_dim", 384 if config["kind"] == "full" else 48)
        shape = {"dim": width, "heads": config.get("heads", 6), "groups": config["G"]}
        template = cmad.extractors.PointMAE(weights="random", **shape)
        state = {
            k: torch.from_numpy(detweights.value(config["wseed"], "xyz." + k, tuple(v.shape)))
            for k, v in template.state_dict().items()
        }
        xyz = cmad.extractors.PointMAE(
            weights=state, group_size=config["M"], published=True, **shape
        )
        rgb = cmad.extractors.ViT(vit)
        return cmad.CFM(preset="official", rgb=rgb, xyz=xyz, image_size=size, precision="fp32")

    return make
