"""The plain vision transformer, as timm's `VisionTransformer` computes it, without timm.

timm and the torchvision that it imports take longer to import than torch does. What is here gives
the same numbers under the same names of the weights, bit for bit where torch multiplies
(`cmad.linear`); timm is asked where a model is made by its name, and for all other transformers.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from cmad.extractors._timm import timm
from cmad.linear import linear

EPS = 1e-6
"""Of all norms."""
_OF_CLASSIFIERS = ("num_classes", "global_pool")
"""Arguments that model files of earlier versions have beside."""


class Transformer(nn.Module):
    """Patches, positions, blocks and the final norms of a vision transformer; no classifier.

    Args are those of timm's class.
    """

    def __init__(
        self,
        *,
        img_size: tuple[int, int],
        patch_size: tuple[int, int],
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_norm: bool = False,
        init_values: float | None = None,
        class_token: bool = True,
        no_embed_class: bool = False,
        reg_tokens: int = 0,
        pre_norm: bool = False,
        fc_norm: bool = False,
        dynamic_img_size: bool = False,
    ) -> None:
        """Make the layers; their weights are yet to be loaded."""
        super().__init__()
        self.arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        """What it is made with."""
        self.embed_dim, self.dynamic_img_size = embed_dim, dynamic_img_size
        self.no_embed_class = no_embed_class
        self.num_prefix_tokens = int(class_token) + reg_tokens
        self.patch_embed = _Patches(img_size, patch_size, embed_dim, bias=not pre_norm)
        rows, columns = self.patch_embed.grid_size
        positions = rows * columns + (0 if no_embed_class else self.num_prefix_tokens)
        self.cls_token = _weights(1, 1, embed_dim) if class_token else None
        self.reg_token = _weights(1, reg_tokens, embed_dim) if reg_tokens else None
        self.pos_embed = _weights(1, positions, embed_dim)
        self.norm_pre = nn.LayerNorm(embed_dim, EPS) if pre_norm else nn.Identity()
        self.blocks = nn.Sequential(
            *(
                _Block(embed_dim, num_heads, int(embed_dim * mlp_ratio), qkv_bias, qk_norm, scaled)
                for scaled in [bool(init_values)] * depth
            )
        )
        self.norm = nn.Identity() if fc_norm else nn.LayerNorm(embed_dim, EPS)
        self.fc_norm = nn.LayerNorm(embed_dim, EPS) if fc_norm else nn.Identity()

    @classmethod
    def of(cls, arguments: Mapping[str, Any], net: nn.Module) -> "Transformer":
        """Make one of another's `arguments_of` that shares its weights."""
        made = bare(arguments, {"mean": None, "std": None})
        made.load_state_dict(net.state_dict(), assign=True)
        vars(made)["pretrained_cfg"] = getattr(net, "pretrained_cfg", None)
        return made

    def forward_features(self, image: Tensor) -> Tensor:
        """Turn normalised images (B, 3, H, W) into tokens (B, prefix + h w, D)."""
        map_ = self.patch_embed.proj(image)
        x = map_.flatten(2).transpose(1, 2)
        if self.dynamic_img_size:  # as timm lays it out, so that each sum is in the same order
            x = map_.permute(0, 2, 3, 1).reshape(len(x), -1, self.embed_dim)
        x = self.norm_pre(self._positioned(x, map_.shape[2:]))
        return cast(Tensor, self.norm(self.blocks(x)))

    def _positioned(self, x: Tensor, grid: torch.Size) -> Tensor:
        """Put the prefix tokens in front, and add the positions to all or to the patches alone."""
        tokens = [t for t in (self.cls_token, self.reg_token) if t is not None]
        prefix = [t.expand(len(x), -1, -1) for t in tokens]
        if self.no_embed_class:
            return torch.cat([*prefix, x + self._positions(grid)], 1)
        return torch.cat([*prefix, x], 1) + self._positions(grid)

    def _positions(self, grid: torch.Size) -> Tensor:
        """The positions, resampled where the image's grid is not the one they were learnt for."""
        own = self.patch_embed.grid_size
        if tuple(grid) == own:
            return self.pos_embed
        count = 0 if self.no_embed_class else self.num_prefix_tokens
        map_ = self.pos_embed[:, count:].float().reshape(1, *own, -1).permute(0, 3, 1, 2)
        map_ = functional.interpolate(map_, size=tuple(grid), mode="bicubic", antialias=True)
        of_patches = map_.permute(0, 2, 3, 1).reshape(1, -1, self.embed_dim)
        return torch.cat([self.pos_embed[:, :count], of_patches.to(self.pos_embed.dtype)], 1)

    def reset_classifier(self, classes: int, pool: str) -> None:
        """Do nothing: there is none."""


class _Patches(nn.Module):
    def __init__(
        self, img_size: tuple[int, int], patch_size: tuple[int, int], dim: int, bias: bool
    ) -> None:
        super().__init__()
        self.img_size, self.patch_size = tuple(img_size), tuple(patch_size)
        self.grid_size = tuple(s // p for s, p in zip(self.img_size, self.patch_size, strict=True))
        size = cast("tuple[int, int]", self.patch_size)
        self.proj = nn.Conv2d(3, dim, kernel_size=size, stride=size, bias=bias)


class _Block(nn.Module):
    def __init__(
        self, dim: int, heads: int, hidden: int, qkv_bias: bool, qk_norm: bool, scaled: bool
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, EPS), nn.LayerNorm(dim, EPS)
        self.attn = _Attention(dim, heads, qkv_bias, qk_norm)
        self.mlp = nn.ModuleDict({"fc1": _Linear(dim, hidden), "fc2": _Linear(hidden, dim)})
        self.ls1, self.ls2 = (_Scale(dim) if scaled else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        hidden = functional.gelu(self.mlp["fc1"](self.norm2(x)))
        return cast(Tensor, x + self.ls2(self.mlp["fc2"](hidden)))


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int, qkv_bias: bool, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = _Linear(dim, 3 * dim, bias=qkv_bias)
        self.q_norm, self.k_norm = (
            nn.LayerNorm(dim // heads, EPS) if qk_norm else nn.Identity() for _ in range(2)
        )
        self.proj = _Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        seen = functional.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)
        return cast(Tensor, self.proj(seen.transpose(1, 2).reshape(B, N, C)))


class _Linear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class _Scale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = _weights(dim)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def _weights(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape))


def bare(arguments: Mapping[str, Any], look: Mapping[str, object]) -> Transformer:
    """Make one whose weights, without memory as yet, are to be loaded.

    Args:
        arguments: from `arguments_of`.
        look: mean and standard deviation that images are normalised by.

    """
    with torch.device("meta"):
        made = Transformer(**{k: v for k, v in arguments.items() if k not in _OF_CLASSIFIERS})
    vars(made)["pretrained_cfg"] = dict(look)
    return made


def arguments_of(net: nn.Module) -> dict[str, Any] | None:
    """Return the arguments that build this module, or None where it is no plain transformer.

    Args:
        net: a module of timm's, or a `Transformer`; without classifier.

    """
    if isinstance(net, Transformer):
        return {**net.arguments, "depth": len(net.blocks)}
    kind = timm("timm.models.vision_transformer").VisionTransformer
    hooked = (
        m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in net.modules()
    )
    if type(net) is not kind or any(hooked):
        return None
    vit = cast("Any", net)
    attn, mlp = vit.blocks[0].attn, vit.blocks[0].mlp
    arguments: dict[str, Any] = {
        "img_size": list(vit.patch_embed.img_size),
        "patch_size": list(vit.patch_embed.patch_size),
        "embed_dim": vit.embed_dim,
        "depth": len(vit.blocks),
        "num_heads": attn.num_heads,
        "mlp_ratio": mlp.fc1.out_features / vit.embed_dim,
        "qkv_bias": attn.qkv.bias is not None,
        "qk_norm": not isinstance(attn.q_norm, nn.Identity),
        "init_values": 1.0 if hasattr(vit.blocks[0].ls1, "gamma") else None,
        "class_token": vit.cls_token is not None,
        "no_embed_class": vit.no_embed_class,
        "reg_tokens": vit.num_reg_tokens,
        "pre_norm": not isinstance(vit.norm_pre, nn.Identity),
        "fc_norm": not isinstance(vit.fc_norm, nn.Identity),
        "dynamic_img_size": vit.dynamic_img_size,
    }
    with torch.device("meta"):
        again = kind(**arguments, num_classes=0, global_pool="")
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (again, net)]
    # The printed tree shows the kind, sizes and constants of every layer.
    return arguments if repr(again) == repr(net) and shapes[0] == shapes[1] else None
