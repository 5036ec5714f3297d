"""The extractors against what the published implementations computed, stage by stage."""

import ast
import importlib.util
import os
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from cmad import ops
from cmad.extractors import FPFH, PointMAE, ViT
from cmad.extractors.point_mae_network import Network

FOLDER = os.environ.get("CMAD_FIXTURES")
pytestmark = pytest.mark.skipif(not FOLDER, reason="CMAD_FIXTURES names no folder of fixtures")


def files_with(key, pattern):
    found = []
    for path in sorted(Path(FOLDER).glob(pattern)) if FOLDER else []:
        with np.load(path, allow_pickle=False) as arrays:
            if key in arrays.files:
                found.append(path)
    return found


def config_of(path):
    with np.load(path, allow_pickle=False) as arrays:
        return ast.literal_eval(str(arrays["config"]))


CONFIGURATIONS = [
    pytest.param(
        path, id=path.stem, marks=pytest.mark.slow if config_of(path)["kind"] == "full" else ()
    )
    for path in files_with("config", "cfm_*.npz")
]
each_configuration = pytest.mark.parametrize("path", CONFIGURATIONS)


@cache
def deterministic_weights() -> ModuleType:
    spec = importlib.util.spec_from_file_location("detweights", Path(FOLDER) / "detweights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def arrays_of(path):
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def sum_is_recorded(module, want):
    np.testing.assert_allclose(deterministic_weights().checksum(module), want, rtol=1e-9)


@cache
def tokens_of(path):
    """The tokens (h, w, D) of the file's image."""
    config, arrays = config_of(path), arrays_of(path)
    full = config["kind"] == "full"
    if full:
        name = "vit_base_patch8_224.dino"
        module = timm.create_model(name, num_classes=0, depth=config["vit_depth"])
    else:
        dim, depth, heads = config.get("vit", (96, config["vit_depth"], 3))
        module = VisionTransformer(
            patch_size=8, embed_dim=dim, depth=depth, num_heads=heads, num_classes=0
        )
    deterministic_weights().fill(module, config["wseed"], "rgb.")
    sum_is_recorded(module, arrays["sum_rgb_backbone"])
    vit = ViT(name, weights=module.state_dict()) if full else ViT(module)
    rgb = torch.from_numpy(arrays["rgb"]).permute(2, 0, 1)[None].contiguous()
    return vit.tokens(rgb)[0].permute(1, 2, 0).numpy()


def cloud_of(path):
    arrays = arrays_of(path)
    return torch.from_numpy(arrays["xyz"].reshape(-1, 3)[arrays["nonzero_indices"].astype(int)])


@cache
def point_mae(path, batchnorm):
    config = config_of(path)
    width, heads = (384, 6) if config["kind"] == "full" else (48, 6)
    width, heads = config.get("trans_dim", width), config.get("heads", heads)
    network = Network(width, heads, 12)
    deterministic_weights().fill(network, config["wseed"], "xyz.")
    sum_is_recorded(network, arrays_of(path)["sum_xyz_backbone"])
    return PointMAE(
        groups=config["G"],
        group_size=config["M"],
        dim=width,
        heads=heads,
        weights=network.state_dict(),
        batchnorm=batchnorm,
        published=True,
    )


@cache
def stages_of(path, batchnorm="eval"):
    """What the 3D extractor computes for the file's cloud, at every stage."""
    extractor = point_mae(path, batchnorm)
    network, seen = extractor.network, {}

    def keep(name):
        def hook(_, inputs, output):
            seen[name] = output.reshape(-1, output.shape[-1]).numpy()
            if name == "tokens":
                seen["groups"] = inputs[0].numpy()

        return hook

    watched = {"tokens": network.encoder, "pos": network.pos_embed}
    watched |= {f"layer_{i}": block for i, block in enumerate(network.blocks["blocks"])}
    hooks = [module.register_forward_hook(keep(name)) for name, module in watched.items()]
    points = extractor.points(cloud_of(path))
    for hook in hooks:
        hook.remove()
    layers = np.stack([seen[f"layer_{i}"] for i in range(12)])
    return SimpleNamespace(points=points, layers=layers, **{k: seen[k] for k in seen})


def agree(got, want, relative=1e-5):
    """Largest difference against the largest magnitude."""
    want = np.asarray(want, np.float64)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= relative * np.abs(want).max()


def rows_sorted(groups):
    """The points of each group in a fixed order: neighbours at equal distance have none."""
    return np.stack([g[np.lexsort(g.T)] for g in groups])


@each_configuration
def test_tokens_are_those_of_the_reference(path):
    arrays, tokens = arrays_of(path), tokens_of(path)
    agree(tokens.reshape(-1, tokens.shape[-1])[arrays["rgb_feat_pos"]], arrays["rgb_feat"])
    # A sum of many channels cancels: its error belongs to the sum of magnitudes.
    bound = 1e-5 * np.abs(tokens).sum(-1).max()
    assert np.abs(tokens.sum(-1, dtype=np.float64) - arrays["rgb_feat_sum"]).max() <= bound


@each_configuration
def test_centres_and_groups_are_those_of_the_reference(path):
    arrays, xyz = arrays_of(path), cloud_of(path)
    config = config_of(path)
    ptr = torch.tensor([0, len(xyz)])
    fps = ops.fps(xyz, ptr, config["G"], ties="published", skip=1e-3)[0]
    np.testing.assert_array_equal(fps, arrays["fps_idx"])
    index = ops.group(xyz, ptr, xyz[fps], torch.tensor([0, len(fps)]), config["M"])
    np.testing.assert_array_equal(index.sort().values, np.sort(arrays["group_idx"]))
    got = stages_of(path).groups[arrays["group_sel_small"]]
    np.testing.assert_array_equal(rows_sorted(got), rows_sorted(arrays["groups"]))


@each_configuration
def test_group_tokens_and_positions_are_those_of_the_reference(path):
    arrays, stages = arrays_of(path), stages_of(path)
    agree(stages.tokens[arrays["group_sel"]], arrays["enc_tokens"])
    bound = 1e-5 * np.abs(stages.tokens).sum(-1).max()
    total = stages.tokens.sum(-1, dtype=np.float64)
    assert np.abs(total - arrays["enc_tokens_sum"]).max() <= bound
    agree(stages.pos[arrays["group_sel_small"]], arrays["pos"])


@each_configuration
def test_every_block_gives_what_the_reference_gives(path):
    arrays, stages = arrays_of(path), stages_of(path)
    for got, want in zip(stages.layers, arrays["layer_raw"], strict=True):
        agree(got[arrays["group_sel_small"]], want)


@each_configuration
def test_point_features_are_those_of_the_reference(path):
    arrays, features = arrays_of(path), stages_of(path).points.features.numpy()
    assert point_mae(path, "eval").dim == config_of(path)["D3"] == features.shape[1]
    agree(features[arrays["group_sel"]], arrays["xyz_feat"])
    bound = 1e-5 * np.abs(features).sum(-1).max()
    total = features.sum(-1, dtype=np.float64)
    assert np.abs(total - arrays["xyz_feat_sum"]).max() <= bound


@each_configuration
def test_interpolation_is_the_exact_one(path):
    arrays, points = arrays_of(path), stages_of(path).points
    chosen = arrays["pt_sel"]
    neighbour, order = points.neighbour[chosen].sort(-1)
    np.testing.assert_array_equal(neighbour, np.sort(arrays["nn3_idx_exact"]))
    weight = points.weight[chosen].gather(-1, order).numpy()
    want = np.take_along_axis(arrays["nn3_w_exact"], arrays["nn3_idx_exact"].argsort(-1), -1)
    agree(weight, want)
    rows = points.features[points.neighbour[chosen]]
    agree((points.weight[chosen][..., None] * rows).sum(1).numpy(), arrays["interp_f64"])


@each_configuration
def test_statistics_of_the_cloud_give_the_features_of_training_mode(path):
    arrays, stages = arrays_of(path), stages_of(path, "batch")
    chosen = arrays["group_sel_small"]
    agree(stages.tokens[chosen], arrays["bntrain_enc_tokens"])
    agree(stages.points.features.numpy()[chosen], arrays["bntrain_xyz_feat"])


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem) for p in files_with("fpfh_sel", "*.npz")]
)
def test_histograms_are_those_of_the_reference(path):
    arrays = arrays_of(path)
    xyz = arrays["xyz0"].reshape(-1, 3)
    valid = (xyz != 0).all(-1)
    got = np.zeros((len(xyz), 33))
    got[valid] = FPFH().histograms(torch.from_numpy(xyz[valid])).numpy()
    agree(got[arrays["sel"]], arrays["fpfh_sel"])
