"""The 2D extractor: a frozen vision transformer of timm."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from cmad import gpu
from cmad.extractors import weights as stored
from cmad.extractors._timm import timm
from cmad.extractors.vit_network import Transformer, arguments_of, bare
from cmad.ops._call import expect
from cmad.seeding import seeded
from cmad.spelling import meant

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class ViT:
    """Tokens of a frozen vision transformer, cut after a block, then its final norm.

    Class token and registers are dropped; so are the blocks that are not used, the pooling and
    the classifier, which frees their memory. Always in evaluation mode. The position embedding
    is resampled by timm where the image size is not the one it was trained for. SAM's image
    encoder, which has no final norm, gives its last block's outputs, before its neck.

    Args:
        model: name of a vision transformer of timm, or one as a module, which is copied.
        block: the last block that is computed, counted from 1; None computes all.
        image_size: pixels along each side of the images, a multiple of the patch size. None: 224
            for a name, a module's own size.
        weights: None takes the published ones of a name (``cmad.extractors.weights``) and leaves
            a module's as they are; ``"random"`` draws them under ``seed`` (names only); a path or
            a mapping gives them in timm's names, in any floating-point type.
        seed: for random weights. torch's global generator is not touched.

    Raises:
        TypeError: not a vision transformer of timm.
        ValueError: unknown name, block or image size out of range, weights that do not fit.
        RuntimeError: the weights are not there.

    """

    image_size: int
    """Pixels along each side of the images."""
    dim: int
    """Channels of a token."""
    grid: tuple[int, int]
    """Rows and columns of tokens."""
    block: int
    """The last block that is computed, counted from 1."""

    def __init__(
        self,
        model: str | nn.Module = "vit_base_patch8_224.dino",
        *,
        block: int | None = None,
        image_size: int | None = None,
        weights: str | Path | Mapping[str, Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        """Build the transformer and get its weights."""
        if isinstance(model, nn.Module) and weights == "random":
            raise ValueError('ViT: weights must not be "random" for a module, which brings its own')
        self._name = model if isinstance(model, str) else type(model).__name__
        self._is_module = isinstance(model, nn.Module)
        self._weights = stored.origin(weights) if isinstance(model, str) else "given"
        self._seed = seed
        state: Mapping[str, Tensor] | None = None
        self._source = "given weights"
        self._published: list[str] | None = None
        if isinstance(weights, Mapping):
            state = stored.unwrap(weights)
        elif weights == "random":
            self._source = f"random weights (seed {seed})"
        elif weights is not None:
            state, self._source = stored.read(weights), f"weights of {weights}"
        elif isinstance(model, str):
            _check_name(model)
            state, source = stored.of_timm(model)
            self._published = stored.published(model)
            self._source = f"weights of {source}"
        net = copy.deepcopy(model) if isinstance(model, nn.Module) else None
        if net is None:
            net = _create(str(model), image_size or 224, seed, bare=state is not None)
        self._fit_image(net, image_size)
        self._cut(net, block)
        if state is not None:
            _load(net, state, self._name)
            if any(t.is_meta for t in net.buffers()):  # what no file holds, such as rotary angles
                full = _create(str(model), self.image_size, seed, bare=False)
                self._cut(full, block)
                _load(full, state, self._name)
                net = full
        self._plain = arguments_of(net)
        if self._plain is not None:
            net = Transformer.of(self._plain, net)
        self._net = net.eval().requires_grad_(False)
        cfg = getattr(net, "pretrained_cfg", None) or _IMAGENET
        self._mean, self._std = tuple(cfg["mean"]), tuple(cfg["std"])
        self._shift, self._scale = (
            torch.tensor(look, dtype=torch.float32, device="cpu").view(3, 1, 1)
            for look in (self._mean, self._std)
        )
        self._fingerprint: str | None = None
        self._forward: gpu.Graphed | None = None

    def tokens(self, rgb: Tensor) -> Tensor:
        """Compute the tokens of images.

        Args:
            rgb: (B, 3, R, R) uint8, R the image size, on the extractor's device.

        Returns:
            (B, D, h, w) float32.

        """
        size = self.image_size
        expect("ViT", rgb=(rgb, f"B 3 {size} {size}", torch.uint8))
        device = next(self._net.parameters()).device
        if rgb.device != device:
            raise ValueError(f"ViT: rgb must be on {device}, got {rgb.device}")
        with torch.no_grad():
            return self._tokens(rgb) if self._forward is None else self._forward(rgb)

    def _tokens(self, rgb: Tensor) -> Tensor:
        net = cast("Any", self._net)
        weight = next(self._net.parameters())
        image = ((rgb.float() / 255 - self._shift) / self._scale).to(weight.dtype)
        out = net.forward_features(image)
        if out.ndim == 4:  # SAM's, a map
            return cast(Tensor, out.float())
        # Models that pool by averaging have their final norm here, and none before.
        out = getattr(net, "fc_norm", nn.Identity())(out)
        tokens: Tensor = out[:, net.num_prefix_tokens :].float()
        return tokens.transpose(1, 2).reshape(len(rgb), self.dim, *self.grid)

    def to(self, device: torch.device | str) -> "ViT":
        """Move the weights to a device; return the extractor."""
        self._net.to(device)
        self._shift, self._scale = self._shift.to(device), self._scale.to(device)
        if self._forward is not None:  # graphs read the weights where they were
            self.compile()
        return self

    def compile(self) -> None:
        """Run as a CUDA graph from here on, see `cmad.gpu.Graphed`; on the CPU nothing changes."""
        self._forward = gpu.Graphed(self._tokens)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights of the blocks that are used, in timm's names."""
        return dict(self._net.state_dict())

    def fingerprint(self) -> str:
        """Return the SHA-256 over the names and values of the weights."""
        self._fingerprint = self._fingerprint or stored.fingerprint(self.state_dict())
        return self._fingerprint

    def config(self) -> dict[str, object]:
        """Return what ``from_config`` needs to build the extractor again, but the weights."""
        return {
            "kind": "vit",
            "model": self._plain if self._is_module else self._name,
            "plain": None if self._is_module else self._plain,
            "published": self._published,
            "block": self.block,
            "image_size": self.image_size,
            "weights": self._weights,
            "seed": self._seed,
            "mean": list(self._mean),
            "std": list(self._std),
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], state: Mapping[str, Tensor] | None = None
    ) -> "ViT":
        """Build the extractor that ``config`` describes, with the weights of ``state`` if given.

        Raises:
            RuntimeError: the weights or the module were passed in by a user and are not at hand.

        """
        model, weights = config["model"], cast("str | None", config["weights"])
        look = {k: config[k] for k in ("mean", "std")}
        given: dict[str, Any] = {k: config[k] for k in ("block", "image_size", "seed")}
        if model is None:
            raise RuntimeError(
                "ViT: the model was trained with a module that was passed in and cannot be built "
                "from its description: in Python pass it again as rgb"
            )
        if state is None and weights == "given":
            raise RuntimeError(
                "ViT: the model was trained with extractor weights that were passed in: "
                "save the model with include_extractors=True, or in Python pass the extractor "
                "again as rgb"
            )
        if isinstance(model, dict):
            extractor = cls(bare(model, look), weights=state, **given)
        else:
            extractor = cls._named(str(model), weights, state, config, look, given)
        extractor._weights = weights
        if weights == "random":
            extractor._source = f"random weights (seed {extractor._seed})"
        return extractor

    @classmethod
    def _named(
        cls,
        name: str,
        weights: str | None,
        state: Mapping[str, Tensor] | None,
        config: Mapping[str, object],
        look: Mapping[str, object],
        given: dict[str, Any],
    ) -> "ViT":
        """Build a model that was given by name, without timm where it is a plain transformer."""
        plain = cast("dict[str, Any] | None", config.get("plain"))
        published = cast("list[str] | None", config.get("published"))
        found, source = state, "given weights"
        if plain is not None and state is None and weights != "random":
            found, source = stored.at_hand(name, weights, published)
        if plain is not None and found is not None:
            try:
                extractor = cls(bare(plain, look), weights=found, **given)
            except ValueError:  # a file in another form than timm's, which knows some of them
                pass
            else:
                extractor._name, extractor._is_module, extractor._source = name, False, source
                extractor._published = published
                return extractor
        return cls(name, weights=weights if state is None else state, **given)

    def describe(self) -> str:
        """Say in one line what the extractor is and where its weights come from."""
        h, w = self.grid
        return (
            f"ViT {self._name}, {self.block} blocks, {self.image_size} px to {h}x{w} tokens of "
            f"{self.dim}, {self._source}"
        )

    def _fit_image(self, net: nn.Module, image_size: int | None) -> None:
        """Check that the module is a vision transformer; set what follows from the image size."""
        vit = cast("Any", net)
        if _is_sam(net):  # no class token; takes any size, and resamples its positions for it
            vit.num_prefix_tokens, vit.dynamic_img_size = 0, True
        needed = ("patch_embed", "blocks", "num_prefix_tokens", "forward_features", "embed_dim")
        if not all(hasattr(net, name) for name in needed):
            raise TypeError(f"ViT: model must be a vision transformer of timm, got {self._name}")
        own, patch = vit.patch_embed.img_size, vit.patch_embed.patch_size
        self.image_size = (own[0] if self._is_module else 224) if image_size is None else image_size
        if self.image_size < 1 or self.image_size % patch[0] or self.image_size % patch[1]:
            raise ValueError(
                f"ViT: image_size must be a positive multiple of the patch size {patch[0]}, "
                f"got {self.image_size}"
            )
        wanted = (self.image_size, self.image_size)
        if tuple(own) != wanted and not getattr(net, "dynamic_img_size", False):
            vit.set_input_size(img_size=wanted)
        self.grid = (self.image_size // patch[0], self.image_size // patch[1])
        self.dim = vit.embed_dim

    def _cut(self, net: nn.Module, block: int | None) -> None:
        """Drop the blocks that are not used, the pooling and the classifier."""
        vit = cast("Any", net)
        self.block = len(vit.blocks) if block is None else block
        if not 1 <= self.block <= len(vit.blocks):
            raise ValueError(f"ViT: block must be in [1, {len(vit.blocks)}], got {block}")
        vit.blocks = vit.blocks[: self.block]
        if _is_sam(net):
            vit.neck = nn.Identity()
        vit.reset_classifier(0, "")


def _is_sam(net: nn.Module) -> bool:
    """Tell SAM's image encoder, whose tokens lie on a map throughout."""
    return hasattr(net, "neck") and hasattr(net, "blocks")


def _check_name(name: str) -> None:
    if not timm().is_model(name):
        raise ValueError(_no_model(name))


def _no_model(name: str) -> str:
    known = [*timm().list_models(pretrained=True), *timm().list_models()]
    return f"ViT: model must be the name of a timm model, got {name!r}{meant(name, known)}"


def _create(name: str, image_size: int, seed: int, *, bare: bool) -> nn.Module:
    """Create a timm model; ``bare`` leaves its weights without memory, as they are to be loaded."""
    _check_name(name)
    with seeded(seed), torch.device("meta" if bare else "cpu"):
        for size in ({"dynamic_img_size": True}, {"img_size": image_size}):
            try:
                return cast("nn.Module", timm().create_model(name, num_classes=0, **size))
            except TypeError:  # this kind of model does not take the argument
                continue
            except RuntimeError as error:  # of a name whose end, the weights, is not known
                if "pretrained tag" not in str(error):
                    raise
                raise ValueError(_no_model(name)) from error
    raise TypeError(f"ViT: model must be a vision transformer of timm, got {name}")


def _load(net: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load weights without what ``_cut`` dropped, at the grid that the model was made for."""
    vit = cast("Any", net)
    unused = ("head.", "head_dist.", "attn_pool.", *(("neck.",) if _is_sam(net) else ()))
    kept = {
        k: v
        for k, v in state.items()
        if not k.startswith(unused)
        and not (k.startswith("blocks.") and int(k.split(".")[1]) >= len(vit.blocks))
    }
    stored_grid, own = kept.get("pos_embed"), getattr(net, "pos_embed", None)
    if _is_sam(net):
        kept = {k: _sam_positions(t, k, net) for k, t in kept.items()}
    elif stored_grid is not None and own is not None and stored_grid.shape != own.shape:
        kept["pos_embed"] = timm("timm.layers.pos_embed").resample_abs_pos_embed(
            stored_grid.float(),
            new_size=list(vit.patch_embed.grid_size),
            num_prefix_tokens=0 if getattr(net, "no_embed_class", False) else vit.num_prefix_tokens,
        )
    stored.load(net, kept, f"ViT {name}")


def _sam_positions(values: Tensor, name: str, net: nn.Module) -> Tensor:
    """Bring SAM's positions, stored for another grid, to the model's own, as SAM itself does.

    They are absolute, (1, h, w, D), and for each block relative along rows and columns, one
    (2 h - 1, D) each.
    """
    own = net.state_dict().get(name)
    if own is None or own.shape == values.shape:
        return values
    if name == "pos_embed" and values.ndim == 4:
        resampled = timm("timm.layers.pos_embed").resample_abs_pos_embed_nhwc
        return cast(Tensor, resampled(values.float(), list(own.shape[1:3])))
    if name.endswith(("rel_pos_h", "rel_pos_w")) and values.ndim == 2:
        along = functional.interpolate(values.float().T[None], size=len(own), mode="linear")
        return along[0].T
    return values
