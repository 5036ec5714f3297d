"""G2SF's Local Scale Prediction Network and the global scales of the modalities.

Modalities come in the order 2D, 3D everywhere: in joint rows, in w, in sigma and in distances.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding  # its gradient takes half as long as that of an index

from cmad.seeding import seeded

HIDDEN, EMBEDDED, REGRESSED = 512, 128, 256
"""Widths of the layers; the paper names none, these are the published code's."""


class Block(nn.Module):
    """A linear layer, under its published name."""

    def __init__(self, features_in: int, features_out: int) -> None:
        """Make the layer."""
        super().__init__()
        self.linear = nn.Linear(features_in, features_out)


class Branch(nn.Module):
    """Encodes directions or prototypes: two linear layers, ReLU and dropout between them."""

    def __init__(self, features_in: int) -> None:
        """Make the layers."""
        super().__init__()
        self.network = nn.ModuleList([Block(features_in, HIDDEN), Block(HIDDEN, EMBEDDED)])

    @property
    def first(self) -> nn.Linear:
        """The first layer, which is linear in each modality."""
        return self.network[0].linear  # type: ignore[return-value]

    @property
    def second(self) -> nn.Linear:
        """The second layer."""
        return self.network[1].linear  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class Local:
    """Joint features in the local spaces of their neighbours in two banks."""

    feature: Tensor
    """(N, D2 + D3) float32."""
    rows: tuple[Tensor, Tensor]
    """(U2, D2) and (U3, D3) float32, the prototypes that occur."""
    index: Tensor
    """(N, J, 2) int64 into ``rows``, nearest first; ranks are counted in each modality."""
    distance: Tensor
    """(N, J, 2) float32, Euclidean, not squared, of feature to prototype (G2SF, equation 1)."""


class LSPN(nn.Module):
    """Predicts how much a distance counts in its direction, for both modalities at once.

    Two branches encode the prototypes and the directions; w = exp(tanh(.)) in [1/e, e] (G2SF,
    equation 2 and figure 4). The names of the layers are those of the published checkpoints.

    `forward` is the definition. `local` gives the same in the local spaces of many neighbours: the
    first layers are linear, so their products are made once per feature and once per prototype and
    combined, instead of once per pair.
    """

    def __init__(
        self, dim_2d: int, dim_3d: int, seed: int, *, dropout: float = 0.5, joint: bool = False
    ) -> None:
        """Initialise from a seed; torch's global generator is left as it was.

        Args:
            dim_2d: D2.
            dim_3d: D3.
            seed: of the initial weights and of dropout.
            dropout: share of the hidden values that training drops, rounded to 1/256.
            joint: see `directions`.

        """
        super().__init__()
        self.dims, self.dropout, self.joint = (dim_2d, dim_3d), dropout, joint
        # Entries of unit vectors are so small beside those of prototypes, which have a deviation of
        # 1, that the network would hardly see directions at first.
        self.gain = (1.0, 1.0) if joint else (dim_2d**0.5, dim_3d**0.5)
        with seeded(seed):
            self.residual_transformer = Branch(dim_2d + dim_3d)
            self.transformer = Branch(dim_2d + dim_3d)
            self.regressor = nn.Sequential(
                nn.Linear(2 * EMBEDDED, REGRESSED),
                nn.ReLU(),
                nn.Identity(),  # where the published network drops; here `_dropped` does
                nn.Linear(REGRESSED, 2),
            )
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, direction: Tensor, prototype: Tensor) -> Tensor:
        """Predict w (N, 2) from directions and prototypes, (N, D2 + D3) each."""
        parts = zip(torch.split(direction, list(self.dims), -1), self.gain, strict=True)
        seen = torch.cat([part * gain for part, gain in parts], -1)
        return self.scales(self.residual_transformer.first(seen), self.transformer.first(prototype))

    def local(self, at: Local) -> Tensor:
        """Predict w (N, J, 2) in local spaces."""
        towards, near = self.residual_transformer.first, self.transformer.first
        length = lengths(at.distance, self.joint)
        direction: Tensor = towards.bias
        prototype: Tensor = near.bias
        for m, some in enumerate(torch.split(at.feature, list(self.dims), 1)):
            w, which = self.columns(towards, m), at.index[..., m]
            straight = (some @ w.T)[:, None] - embedding(which, at.rows[m] @ w.T)
            direction = direction + length[..., m, None] * self.gain[m] * straight
            prototype = prototype + embedding(which, at.rows[m] @ self.columns(near, m).T)
        return self.scales(direction, prototype)

    def columns(self, layer: nn.Linear, modality: int) -> Tensor:
        """Return the weights (512, D) of a first layer that one modality meets."""
        return torch.split(layer.weight, list(self.dims), 1)[modality]

    def scales(self, direction: Tensor, prototype: Tensor) -> Tensor:
        """Predict w (..., 2) from what the first layers make, (..., 512) each."""
        hidden = [
            branch.second(self._dropped(torch.relu(first)))
            for branch, first in (
                (self.residual_transformer, direction),
                (self.transformer, prototype),
            )
        ]
        wide, active, _, last = self.regressor
        both = self._dropped(active(wide(torch.cat(hidden, -1))))
        return torch.exp(torch.tanh(last(both)))

    def weights(self) -> list[Tensor]:
        """Return the weights of all linear layers, without biases: what is regularised."""
        return [m.weight for m in self.modules() if isinstance(m, nn.Linear)]

    def _dropped(self, values: Tensor) -> Tensor:
        """Drop out in training, from the network's own generator."""
        if not self.training or self.dropout == 0:
            return values
        # A byte of a random number decides for each value: eight times as fast as a number each.
        words = torch.empty(-(-values.numel() // 8), dtype=torch.int64)
        words.random_(torch.iinfo(torch.int64).min, None, generator=self.generator)
        dropped = round(self.dropout * 256)
        kept = words.view(torch.uint8)[: values.numel()].view(values.shape) >= dropped
        return values * kept * (256 / (256 - dropped))


def lengths(distance: Tensor, joint: bool) -> Tensor:
    """Return what differences of feature and prototype are multiplied by to be directions.

    Args:
        distance: (..., 2) float32, of both modalities.
        joint: as published, the difference of both modalities together has length 5, and less
            where they are nearer than 1e-3. Otherwise each modality's has length 1 (G2SF, equation
            1), and at distance 0, where there is no direction, all entries are 0.

    """
    if joint:
        together = distance.square().sum(-1, keepdim=True).sqrt().clamp_min(1e-3)
        return (5 / together).expand_as(distance)
    return torch.where(distance > 0, 1 / distance.clamp_min(1e-30), 0.0)


def directions(difference: Tensor, dims: tuple[int, int], joint: bool) -> Tensor:
    """Return the directions (N, D2 + D3) of differences of features and prototypes.

    Args:
        difference: (N, D2 + D3) float32.
        dims: D2 and D3.
        joint: see `lengths`.

    """
    parts = torch.split(difference, list(dims), 1)
    length = lengths(torch.stack([p.norm(dim=1) for p in parts], 1), joint)
    return torch.cat([p * length[:, m, None] for m, p in enumerate(parts)], 1)


def distinct(index: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values that occur, ascending, and where each entry's is among them."""
    values, where = torch.unique(index, return_inverse=True)
    return values, where


class GlobalScales(nn.Module):
    """The influence sigma of each modality (G2SF, equation 3), 0.5 each at first.

    A free positive number each, or as published, numbers that always sum to 1.
    """

    def __init__(self, normalised: bool = False) -> None:
        """Begin with equal scales."""
        super().__init__()
        self.normalised = normalised
        self.global_scale = nn.Parameter(torch.zeros(2, 1))

    def forward(self) -> Tensor:
        """Return sigma, (2,)."""
        free = self.global_scale[:, 0]
        if not self.normalised:
            return free.exp() / 2
        half = (free.tanh() + 1) / 2
        return half / half.sum()


def metric(w: Tensor, sigma: Tensor, distance: Tensor) -> Tensor:
    """Compute l = sum over modalities of w s sigma (G2SF, equation 3).

    Args:
        w: (..., 2).
        sigma: (2,).
        distance: (..., 2), in usual distances of the modality.

    """
    return (w * sigma * distance).sum(-1)
