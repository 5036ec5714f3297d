import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as functional

import cmad
from cmad.extractors import Normals, Pyramid, from_config

SMALL = "test_resnet"


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, 64, 64), generator=generator, dtype=torch.uint8)


def small(**given):
    return Pyramid(SMALL, **{"image_size": 64, "weights": "random", **given})


def test_tokens_are_the_means_of_two_layers_on_the_finer_ones_grid(images):
    net = small()
    whole = timm.create_model(SMALL, features_only=True, out_indices=(2, 3)).eval()
    whole.load_state_dict(net.state_dict())
    cfg = timm.get_pretrained_cfg(SMALL)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (cfg.mean, cfg.std))
    with torch.no_grad():
        layers = whole((images.float() / 255 - mean) / std)
    assert [layer.shape[-1] for layer in layers] == [8, 4]
    pooled = [functional.adaptive_avg_pool2d(functional.avg_pool2d(x, 3, 1), 8) for x in layers]
    want = torch.cat(pooled, 1)
    got = net.tokens(images)
    assert got.shape == (2, net.dim, *net.grid) == (2, want.shape[1], 8, 8)
    torch.testing.assert_close(got, want)
    # By hand: the first token of the coarse layer's 2 x 2 means covers 4 x 4 of the grid.
    torch.testing.assert_close(got[0, -1, 3, 3], layers[1][0, -1, :3, :3].mean())


def test_what_lies_behind_the_last_layer_is_dropped_and_weights_of_the_whole_serve(images):
    net = small()
    assert not any(name.startswith(("layer4", "fc")) for name in net.state_dict())
    whole = timm.create_model(SMALL).state_dict()  # with the classifier
    given = small(weights={**whole, **net.state_dict()})
    assert torch.equal(given.tokens(images), net.tokens(images))
    whole.pop("layer2.0.conv1.weight")
    with pytest.raises(
        ValueError, match=r"Pyramid test_resnet: weights .*layer2.0.conv1.weight is m"
    ):
        small(weights=whole)


def test_weights_come_from_the_folder_and_are_missed_in_words(monkeypatch, tmp_path, images):
    net = small(seed=5)
    torch.save(net.state_dict(), tmp_path / f"{SMALL}.pth")
    monkeypatch.setenv("CMAD_WEIGHTS", str(tmp_path))
    found = small(weights=None)
    assert torch.equal(found.tokens(images), net.tokens(images))
    assert "test_resnet.pth" in found.describe()
    (tmp_path / f"{SMALL}.pth").unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(RuntimeError, match=r"Pyramid 'test_resnet': no weights. Looked for"):
        small(weights=None)


def test_it_comes_back_from_its_description(images):
    net = small(seed=3, strides=(4, 8))
    for state in (None, net.state_dict()):
        again = from_config(net.config(), state)
        assert torch.equal(again.tokens(images), net.tokens(images))
        assert again.describe() == net.describe()
        assert again.fingerprint() == net.fingerprint() != small(seed=4).fingerprint()
    given = small(weights=small().state_dict())
    assert from_config(given.config(), given.state_dict()).config() == given.config()
    with pytest.raises(RuntimeError, match="include_extractors=True"):
        from_config(given.config())


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"model": "resnet19"}, ValueError, "must be the name of a timm model, got 'resnet19'"),
        ({"model": "test_vit"}, TypeError, "must be a convolutional network of timm, got test_vit"),
        ({"strides": (16, 8)}, ValueError, r"strides must be some of .*, ascending, got \(16, 8\)"),
        ({"strides": (7,)}, ValueError, "strides must be some of 2, 4, 8, 16, 32"),
        ({"image_size": 32}, ValueError, "must be a multiple of 16 from 48, got 32"),
        ({"image_size": 72}, ValueError, "must be a multiple of 16 from 48, got 72"),
    ],
)
def test_wrong_arguments_are_named(given, error, said):
    with pytest.raises(error, match=rf"Pyramid: .*{said}"):
        Pyramid(**{"model": SMALL, "weights": "random", "image_size": 64, **given})
    with pytest.raises(TypeError, match=r"Pyramid: rgb must be torch.uint8"):
        small().tokens(torch.zeros(1, 3, 64, 64))


def test_detectors_take_it_by_name_and_say_that_there_are_no_blocks():
    given = {"rgb": SMALL, "image_size": 64, "weights": "random"}
    detector = cmad.PatchCore(**given, modalities="2d")
    assert isinstance(detector.pipeline.extractors["rgb"], Pyramid)
    assert detector.pipeline.dims() == {"2d": small().dim}
    with pytest.raises(ValueError, match="variant 'tiny' prunes transformers; rgb 'test_resnet'"):
        cmad.PatchCore(**given, modalities="2d", variant="tiny")


def test_normals_look_at_the_surface_through_it():
    normals = Normals(small())
    xyz = torch.from_numpy(np.indices((64, 64, 1), np.float32).reshape(3, 64, 64)).permute(1, 2, 0)
    made = normals.points(xyz * 0.001)
    again = from_config(normals.config(), normals.state_dict())
    assert torch.equal(again.points(xyz * 0.001).features, made.features)
