"""EfficientNets cut behind a block: which block, how they are padded, where weights come from."""

import pytest
import timm
import torch
import torch.nn.functional as functional

import cmad
from cmad.extractors import EfficientNet, from_config

SMALL = "tf_efficientnet_b0"


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, 64, 64), generator=generator, dtype=torch.uint8)


def small(**given):
    return EfficientNet(SMALL, **{"image_size": 64, "weights": "random", **given})


def test_of_b5_the_paddings_and_the_shape_are_the_published_ones():
    net = EfficientNet(weights="random")
    assert (net.dim, net.grid, net.image_size) == (304, (24, 24), 768)
    fixed = {n: m.beside for n, m in net._net.named_modules() if hasattr(m, "beside")}
    blocks = [f"blocks.{stage}.0.conv_dw" for stage in (1, 2, 3, 5)]  # blocks 3, 8, 13 and 27
    assert fixed == dict(
        zip(["conv_stem", *blocks], [(0, 1), (0, 1), (1, 2), (1, 1), (2, 2)], strict=True)
    )
    assert sum(len(stage) for stage in net._net.blocks) == 36
    assert net._net.bn1.eps == 1e-3


def test_at_the_size_that_it_was_trained_at_the_tokens_are_those_of_timm():
    size = 224
    net = small(image_size=size)
    image = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
    whole = timm.create_model(SMALL).eval()
    own = whole.state_dict() | net.state_dict()
    whole.load_state_dict(own)
    cfg = timm.get_pretrained_cfg(SMALL)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (cfg.mean, cfg.std))
    with torch.no_grad():
        x = whole.bn1(whole.conv_stem((image / 255 - mean) / std))
        for stage in whole.blocks[:-1]:
            x = stage(x)
    torch.testing.assert_close(net.tokens(image), x)


def test_at_another_size_it_is_padded_as_at_its_own(images):
    net = small(image_size=62, block=1)
    image = images[..., :62, :62].contiguous()
    with torch.no_grad():
        cfg = timm.get_pretrained_cfg(SMALL)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (cfg.mean, cfg.std))
        padded = functional.pad((image / 255 - mean) / std, (0, 1, 0, 1))
        stem = functional.conv2d(padded, net._net.conv_stem.weight, stride=2)
        want = net._net.blocks(net._net.bn1(stem))
    torch.testing.assert_close(net.tokens(image), want)
    assert net.grid == (31, 31)


def test_what_lies_behind_the_block_is_dropped(images):
    net = small(block=4)
    assert [len(stage) for stage in net._net.blocks] == [1, 2, 1]
    assert not any(name.startswith(("conv_head", "bn2", "classifier")) for name in net.state_dict())
    assert net.tokens(images).shape == (2, net.dim, *net.grid) == (2, 40, 8, 8)
    given = small(block=4, weights={**timm.create_model(SMALL).state_dict(), **net.state_dict()})
    assert torch.equal(given.tokens(images), net.tokens(images))


def test_models_without_tensorflows_padding_are_left_as_they_are(images):
    net = EfficientNet("efficientnet_b0", image_size=64, weights="random")
    assert not any(hasattr(module, "beside") for module in net._net.modules())
    assert net.tokens(images).shape == (2, net.dim, *net.grid) == (2, 192, 2, 2)


def test_it_comes_back_from_its_configuration_with_and_without_weights(images):
    net = small(block=5, seed=3)
    for state in (None, net.state_dict()):
        again = from_config(net.config(), state)
        assert torch.equal(again.tokens(images), net.tokens(images))
        assert again.config() == net.config()
        assert again.describe() == net.describe()
        assert again.fingerprint() == net.fingerprint()
    given = small(block=5, weights=net.state_dict())
    with pytest.raises(RuntimeError, match="EfficientNet: the model was trained with extractor"):
        from_config(given.config())


def test_wrong_names_blocks_and_images_are_named(images):
    with pytest.raises(ValueError, match="EfficientNet: model must be the name of a timm model"):
        EfficientNet("efficientnet_b99", weights="random")
    with pytest.raises(TypeError, match="must be an EfficientNet of timm, got test_resnet"):
        EfficientNet("test_resnet", weights="random")
    with pytest.raises(ValueError, match=r"block must be in \[1, 16\], got 17"):
        small(block=17)
    with pytest.raises(ValueError, match="EfficientNet: rgb"):
        small().tokens(images[..., :32])


def test_every_method_takes_one_by_name():
    detector = cmad.BTF(rgb=SMALL, weights="random", image_size=64)
    assert type(detector.pipeline.extractors["rgb"]) is EfficientNet
    with pytest.raises(ValueError, match="variant 'tiny' prunes transformers; rgb 'tf_eff"):
        cmad.BTF(rgb=SMALL, weights="random", variant="tiny")
