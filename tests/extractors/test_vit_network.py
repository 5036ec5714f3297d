"""The plain vision transformer gives timm's numbers, and models come back without timm."""

import json
import subprocess
import sys

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from cmad.extractors import ViT, from_config
from cmad.extractors.vit_network import Transformer, arguments_of

KINDS = {
    "plain": {},
    "dynamic": {"dynamic_img_size": True},
    "registers without positions": {"reg_tokens": 2, "no_embed_class": True},
    "scaled": {"init_values": 0.3, "qk_norm": True},
    "of CLIP": {"pre_norm": True, "qkv_bias": False, "mlp_ratio": 2.0},
    "averaging": {"class_token": False, "global_pool": "avg"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("half", [False, True])
def test_its_tokens_are_timms_bit_for_bit(small_vit, kind, half, monkeypatch):
    monkeypatch.setattr("cmad.linear.by_onednn", lambda: False)
    module = small_vit(**KINDS[kind])
    for parameter in module.parameters():  # biases and scales are constants before a training
        with torch.no_grad():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator()))
    module.reset_classifier(0, "")
    own = Transformer.of(arguments_of(module), module).eval()
    assert list(own.state_dict()) != []
    assert own.state_dict().keys() == module.state_dict().keys()
    size = 48 if KINDS[kind].get("dynamic_img_size") else 32
    image = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        want = module.fc_norm(module.forward_features(image))
        assert torch.equal(own.fc_norm(own.forward_features(image)), want)


@pytest.mark.parametrize("kind", ["act_layer", "norm_layer", "pos_embed"])
def test_other_kinds_stay_timms(small_vit, kind, images):
    other = {"act_layer": "relu", "norm_layer": "rmsnorm", "pos_embed": "none"}[kind]
    module = small_vit(**{kind: other})
    module.reset_classifier(0, "")
    assert arguments_of(module) is None
    assert isinstance(ViT(module)._net, VisionTransformer)
    assert isinstance(ViT(small_vit())._net, Transformer)


def test_a_module_with_hooks_stays_as_it_is(small_vit, images):
    module = small_vit()
    module.blocks[1].register_forward_hook(lambda *a: 2 * a[2])
    doubled = ViT(module)
    assert not torch.equal(doubled.tokens(images), ViT(small_vit()).tokens(images))
    assert doubled.config()["model"] is None


WITHOUT_TIMM = """
import json, sys, torch
from cmad.extractors import from_config
from safetensors.torch import load_file

sys.modules["timm"] = sys.modules["torchvision"] = None  # whose import fails
config, state, image = json.load(sys.stdin)
extractor = from_config(config, state and load_file(state))
torch.save([extractor.tokens(torch.load(image)), extractor.describe(), extractor.fingerprint()], 
           image)
"""


@pytest.mark.parametrize("place", ["the model", "CMAD_WEIGHTS", "a file", "the cache of the hub"])
def test_a_model_comes_back_without_timm(place, tmp_path, monkeypatch):
    from safetensors.torch import save_file

    name = "vit_tiny_patch16_224"
    file = tmp_path / f"{name}.safetensors"
    whole = timm.create_model(name)
    save_file(whole.state_dict(), file)
    cached = place == "the cache of the hub"
    if cached:
        monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(file))
    else:
        monkeypatch.setenv("CMAD_WEIGHTS", str(tmp_path))
    vit = ViT(name, block=2, image_size=32, weights=file if place == "a file" else None)
    config = json.loads(json.dumps(vit.config()))
    state = tmp_path / "state.safetensors"
    save_file(vit.state_dict(), state)
    image = torch.arange(3 * 32 * 32).remainder(256).to(torch.uint8).view(1, 3, 32, 32)
    torch.save(image, tmp_path / "image")
    given = str(state) if place == "the model" else None
    code = WITHOUT_TIMM
    if cached:
        known = "lambda *a: " + repr({"timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k": str(file)})
        code = f"import huggingface_hub as h; h.try_to_load_from_cache = {known}[a[0]]\n{code}"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([config, given, str(tmp_path / "image")]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    tokens, said, fingerprint = torch.load(tmp_path / "image")
    assert torch.equal(tokens, vit.tokens(image))
    assert fingerprint == vit.fingerprint()
    if given is None:
        assert said == vit.describe()


def test_weights_in_another_form_than_timms_are_left_to_timm(tmp_path, monkeypatch):
    """The one that makes it `load` them says what is wrong, too."""
    name = "vit_tiny_patch16_224"
    vit = ViT(name, block=1, weights="random")
    torch.save({"model": {"nonsense": torch.zeros(1)}}, tmp_path / f"{name}.pth")
    monkeypatch.setenv("CMAD_WEIGHTS", str(tmp_path))
    config = {**vit.config(), "weights": None}
    with pytest.raises(ValueError, match="weights must fit the model"):
        from_config(config)
