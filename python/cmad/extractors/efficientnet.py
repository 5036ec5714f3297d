"""A 2D extractor that is an EfficientNet, cut behind one of its blocks, as AST has it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch.nn.functional as functional
from torch import Tensor, nn

from cmad.extractors._convolutional import Convolutional, in_modules

FAMILY = "efficientnet"
"""Module of timm whose models are taken, where their name has the same word."""


class EfficientNet(Convolutional):
    """Tokens of a frozen EfficientNet: the output of one of its blocks.

    Of an EfficientNet-B5 at 768 pixels behind 36 of its 39 blocks, the usual number, these are
    24 x 24 tokens of 304 (AST). Blocks behind and the classifier are dropped. Always in evaluation
    mode.

    Convolutions with a stride are padded as for the image size that the network was trained at,
    456 pixels, whatever that of the images, as the published code does; TensorFlow's padding for
    768 would shift the tokens by a pixel of the layer at the last two of them. Models that are
    padded alike on both sides, without ``tf_``, stay so.

    Args:
        model: name of an EfficientNet of timm.
        block: blocks that are used; None takes all but those of the last stage.
        image_size: pixels along each side of the images. None takes 768.
        weights: None takes the published ones (``cmad.extractors.weights``); ``"random"`` draws
            them under ``seed``; a path or a mapping gives them in timm's names.
        seed: for random weights. torch's global generator is not touched.

    Raises:
        TypeError: no EfficientNet of timm.
        ValueError: unknown name, block or image size out of range, weights that do not fit.
        RuntimeError: the weights are not there.

    """

    kind = "efficientnet"

    def __init__(
        self,
        model: str = "tf_efficientnet_b5.aa_in1k",
        *,
        block: int | None = None,
        image_size: int | None = None,
        weights: str | Path | Mapping[str, Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        """Build the network and get its weights."""
        net, state = self._made(model, weights, seed)
        if not efficient(model):
            raise TypeError(f"EfficientNet: model must be an EfficientNet of timm, got {model}")
        self._block, self.dim = _cut(net, block)
        trained_at = int(net.pretrained_cfg["input_size"][-1])
        self.image_size = 768 if image_size is None else image_size
        side = _padded(net, self.image_size, trained_at)
        if side < 1:
            raise ValueError(
                f"EfficientNet: image_size must be large enough for a token, got {image_size}"
            )
        self.grid = side, side
        self._keep(net, state)

    def _of_image(self, image: Tensor) -> Tensor:
        net = cast("Any", self._net)
        made: Tensor = net.blocks(net.bn1(net.conv_stem(image)))
        return made.float()

    def _arguments(self) -> dict[str, object]:
        return {"block": self._block, "image_size": self.image_size}

    def describe(self) -> str:
        """Say in one line what the extractor is and where its weights come from."""
        h, w = self.grid
        return (
            f"EfficientNet {self._name}, {self._block} blocks, {self.image_size} px to {h}x{w} "
            f"tokens of {self.dim}, {self._source}"
        )


def efficient(name: str) -> bool:
    """Tell whether a timm model, with or without a tag, is an EfficientNet."""
    return FAMILY in name and in_modules(name, {FAMILY})


class _Fixed(nn.Conv2d):
    """A convolution with a padding that may differ by a pixel between sides; made of another."""

    beside: tuple[int, int]
    """Zeros before and behind, along both axes."""

    def forward(self, x: Tensor) -> Tensor:
        """Pad and convolve."""
        padded = functional.pad(x, self.beside * 2)
        return functional.conv2d(
            padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )


def _cut(net: Any, block: int | None) -> tuple[int, int]:
    """Drop the blocks that are not used, and what lies behind; return their number and channels."""
    lengths = [len(stage) for stage in net.blocks]
    count = sum(lengths[:-1]) if block is None else block
    if not 1 <= count <= sum(lengths):
        raise ValueError(f"EfficientNet: block must be in [1, {sum(lengths)}], got {block}")
    stages, left = [], count
    for stage in net.blocks:
        stages.append(nn.Sequential(*list(stage)[:left]))
        left -= len(stages[-1])
        if left == 0:
            break
    net.blocks = nn.Sequential(*stages)
    for name in ("conv_head", "bn2", "global_pool", "classifier"):
        setattr(net, name, nn.Identity())
    last = stages[-1][-1]
    projection = next(c for c in reversed(list(last.modules())) if isinstance(c, nn.Conv2d))
    return count, projection.out_channels


def _padded(net: Any, size: int, trained_at: int) -> int:
    """Fix the paddings of convolutions with TensorFlow's; return the tokens along each side."""
    for conv in (m for m in net.modules() if isinstance(m, nn.Conv2d)):
        kernel, stride = int(conv.kernel_size[0]), int(conv.stride[0])
        if stride == 1:
            continue
        if type(conv) is nn.Conv2d:
            before = behind = int(conv.padding[0])
        else:  # timm's, which pads by the size of what comes
            lacking = max(0, (-(-trained_at // stride) - 1) * stride + kernel - trained_at)
            before, behind = lacking // 2, lacking - lacking // 2
            conv.__class__ = _Fixed  # the weights stay where they are, under their names
            cast(_Fixed, conv).beside = before, behind
        size = (size + before + behind - kernel) // stride + 1
        trained_at = -(-trained_at // stride)
    return size
