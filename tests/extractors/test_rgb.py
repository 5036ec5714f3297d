import json

import numpy as np
import pytest
import timm
import torch
from torch import nn

from cmad.extractors import ViT, from_config

TINY = "vit_tiny_patch16_224"


def normalised(images, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)):
    mean, std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def test_class_token_and_registers_are_dropped(small_vit, images):
    module = small_vit(reg_tokens=4)
    with torch.no_grad():
        want = module.forward_features(normalised(images))
    assert want.shape == (2, 1 + 4 + 16, 24)
    vit = ViT(module)
    got = vit.tokens(images)
    assert got.shape == (2, vit.dim, *vit.grid) == (2, 24, 4, 4)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got[1, :, 2, 3], want[1, 5 + 2 * 4 + 3])


@pytest.mark.parametrize("block", [1, 3, 4])
def test_a_cut_model_runs_the_first_blocks_and_the_final_norm(small_vit, images, block):
    module = small_vit()
    outputs = {}
    module.blocks[block - 1].register_forward_hook(lambda *a: outputs.update(last=a[2]))
    with torch.no_grad():
        module.forward_features(normalised(images))
        want = module.norm(outputs["last"])[:, 1:].transpose(1, 2).reshape(2, 24, 4, 4)
    vit = ViT(module, block=block)
    torch.testing.assert_close(vit.tokens(images), want)
    assert vit.block == block
    assert not any(name.startswith(f"blocks.{block}.") for name in vit.state_dict())
    assert len(module.blocks) == 4, "the module that was passed in must stay whole"


def test_a_named_model_is_cut_and_normalises_as_its_configuration_says():
    vit = ViT(TINY, weights="random", block=1, image_size=32)
    module = timm.create_model(TINY, num_classes=0, depth=1, dynamic_img_size=True).eval()
    module.load_state_dict(vit.state_dict())
    images = torch.arange(3 * 32 * 32).remainder(256).to(torch.uint8).view(1, 3, 32, 32)
    half = (0.5, 0.5, 0.5)
    assert tuple(module.pretrained_cfg["mean"]) == half
    with torch.no_grad():
        want = module.forward_features(normalised(images, half, half))[:, 1:]
    torch.testing.assert_close(vit.tokens(images).flatten(2).transpose(1, 2), want)


def test_a_model_that_pools_by_averaging_gets_its_only_norm(small_vit, images):
    module = small_vit(global_pool="avg")
    nn.init.constant_(module.fc_norm.bias, 5.0)
    assert isinstance(module.norm, nn.Identity)
    mean = ViT(module).tokens(images).mean().item()
    assert mean == pytest.approx(5.0, abs=1e-4)


def test_a_module_in_training_mode_is_used_in_evaluation_mode(small_vit, images):
    module = small_vit(drop_path_rate=0.9, pos_drop_rate=0.5).train()
    vit = ViT(module)
    torch.testing.assert_close(vit.tokens(images), vit.tokens(images), rtol=0, atol=0)
    assert module.training
    assert not vit.tokens(images).requires_grad


def test_batches_and_single_images_agree(small_vit, images):
    vit = ViT(small_vit())
    torch.testing.assert_close(vit.tokens(images)[1:], vit.tokens(images[1:]))


@pytest.mark.parametrize("dynamic", [False, True])
def test_another_image_size_resamples_the_positions(small_vit, dynamic):
    module = small_vit(dynamic_img_size=dynamic)
    vit = ViT(module, image_size=48)
    assert (vit.image_size, vit.grid) == (48, (6, 6))
    grey = torch.full((1, 3, 48, 48), 128, dtype=torch.uint8)
    tokens = vit.tokens(grey)
    # Patches are all alike, so only positions tell tokens apart, smoothly from row to row.
    assert tokens.shape == (1, 24, 6, 6)
    assert tokens.std((2, 3)).min() > 0
    reference = small_vit(dynamic_img_size=True)
    with torch.no_grad():
        want = reference.forward_features(normalised(grey))[:, 1:]
    torch.testing.assert_close(tokens.flatten(2).transpose(1, 2), want)


def test_weights_stored_for_another_grid_are_resampled(small_vit, images):
    large = small_vit(img_size=64)
    vit = ViT(small_vit(), weights=large.state_dict())
    with torch.no_grad():
        want = ViT(large, image_size=32).tokens(images)
    torch.testing.assert_close(vit.tokens(images), want)


def test_half_precision_weights_run_in_float32(small_vit, images):
    state = {k: v.half() for k, v in small_vit().state_dict().items()}
    vit = ViT(small_vit(), weights=state)
    assert {v.dtype for v in vit.state_dict().values()} == {torch.float32}
    assert vit.tokens(images).isfinite().all()


def test_classifier_and_dropped_blocks_in_the_weights_are_ignored(small_vit, images):
    whole = small_vit(num_classes=10, depth=6)
    state = {f"module.{k}": v for k, v in whole.state_dict().items()}
    got = ViT(small_vit(), weights=state).tokens(images)
    torch.testing.assert_close(got, ViT(whole, block=4).tokens(images))


def test_the_real_file_loads_strictly(monkeypatch):
    import os

    folder = os.environ.get("CMAD_WEIGHTS")
    if not folder or not os.path.exists(f"{folder}/vit_small_patch14_dinov2.safetensors"):
        pytest.skip("CMAD_WEIGHTS has no vit_small_patch14_dinov2.safetensors")
    monkeypatch.setattr("timm.create_model", refusing_downloads(timm.create_model))
    vit = ViT("vit_small_patch14_dinov2", block=8, image_size=392)
    assert (vit.dim, vit.grid, vit.block) == (384, (28, 28), 8)
    assert folder in vit.describe()
    rng = np.random.default_rng(0)
    ramp = torch.from_numpy(rng.integers(0, 256, (1, 3, 392, 392), dtype=np.uint8))
    tokens = vit.tokens(ramp)
    assert tokens.isfinite().all()
    module = timm.create_model("vit_small_patch14_dinov2", num_classes=0, dynamic_img_size=True)
    from safetensors.torch import load_file

    module.load_state_dict(load_file(f"{folder}/vit_small_patch14_dinov2.safetensors"))
    module.blocks = module.blocks[:8]
    with torch.no_grad():
        want = module.eval().forward_features(normalised(ramp))[:, 1:]
    torch.testing.assert_close(tokens.flatten(2).transpose(1, 2), want, rtol=1e-4, atol=1e-4)


def refusing_downloads(create):
    def wrapped(*arguments, **options):
        assert not options.get("pretrained")
        return create(*arguments, **options)

    return wrapped


def test_random_weights_follow_the_seed_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    first, again, other = (
        ViT(TINY, weights="random", block=1, image_size=32, seed=s) for s in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert "random weights (seed 1)" in first.describe()


def test_a_random_extractor_is_built_again_from_its_configuration():
    vit = ViT(TINY, weights="random", block=2, image_size=64, seed=4)
    config = json.loads(json.dumps(vit.config()))
    again = from_config(config)
    assert again.config() == config
    assert again.fingerprint() == vit.fingerprint()
    assert again.describe() == vit.describe()
    stored = from_config(config, vit.state_dict())
    assert stored.config() == config
    assert stored.fingerprint() == vit.fingerprint()
    assert stored.describe() == vit.describe()


@pytest.mark.parametrize(
    "arguments",
    [{}, {"reg_tokens": 2, "init_values": 1e-5}, {"pre_norm": True, "no_embed_class": True}],
)
def test_a_module_is_built_again_from_its_configuration_and_weights(small_vit, images, arguments):
    vit = ViT(small_vit(**arguments), block=3, image_size=48)
    config = json.loads(json.dumps(vit.config()))
    with pytest.raises(
        RuntimeError, match=r"passed in: save .*include_extractors=True, .* as rgb$"
    ):
        from_config(config)
    again = from_config(config, vit.state_dict())
    larger = torch.nn.functional.interpolate(images.float(), 48).to(torch.uint8)
    torch.testing.assert_close(again.tokens(larger), vit.tokens(larger), rtol=0, atol=0)
    assert again.config() == config
    assert again.fingerprint() == vit.fingerprint()


def test_a_module_that_cannot_be_described_must_be_passed_again(small_vit):
    vit = ViT(small_vit(act_layer=nn.ReLU))
    assert vit.config()["model"] is None
    with pytest.raises(RuntimeError, match="cannot be built from its description"):
        from_config(vit.config(), vit.state_dict())


def test_a_mapping_of_weights_is_recorded_as_given():
    state = ViT(TINY, weights="random", block=1, image_size=32).state_dict()
    vit = ViT(TINY, weights=state, block=1, image_size=32)
    assert vit.config()["weights"] == "given"
    with pytest.raises(RuntimeError, match="save the model with include_extractors=True"):
        from_config(vit.config())
    assert from_config(vit.config(), vit.state_dict()).fingerprint() == vit.fingerprint()


def test_weights_are_copied(small_vit, images):
    state = small_vit().state_dict()
    vit = ViT(small_vit(), weights=state)
    before = vit.tokens(images)
    for tensor in state.values():
        tensor.zero_()
    torch.testing.assert_close(vit.tokens(images), before, rtol=0, atol=0)


def test_mistakes_are_named(small_vit, images):
    with pytest.raises(ValueError, match=r"ViT: block must be in \[1, 4\], got 5"):
        ViT(small_vit(), block=5)
    with pytest.raises(ValueError, match=r"ViT: block must be in \[1, 4\], got 0"):
        ViT(small_vit(), block=0)
    with pytest.raises(ValueError, match="multiple of the patch size 8, got 33"):
        ViT(small_vit(), image_size=33)
    with pytest.raises(ValueError, match="must be the name of a timm model, got 'vit_enormous'"):
        ViT("vit_enormous", weights="random")
    with pytest.raises(TypeError, match="must be a vision transformer of timm, got resnet18"):
        ViT("resnet18", weights="random")
    with pytest.raises(TypeError, match="must be a vision transformer of timm, got Linear"):
        ViT(nn.Linear(2, 2))
    with pytest.raises(ValueError, match='weights must not be "random" for a module'):
        ViT(small_vit(), weights="random")
    with pytest.raises(ValueError, match=r"norm.bias is missing"):
        ViT(
            small_vit(),
            weights={k: v for k, v in small_vit().state_dict().items() if "rm.b" not in k},
        )
    with pytest.raises(ValueError, match=r"cls_token must be \(1, 1, 24\), got \(1, 1, 12\)"):
        ViT(small_vit(), weights=small_vit(embed_dim=12).state_dict())
    vit = ViT(small_vit())
    with pytest.raises(ValueError, match=r"ViT: rgb must be \(B, 3, 32, 32\), got \(3, 32, 32\)"):
        vit.tokens(images[0])
    with pytest.raises(TypeError, match=r"ViT: rgb must be torch.uint8, got torch.float32"):
        vit.tokens(images.float())


def test_offline_without_files_says_what_is_missing_and_what_helps(no_weights):
    with pytest.raises(RuntimeError) as caught:
        ViT("vit_base_patch8_224.dino")
    for part in (
        "vit_base_patch8_224.dino.safetensors",
        "vit_base_patch8_224.pth",
        "CMAD_WEIGHTS (not set)",
        "timm/vit_base_patch8_224.dino on the network (no route to host)",
        "set CMAD_WEIGHTS to a folder",
        "connect to the network",
        'weights="random"',
    ):
        assert part in str(caught.value)
