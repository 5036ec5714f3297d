"""A 2D extractor that is a convolutional network: layers of several strides, as BTF has them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor

from cmad.extractors._convolutional import Convolutional, in_modules

FAMILIES = {"resnet", "resnetv2", "regnet", "convnext", "densenet"}
"""Modules of timm whose models a detector takes by name for convolutional networks."""


class Pyramid(Convolutional):
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

    kind = "pyramid"

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
        self._strides = tuple(strides)
        net, state = self._made(model, weights, seed)
        self._index, self.dim = _layers(net, model, self._strides)
        self._fit_image(224 if image_size is None else image_size)
        net.prune_intermediate_layers(list(self._index), prune_norm=True)
        self._keep(net, state)

    def _of_image(self, image: Tensor) -> Tensor:
        layers = cast("Any", self._net).forward_intermediates(
            image, indices=list(self._index), stop_early=True, intermediates_only=True
        )
        means = [functional.avg_pool2d(layer.float(), 3, stride=1) for layer in layers]
        return torch.cat([functional.adaptive_avg_pool2d(m, self.grid) for m in means], 1)

    def _arguments(self) -> dict[str, object]:
        return {"strides": list(self._strides), "image_size": self.image_size}

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
    return in_modules(name, FAMILIES)


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
