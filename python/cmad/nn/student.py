"""AST's student: a convolutional network that cannot be the teacher's like (WACV 2023)."""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from cmad.nn.flow import POSITIONS, positions
from cmad.seeding import seeded

SLOPE = 0.01
"""Of the LeakyReLU below 0."""


class Residual(nn.Module):
    """Twice a 3x3 convolution, batch normalisation and LeakyReLU, and the input added."""

    def __init__(self, channels: int) -> None:
        """Make the layers."""
        super().__init__()
        self.l1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.l2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, h, w) to the same shape."""
        made = functional.leaky_relu(self.bn1(self.l1(x)), SLOPE)
        return x + functional.leaky_relu(self.bn2(self.l2(made)), SLOPE)


class Student(nn.Module):
    """A convolution, four residual blocks, a convolution; the state has the published names.

    Among them is a ``gamma`` that nothing reads.

    Args:
        channels: of the maps.
        hidden: channels between.
        seed: of the initial weights.

    """

    def __init__(self, channels: int, hidden: int = 1024, seed: int = 0) -> None:
        """Make the layers."""
        super().__init__()
        with seeded(seed):
            self.conv1 = nn.Conv2d(channels + POSITIONS, hidden, 3, padding=1)
            self.conv2 = nn.Conv2d(hidden, channels, 3, padding=1)
            self.res = nn.ModuleList([Residual(hidden) for _ in range(4)])
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Predict the teacher's output (B, C, h, w) from its input, of the same shape."""
        at = positions(x.shape[-2], x.shape[-1], x.device).expand(len(x), -1, -1, -1)
        x = functional.leaky_relu(self.conv1(torch.cat([at, x], 1)), SLOPE)
        for block in self.res:
            x = block(x)
        predicted: Tensor = self.conv2(x)
        return predicted


def distances(of_teacher: Tensor, of_student: Tensor, mask: Tensor) -> Tensor:
    """Compute how far the student is from the teacher in each cell and channel.

    Args:
        of_teacher: (B, C, h, w), z.
        of_student: (B, C, h, w).
        mask: (B, 1, h, w) in [0, 1].

    Returns:
        (B, C, h, w), squared differences times the mask. Their mean is the student's loss (AST,
        equation 4), that over channels the anomaly map.

    """
    return mask * (of_teacher - of_student).square()
