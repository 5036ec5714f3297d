"""The overall loss of G2SF (equation 10), as one step descends it."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from cmad.nn import g2sf_losses as losses
from cmad.nn.g2sf_choices import Published
from cmad.nn.g2sf_pairs import negatives, noisy
from cmad.nn.lspn import LSPN, GlobalScales, Local, metric

TERMS = {"margin": "alpha", "consistency": "beta", "scaling": "gamma", "alignment": "mu"}
"""Of the loss, beside the separation and the regularisation, and the weight of each."""
GROWING = 10
"""Epochs after which the alignment loss has its full weight."""


@dataclass(frozen=True)
class Weights:
    """Of the terms of the loss (G2SF, supplement B-C)."""

    alpha: float = 10.0
    """Of the margin loss."""
    beta: float = 60.0
    """Of the consistency loss."""
    gamma: float = 8.0
    """Of the scaling loss."""
    mu: float = 20.0
    """Of the cross-modal alignment loss."""
    l1: float = 1e-4
    """Of the magnitudes of the network's weights."""
    decay: float = 1.5e-4
    """Adam's weight decay."""

    @classmethod
    def of(cls, published: Published, terms: Collection[str] = tuple(TERMS)) -> "Weights":
        """Return the paper's, with those of the published code where they are chosen.

        Args:
            published: the choice.
            terms: of `TERMS`, those that count; the weights of the others are 0.

        """
        own = {"beta": 40.0, "gamma": 3.0, "l1": 5e-4, "decay": 1e-4}
        chosen = {name: value for name, value in own.items() if getattr(published, name)}
        return cls(**chosen | {w: 0.0 for term, w in TERMS.items() if term not in terms})

    def during(self, epoch: int, published: Published) -> "Weights":
        """Return those of an epoch: the alignment's grows from 0 over the first `GROWING`.

        Counting fully at once it outweighs what holds the scales of normal samples down, before the
        network can tell these from negative ones: all scales go to e, where exp(tanh) is flat.

        Args:
            epoch: 0 for the first.
            published: the choice.

        """
        share = 1.0 if published.at_once else min(1.0, epoch / GROWING)
        return replace(self, mu=self.mu * share)


@dataclass(frozen=True, eq=False)
class Objective:
    """The network, the scales, and what distances are divided by."""

    lspn: LSPN
    scales: GlobalScales
    usual: Tensor
    """(2,) float32, of each modality."""
    bound: float
    """m_0, in usual distances."""
    published: Published = field(default_factory=Published)

    def measure(self, at: Local) -> tuple[Tensor, Tensor, Tensor]:
        """Return w (N, J, 2), s in usual distances (N, J, 2), and l (N, J)."""
        w, s = self.lspn.local(at), at.distance / self.usual
        return w, s, metric(w, self.scales(), s)

    def terms(
        self, at: Local, anomalous: Tensor, weights: Weights, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Compute the weighted terms of the overall loss; their sum is descended.

        Args:
            at: a batch, in 2k + 1 local spaces.
            anomalous: (N,) bool.
            weights: of the terms.
            generator: of permutations and noise.

        Returns:
            Scalars by name, in the order of equation 10; the last is the regularisation.

        """
        how = self.published
        if how.noise:
            at = noisy(at, self.usual, generator)
        w, s, local = self.measure(at)
        apart = self.lspn.local(negatives(at, generator, published=how.negatives))[:, 0]
        separated = losses.separation(local[:, 0], anomalous, self.bound, published=how.separation)
        overlapping = losses.margin(local[:, 0], anomalous, published=how.margin)
        consistent = losses.consistency(local, s, published=how.consistency)
        scaled = losses.scaling(w[:, 0], anomalous, published=how.scaling)
        aligned = losses.alignment(apart, published=how.negatives)
        return {
            "separation": separated,
            "margin": weights.alpha * overlapping,
            "consistency": weights.beta * consistent,
            "scaling": weights.gamma * scaled,
            "alignment": weights.mu * aligned,
            "l1": weights.l1 * losses.l1(self.lspn.weights()),
        }

    def validation(self, l0: Tensor, anomalous: Tensor, weights: Weights) -> float:
        """Compute what the best epoch is chosen by, as published: discrimination alone.

        Args:
            l0: (N,), l in the nearest local spaces.
            anomalous: (N,) bool.
            weights: of the terms.

        """
        how = self.published
        separated = losses.separation(
            l0, anomalous, self.bound, published=how.separation, weighted=False
        )
        overlapping = losses.margin(l0, anomalous, published=how.margin)
        return float((separated + weights.alpha * overlapping).detach())


def optimisers(objective: Objective, weights: Weights) -> list[torch.optim.Optimizer]:
    """Return Adam for the network, and a faster one for the scales (G2SF, supplement B-C)."""
    decay = weights.decay if objective.published.decay else 0.0
    return [
        torch.optim.Adam(objective.lspn.parameters(), lr=1.5e-4, weight_decay=weights.decay),
        torch.optim.Adam(objective.scales.parameters(), lr=5e-3, weight_decay=decay),
    ]
