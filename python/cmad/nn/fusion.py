"""M3DM's unsupervised feature fusion: each modality mapped so that patches of a place agree."""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from cmad.seeding import seeded

WIDENED, COMPARED = 4, 256
"""Of the hidden layers beside the input, and the width that modalities are compared in."""


class FeatureFusion(nn.Module):
    """Maps the rows of both modalities; side by side they are the fused row.

    M3DM, "Unsupervised Feature Fusion". For each modality LayerNorm, a linear layer to four times
    the width, GELU, and a linear layer back. In training, a further linear layer brings either to
    256 numbers, which are to be alike for the same patch and unlike for different ones. Names are
    those of the published checkpoints.
    """

    def __init__(self, dim_2d: int, dim_3d: int, seed: int) -> None:
        """Initialise from a seed; torch's global generator is left as it was.

        Args:
            dim_2d: D2.
            dim_3d: D3.
            seed: of the initial weights.

        """
        super().__init__()
        with seeded(seed):
            self.xyz_norm, self.xyz_mlp = nn.LayerNorm(dim_3d), _mlp(dim_3d)
            self.rgb_norm, self.rgb_mlp = nn.LayerNorm(dim_2d), _mlp(dim_2d)
            self.rgb_head = nn.Linear(dim_2d, COMPARED)
            self.xyz_head = nn.Linear(dim_3d, COMPARED)

    def forward(self, xyz: Tensor, rgb: Tensor) -> Tensor:
        """Fuse rows.

        Args:
            xyz: (..., D3) float32.
            rgb: (..., D2) float32, of the same patches.

        Returns:
            (..., D3 + D2) float32, the mapped 3D row before the 2D one.

        """
        return torch.cat([self.xyz_mlp(self.xyz_norm(xyz)), self.rgb_mlp(self.rgb_norm(rgb))], -1)

    def loss(self, xyz: Tensor, rgb: Tensor) -> Tensor:
        """Compute the patch-wise contrastive loss: each colour finds its own shape among all.

        Twice the cross entropy of the cosines, at temperature 1, as published.
        Patches of which any 3D channel is exactly 0 have no shape, and are left out.

        Args:
            xyz: (..., D3) float32.
            rgb: (..., D2) float32, of the same patches.

        Returns:
            A scalar; 0 where no patch is left.

        """
        xyz, rgb = xyz.flatten(0, -2), rgb.flatten(0, -2)
        with_shape = (xyz != 0).all(1)
        xyz, rgb = xyz[with_shape], rgb[with_shape]
        query = functional.normalize(self.rgb_head(self.rgb_mlp(self.rgb_norm(rgb))))
        key = functional.normalize(self.xyz_head(self.xyz_mlp(self.xyz_norm(xyz))))
        if len(query) == 0:
            return query.sum()  # has gradients, all 0
        own = torch.arange(len(query), device=query.device)
        return 2 * functional.cross_entropy(query @ key.T, own)


def _mlp(dim: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            fc1=nn.Linear(dim, WIDENED * dim), act=nn.GELU(), fc2=nn.Linear(WIDENED * dim, dim)
        )
    )


def learning_rate(highest: float, done: float, epochs: int) -> float:
    """Return the learning rate: up along a line in the first epoch, then half a cosine down to 0.

    Args:
        highest: that it reaches.
        done: epochs until now, with their fraction.
        epochs: in all.

    """
    if done < 1:
        return highest * done
    return highest * 0.5 * (1 + math.cos(math.pi * (done - 1) / max(epochs - 1, 1)))
