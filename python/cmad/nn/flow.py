"""AST's teacher: a normalising flow of maps that knows positions (Rudolph et al., WACV 2023).

The published network: docs/methods/ast.md goes from the equations to these lines.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from cmad.seeding import seeded

POSITIONS = 32
"""Channels of the positional encoding, half of them for each axis."""
KERNELS = (3, 3, 3, 5)
"""Pixels along each side of the convolutions, of each coupling block."""
SOFTNESS = 1.9
"""Scales are within exp(+-1.9): the soft clamping of Ardizzone et al."""
LARGEST = 1e6
"""Activations beyond this are cut off, as published."""


def positions(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Encode where a cell is: sines and cosines of its column, then of its row.

    Channel 2 i and 2 i + 1 of each half are sin and cos of the position times 10^(-4 i / 8).

    Args:
        height: rows.
        width: columns.
        device: of the encoding.

    Returns:
        (1, 32, height, width) float32.

    """
    each = POSITIONS // 2
    rate = torch.exp(torch.arange(0, each, 2) * (-math.log(10000.0) / each))

    def along(length: int) -> Tensor:
        angle = torch.arange(length)[:, None] * rate
        return torch.stack([angle.sin(), angle.cos()], -1).flatten(1).T  # (16, length)

    columns = along(width)[:, None].expand(-1, height, -1)
    rows = along(height)[:, :, None].expand(-1, -1, width)
    return torch.cat([columns, rows])[None].to(device)


class Subnet(nn.Module):
    """Two convolutions with a ReLU between, times a scalar that starts at 0."""

    def __init__(self, channels_in: int, channels_out: int, hidden: int, kernel: int) -> None:
        """Make the layers."""
        super().__init__()
        beside = {"padding": kernel // 2, "padding_mode": "replicate"}
        self.conv1 = nn.Conv2d(channels_in, hidden, kernel, **beside)  # type: ignore[arg-type]
        self.conv2 = nn.Conv2d(hidden, channels_out, kernel, **beside)  # type: ignore[arg-type]
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels_in, h, w) to (B, channels_out, h, w)."""
        made: Tensor = self.gamma * self.conv2(torch.relu(self.conv1(x)))
        return made


class Coupling(nn.Module):
    """An affine coupling block, which sees the position too.

    Of halves x1 and x2: y1 = e(s2) x1 + t2 with (s2, t2) = S2(x2), then y2 = e(s1) x2 + t1 with
    (s1, t1) = S1(y1); ln e(s) = 1.9 * 0.636 atan(s / 1.9).
    """

    def __init__(self, channels: int, hidden: int, kernel: int) -> None:
        """Make both networks.

        Args:
            channels: of what goes through, at least 2; of an odd number the first half has one
                less.
            hidden: channels between the convolutions.
            kernel: pixels along each side of these.

        """
        super().__init__()
        self.first, self.second = channels // 2, channels - channels // 2
        self.s1 = Subnet(self.first + POSITIONS, 2 * self.second, hidden, kernel)
        self.s2 = Subnet(self.second + POSITIONS, 2 * self.first, hidden, kernel)

    def forward(self, x: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (B, C, h, w) with the encoding at (B, 32, h, w).

        Returns:
            y (B, C, h, w), and the logarithm of the Jacobian's determinant in each cell, (B, h, w):
            with convolutions it is not a cell's own, but the sum over cells is that of the map.

        """
        x1, x2 = torch.split(x, [self.first, self.second], 1)
        log_e2, t2 = _affine(self.s2(torch.cat([x2, at], 1)))
        y1 = log_e2.exp() * x1 + t2
        log_e1, t1 = _affine(self.s1(torch.cat([y1, at], 1)))
        y2 = log_e1.exp() * x2 + t1
        y = torch.cat([y1, y2], 1).clamp(-LARGEST, LARGEST)
        return y, log_e1.sum(1) + log_e2.sum(1)

    def inverse(self, y: Tensor, at: Tensor) -> Tensor:
        """Undo `forward`, of values within 1e6."""
        y1, y2 = torch.split(y, [self.first, self.second], 1)
        log_e1, t1 = _affine(self.s1(torch.cat([y1, at], 1)))
        x2 = (y2 - t1) * (-log_e1).exp()
        log_e2, t2 = _affine(self.s2(torch.cat([x2, at], 1)))
        return torch.cat([(y1 - t2) * (-log_e2).exp(), x2], 1)


class Teacher(nn.Module):
    """Four coupling blocks, the channels permuted before each; the state has the published names.

    Before the training it only permutes. Not in the state: the permutations, which are NumPy's
    ``RandomState(k).permutation(channels)`` before block k.

    Args:
        channels: of the maps, at least 2.
        hidden: channels between the convolutions of a block.
        seed: of the initial weights.

    """

    def __init__(self, channels: int, hidden: int = 64, seed: int = 0) -> None:
        """Make the blocks."""
        super().__init__()
        with seeded(seed):
            blocks = [Coupling(channels, hidden, kernel) for kernel in KERNELS]
        # In the published list an input, a condition and the permutations are entries, too.
        self.module_list = nn.ModuleDict({str(3 + 2 * k): b for k, b in enumerate(blocks)})
        source = torch.arange(channels)
        for k in range(len(KERNELS)):
            order = torch.from_numpy(np.random.RandomState(k).permutation(channels))
            self.register_buffer(f"order{k}", order, persistent=False)
            source = source[order]
        self.register_buffer("source", source, persistent=False)
        self.source: Tensor
        """(C,) int64: which channel of the input each of the output is a scaled and shifted one
        of."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (B, C, h, w) to z (B, C, h, w) and the log-determinant in each cell, (B, h, w)."""
        made = list(self.steps(x))
        return made[-1][0], torch.stack([of_block for _, of_block in made]).sum(0)

    def steps(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what each block makes: its output and its log-determinant."""
        at = self._at(x)
        for order, block in self._blocks():
            x, logdet = block(x[:, order], at)
            yield x, logdet

    def inverse(self, z: Tensor) -> Tensor:
        """Return x (B, C, h, w) of z (B, C, h, w)."""
        at = self._at(z)
        for order, block in reversed(self._blocks()):
            z = block.inverse(z, at)[:, order.argsort()]
        return z

    def _blocks(self) -> list[tuple[Tensor, Coupling]]:
        blocks = self.module_list.values()
        return [(getattr(self, f"order{k}"), block) for k, block in enumerate(blocks)]  # type: ignore[misc]

    def _at(self, x: Tensor) -> Tensor:
        return positions(x.shape[-2], x.shape[-1], x.device).expand(len(x), -1, -1, -1)


def teacher_loss(z: Tensor, logdet: Tensor, mask: Tensor) -> Tensor:
    """Compute the negative log-likelihood of masked maps, a mean over all cells (AST, equation 3).

    Args:
        z: (B, C, h, w), the teacher's output.
        logdet: (B, h, w).
        mask: (B, 1, h, w) in [0, 1], how much of a cell is the part; cells of 0 count as well in
            what is divided by.

    Returns:
        A scalar: the mean of |z|^2 / 2 - logdet, each times the mask.

    """
    return (0.5 * (mask * z.square()).sum(1) - mask[:, 0] * logdet).mean()


def _affine(made: Tensor) -> tuple[Tensor, Tensor]:
    """Return ln e(s) and t of what a `Subnet` makes."""
    s, t = made.chunk(2, 1)
    return SOFTNESS * 0.636 * torch.atan(s / SOFTNESS), t
