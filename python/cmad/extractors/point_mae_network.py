"""The network behind ``PointMAE``, in the names of its published weights."""

from collections.abc import Callable, Iterable, Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from cmad.linear import linear

_ROWS = 4096  # points that the encoder takes at once: its hidden layer then stays at 8 MB
_ROWS_GPU = 1 << 17  # 128 MB of halves; fewer launches
_TAPS = {12: (4, 8, 12), 8: (2, 5, 8), 4: (2, 3, 4)}  # blocks whose outputs are features


class Network(nn.Module):
    """Point-MAE's encoder half, in the names of its published weights."""

    def __init__(self, width: int, heads: int, blocks: int) -> None:
        """Build ``blocks`` blocks of ``width`` channels."""
        super().__init__()
        self.taps = _TAPS.get(blocks, (blocks,))
        self.encoder = Encoder(width)
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, width))
        stack = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.blocks = nn.ModuleDict({"blocks": stack})
        self.norm = nn.LayerNorm(width)

    def forward(self, groups: Tensor, centre: Tensor, batch: bool = False) -> Tensor:
        """Turn groups (B, G, K, 3) around centres (B, G, 3) into features (B, G, D).

        ``batch`` normalises each cloud's groups by their own statistics.
        """
        if batch or groups.device.type == "cpu":
            x = torch.stack([self.encoder(cloud, batch) for cloud in groups])
        else:
            x = self.encoder(groups.flatten(0, 1)).unflatten(0, groups.shape[:2])
        with _in_full(centre):
            position = self.pos_embed(centre)
        features = []
        for i, block in enumerate(cast("nn.ModuleList", self.blocks["blocks"]), start=1):
            x = block(x + position)  # the position is added before every block
            if i in self.taps:
                features.append(self.norm(x))
        return torch.cat(features, -1)


class Block(nn.Module):
    """Transformer block: attention, then an MLP, each behind a LayerNorm and a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        """Build a block of ``width`` channels."""
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width, bias=False), "proj": nn.Linear(width, width)}
        )
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, G, width) to the same shape."""
        qkv = _applied(self.attn["qkv"], self.norm1(x))
        q, k, v = qkv.view(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + _applied(self.attn["proj"], attended)
        return x + _applied(self.mlp["fc2"], gelu(_applied(self.mlp["fc1"], self.norm2(x))))


Moments = tuple[Tensor, Tensor]  # mean and variance per channel


class Encoder(nn.Module):
    """Two shared MLPs over the points of a group, each followed by the maximum over the group.

    The first maximum is appended to every point of its group before the second MLP. What follows
    from that is used: that half of the second MLP's first layer is computed once per group, and
    the other half is one matrix with the layer before it, as nothing non-linear lies between.
    """

    def __init__(self, width: int) -> None:
        """Build an encoder to ``width`` channels."""
        super().__init__()
        self.first_conv = nn.Sequential(
            nn.Conv1d(3, 128, 1), nn.BatchNorm1d(128), nn.ReLU(), nn.Conv1d(128, 256, 1)
        )
        self.second_conv = nn.Sequential(
            nn.Conv1d(512, 512, 1), nn.BatchNorm1d(512), nn.ReLU(), nn.Conv1d(512, width, 1)
        )

    @property
    def norms(self) -> tuple[nn.BatchNorm1d, nn.BatchNorm1d]:
        """The two BatchNorms, in the order of computation."""
        return cast("nn.BatchNorm1d", self.first_conv[1]), cast(
            "nn.BatchNorm1d", self.second_conv[1]
        )

    def forward(self, groups: Tensor, batch: bool = False) -> Tensor:
        """Turn groups (G, K, 3) into tokens (G, width); ``batch`` uses their own statistics."""
        stored_moments = [
            (cast("Tensor", n.running_mean), cast("Tensor", n.running_var)) for n in self.norms
        ]
        first, second = self.moments(lambda: [groups]) if batch else stored_moments
        weight, bias = _rows(self.second_conv[3])
        tokens, done = None, 0
        for hidden in self._second_hidden(groups, first, second):
            some = linear(hidden.relu_(), weight, bias).amax(1)
            # One tensor for all: small ones, kept between the large ones of each chunk, would leave
            # gaps in the heap that take as much memory as all chunks together.
            tokens = some.new_empty(len(groups), len(weight)) if tokens is None else tokens
            tokens[done : done + len(some)] = some
            done += len(some)
        return cast("Tensor", tokens)

    def moments(self, clouds: Callable[[], Iterable[Tensor]]) -> tuple[Moments, Moments]:
        """Compute what the two BatchNorms normalise by, over all points of all groups (G, K, 3)."""
        weight, bias = _rows(self.first_conv[0])
        with _in_full(weight):
            first = _moments(linear(groups, weight, bias) for groups in clouds())
            second = _moments(h for groups in clouds() for h in self._second_hidden(groups, first))
        return first, second

    def _second_hidden(
        self, groups: Tensor, first: Moments, second: Moments | None = None
    ) -> Iterator[Tensor]:
        """Yield (g, K, 512) what goes into the second BatchNorm, or with ``second`` what comes out.

        Some groups at a time. Frozen BatchNorms are folded into the layers before them.
        """
        scale, shift = _affine(self.norms[0], first)
        w1, b1 = _rows(self.first_conv[0])
        w1, b1 = w1 * scale[:, None], b1 * scale + shift
        w2, b2 = _rows(self.first_conv[3])
        w3, b3 = (t.double() for t in _rows(self.second_conv[0]))  # so that folding rounds once
        if second is not None:
            scale, shift = (t.double() for t in _affine(self.norms[1], second))
            w3, b3 = w3 * scale[:, None], b3 * scale + shift
        of_maximum, of_point = torch.split(w3, w2.shape[0], dim=1)
        joined = (of_point @ w2.double()).to(w2.dtype)
        constant = (of_point @ b2.double() + b3).to(w2.dtype)
        of_maximum = of_maximum.to(w2.dtype)
        rows = _ROWS if groups.device.type == "cpu" else _ROWS_GPU
        for chunk in torch.split(groups, max(1, rows // groups.shape[1])):
            with _in_full(chunk):
                hidden = linear(chunk, w1, b1).relu_()
            maximum = linear(hidden, w2, b2).amax(1, keepdim=True)
            yield linear(hidden, joined, None).add_(linear(maximum, of_maximum, constant))


def _applied(layer: nn.Module, x: Tensor) -> Tensor:
    of = cast("nn.Linear", layer)
    return linear(x, of.weight, of.bias)


def _rows(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight (out, in) and bias of a convolution of length 1."""
    conv = cast("nn.Conv1d", layer)
    return conv.weight[:, :, 0], cast("Tensor", conv.bias)


def _affine(norm: nn.BatchNorm1d, moments: Moments) -> tuple[Tensor, Tensor]:
    """Return the scale and shift per channel that a frozen BatchNorm comes to."""
    mean, var = moments
    scale = norm.weight.double() / (var.double() + norm.eps).sqrt()
    shift = norm.bias.double() - mean.double() * scale
    return scale.to(norm.weight.dtype), shift.to(norm.weight.dtype)


def _moments(tensors: Iterable[Tensor]) -> Moments:
    """Return mean and variance (divided by the count) per last axis, in float64."""
    count = 0
    sums: list[Tensor] = []
    for tensor in tensors:
        rows = tensor.flatten(0, -2).double()
        count += len(rows)
        now = rows.sum(0), rows.square().sum(0)
        sums = [a + b for a, b in zip(sums, now, strict=True)] if sums else [*now]
    mean = sums[0] / count
    return mean, (sums[1] / count - mean.square()).clamp_min(0)


def _in_full(x: Tensor) -> torch.autocast:
    """Compute what takes coordinates in float32: halves of metres are a quarter of a millimetre."""
    return torch.autocast(x.device.type, enabled=False)
