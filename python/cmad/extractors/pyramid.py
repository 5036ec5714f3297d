"""A 2D extractor that is a convolutional network: layers of several strides, as BTF has them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from cmad import gpu
from cmad.extractors import weights as stored
from cmad.extractors._timm import timm
from cmad.ops._call import expect
from cmad.seeding import seeded
from cmad.spelling import meant

FAMILIES = {"resnet", "resnetv2", "regnet", "convnext", "densenet"}
"""Modules of timm whose models a detector takes by name for convolutional networks."""


class Pyramid:
    """Tokens of a frozen convolutional network: some of its layers, brought to one grid.

    Of each layer the mean over 3 x 3, without padding, spread over the finest layer's grid by
    adaptive pooling; their channels lie side by side (BTF). Of a WideResNet-50-2 at 224 pixels
    these are layers 2 and 3: 28 x 28 tokens of 512 + 1024. Layers behind the last one and the
    classifier are dropped. Always in evaluation mode.

    Args:
        model: name of a convolutional network of timm.
        strides: of the layers, in pixels of the image, ascending; a model's last layer of each.
        image_size: pixels along each side of the images, a multiple of the largest stride, 3
            times as much at least. None takes 224.
        weights: None takes the published ones (``cmad.extractors.weights``); ``"random"`` draws
            them under ``seed``; a path or a mapping gives them in timm's names.
        seed: for random weights. torch's global generator is not touched.

    Raises:
        TypeError: not a convolutional network of timm.
        ValueError: unknown name, strides or image size out of range, weights that do not fit.
        RuntimeError: the weights are not there.

    """

    image_size: int
    """Pixels along each side of the images."""
    dim: int
    """Channels of a token."""
    grid: tuple[int, int]
    """Rows and columns of tokens."""

    def __init__(
        self,
        model: str = "wide_resnet50_2",
        *,
        strides: Sequence[int] = (8, 16),
        image_size: int | None = None,
        weights: str | Path | Mapping[str, Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        """Build the network and get its weights."""
        self._name, self._strides, self._seed = model, tuple(strides), seed
        self._weights = stored.origin(weights)
        check_name(model)
        state: Mapping[str, Tensor] | None = None
        self._source = "given weights"
        if isinstance(weights, Mapping):
            state = stored.unwrap(weights)
        elif weights == "random":
            self._source = f"random weights (seed {seed})"
        elif weights is not None:
            state, self._source = stored.read(weights), f"weights of {weights}"
        else:
            state, source = stored.of_timm(model, "Pyramid")
            self._source = f"weights of {source}"
        with seeded(seed), torch.device("cpu" if state is None else "meta"):
            net = cast("Any", timm().create_model(model, num_classes=0))
        self._index, self.dim = _layers(net, model, self._strides)
        self._fit_image(224 if image_size is None else image_size)
        net.prune_intermediate_layers(list(self._index), prune_norm=True)
        if state is not None:
            own = net.state_dict()
            stored.load(net, {k: v for k, v in state.items() if k in own}, f"Pyramid {model}")
        self._net: nn.Module = net.eval().requires_grad_(False)
        cfg = net.pretrained_cfg
        self._shift, self._scale = (
            torch.tensor(cfg[look], dtype=torch.float32, device="cpu").view(3, 1, 1)
            for look in ("mean", "std")
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
        expect("Pyramid", rgb=(rgb, f"B 3 {size} {size}", torch.uint8))
        device = next(self._net.parameters()).device
        if rgb.device != device:
            raise ValueError(f"Pyramid: rgb must be on {device}, got {rgb.device}")
        with torch.no_grad():
            return self._tokens(rgb) if self._forward is None else self._forward(rgb)

    def _tokens(self, rgb: Tensor) -> Tensor:
        image = (rgb.float() / 255 - self._shift) / self._scale
        layers = cast("Any", self._net).forward_intermediates(
            image, indices=list(self._index), stop_early=True, intermediates_only=True
        )
        means = [functional.avg_pool2d(layer.float(), 3, stride=1) for layer in layers]
        return torch.cat([functional.adaptive_avg_pool2d(m, self.grid) for m in means], 1)

    def to(self, device: torch.device | str) -> "Pyramid":
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
        """Return the weights of the layers that are used, in timm's names."""
        return dict(self._net.state_dict())

    def fingerprint(self) -> str:
        """Return the SHA-256 over the names and values of the weights."""
        self._fingerprint = self._fingerprint or stored.fingerprint(self.state_dict())
        return self._fingerprint

    def config(self) -> dict[str, object]:
        """Return what ``from_config`` needs to build the extractor again, but the weights."""
        return {
            "kind": "pyramid",
            "model": self._name,
            "strides": list(self._strides),
            "image_size": self.image_size,
            "weights": self._weights,
            "seed": self._seed,
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], state: Mapping[str, Tensor] | None = None
    ) -> "Pyramid":
        """Build the extractor that ``config`` describes, with the weights of ``state`` if given.

        Raises:
            RuntimeError: the weights were passed in by a user and are not at hand.

        """
        weights = cast("str | None", config["weights"])
        if state is None and weights == "given":
            raise RuntimeError(
                "Pyramid: the model was trained with extractor weights that were passed in: save "
                "the model with include_extractors=True, or in Python pass the extractor again "
                "as rgb"
            )
        how: dict[str, Any] = {k: config[k] for k in ("strides", "image_size", "seed")}
        extractor = cls(str(config["model"]), weights=weights if state is None else state, **how)
        extractor._weights = weights
        if weights == "random":
            extractor._source = f"random weights (seed {extractor._seed})"
        return extractor

    def describe(self) -> str:
        """Say in one line what the extractor is and where its weights come from."""
        h, w = self.grid
        strides = " and ".join(map(str, self._strides))
        return (
            f"Pyramid {self._name}, strides {strides}, {self.image_size} px to {h}x{w} tokens of "
            f"{self.dim}, {self._source}"
        )

    def _fit_image(self, size: int) -> None:
        coarse, fine = self._strides[-1], self._strides[0]
        if size < 3 * coarse or size % coarse:
            raise ValueError(
                f"Pyramid: image_size must be a multiple of {coarse} from {3 * coarse}, got {size}"
            )
        self.image_size, self.grid = size, (size // fine, size // fine)


def convolutional(name: str) -> bool:
    """Tell whether a timm model, with or without a tag, is one of `FAMILIES`."""
    models = timm("timm.models")
    return bool(models.is_model(name) and models.is_model_in_modules(name, FAMILIES))


def check_name(name: str) -> None:
    """Raise where a name is no model of timm."""
    if not timm().is_model(name):
        known = timm().list_models()
        raise ValueError(
            f"Pyramid: model must be the name of a timm model, got {name!r}{meant(name, known)}"
        )


def _layers(net: Any, name: str, strides: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Return the positions of the layers of some strides, and their channels together."""
    layers = [dict(layer) for layer in getattr(net, "feature_info", ())]
    there = {layer["reduction"]: i for i, layer in enumerate(layers)}
    if not hasattr(net, "prune_intermediate_layers") or len(there) < 2:
        raise TypeError(f"Pyramid: model must be a convolutional network of timm, got {name}")
    if not strides or list(strides) != sorted(set(strides) & set(there)):
        raise ValueError(
            f"Pyramid: strides must be some of {', '.join(map(str, there))}, ascending, "
            f"got {strides}"
        )
    index = tuple(there[stride] for stride in strides)
    return index, sum(layers[i]["num_chs"] for i in index)
