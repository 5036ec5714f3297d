"""SAM's image encoder as 2D extractor: its last block's outputs, at any size, without the neck."""

import pytest
import torch
from timm.models.vision_transformer_sam import VisionTransformerSAM

from cmad.extractors import ViT


def encoder(size, seed=0):
    """Two blocks of attention in windows of 4 x 4 tokens, then one over all tokens."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = VisionTransformerSAM(
            img_size=size,
            patch_size=16,
            embed_dim=32,
            depth=3,
            num_heads=2,
            use_rel_pos=True,
            window_size=4,
            global_attn_indexes=(2,),
            neck_chans=8,
        )
        for weight in net.parameters():
            torch.nn.init.normal_(weight, std=0.1)
    return net.eval()


def images(size):
    draw = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=draw)


def normalised(extractor, rgb):
    look = (torch.tensor(extractor.config()[k]).view(3, 1, 1) for k in ("mean", "std"))
    mean, std = look
    return (rgb.float() / 255 - mean) / std


@pytest.mark.parametrize("block", [2, None])
def test_tokens_are_what_the_last_block_gives(block):
    net = encoder(128)
    extractor = ViT(net, block=block)
    assert (extractor.grid, extractor.dim, extractor.block) == ((8, 8), 32, block or 3)
    rgb = images(128)
    with torch.no_grad():
        x = net.patch_embed(normalised(extractor, rgb)) + net.pos_embed
        for one in list(net.blocks)[:block]:
            x = one(x)
    torch.testing.assert_close(extractor.tokens(rgb), x.permute(0, 3, 1, 2), rtol=0, atol=0)
    assert not [name for name in extractor.state_dict() if name.startswith(("neck", "head"))]


def test_another_size_is_what_the_encoder_itself_makes_of_it():
    net = encoder(128)
    extractor = ViT(net, image_size=64)
    rgb = images(64)
    whole = encoder(128)
    whole.neck = torch.nn.Identity()
    with torch.no_grad():
        want = whole.forward_features(normalised(extractor, rgb))
    assert extractor.grid == (4, 4)
    torch.testing.assert_close(extractor.tokens(rgb), want, rtol=0, atol=0)


def test_weights_stored_for_another_size_have_their_positions_resampled():
    stored, own = encoder(128, seed=3), encoder(64)
    assert stored.blocks[2].attn.rel_pos_h.shape != own.blocks[2].attn.rel_pos_h.shape
    extractor = ViT(own, weights=stored.state_dict())
    rgb = images(64)
    stored.neck = torch.nn.Identity()
    with torch.no_grad():
        want = stored.forward_features(normalised(extractor, rgb))  # resamples as it goes
    torch.testing.assert_close(extractor.tokens(rgb), want, rtol=1e-5, atol=1e-5)
