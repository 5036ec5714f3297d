"""How G2SF learns its metric: patches of good parts with synthetic defects, and epochs over them."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from cmad.bank import Bank
from cmad.nn.g2sf_training import Metric, Weights, optimisers
from cmad.nn.lspn import Local
from cmad.progress import Step

SHARE = 0.035
"""Of the training patches, in a batch at most: of the published code."""
CHECKED = 8192
"""Patches that validation measures at a time."""


@dataclass(frozen=True, eq=False)
class Patches:
    """Foreground patches of parts with synthetic defects, in the local spaces of both banks."""

    feature: Tensor
    """(P, D2 + D3), standardised."""
    index: Tensor
    """(P, J, 2) int32, of the nearest rows."""
    distance: Tensor
    """(P, J, 2) float32, to these, not squared."""
    anomalous: Tensor
    """(P,) bool."""

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.anomalous)

    def local(self, at: Tensor, rows: Sequence[Tensor], ranks: int | None = None) -> Local:
        """Return some patches with the rows that they are near to.

        Args:
            at: (N,) int64.
            rows: of both banks.
            ranks: of the neighbours, the first ones; None takes all.

        """
        index = self.index[at, :ranks].long()
        used, where = zip(
            *(index[..., m].unique(return_inverse=True) for m in range(2)), strict=True
        )
        return Local(
            self.feature[at].float(),
            (rows[0][used[0]].float(), rows[1][used[1]].float()),
            torch.stack(where, 2),
            self.distance[at, :ranks],
        )

    def __getitem__(self, at: Tensor) -> "Patches":
        """Return some of them."""
        return Patches(self.feature[at], self.index[at], self.distance[at], self.anomalous[at])


def anomalous_cells(mask: Tensor, size: int) -> Tensor:
    """Say which cells are anomalous: those whose upper left pixel is at most one from the defect.

    Args:
        mask: (S, S) bool.
        size: R, cells along each side.

    Returns:
        (R * R,) bool.

    """
    near = functional.max_pool2d(mask[None].float(), 3, 1, 1)[0] > 0
    at = torch.arange(size, device=mask.device) * len(mask) // size
    return near[at][:, at].flatten()


def usual_distances(nearest: Tensor, anomalous: Tensor, normal_only: bool) -> Tensor:
    """Average the distances to the nearest rows; 1 where all are 0.

    Args:
        nearest: (P, 2).
        anomalous: (P,) bool.
        normal_only: leave out anomalous patches, as published.

    """
    mean = (nearest[~anomalous] if normal_only else nearest).double().mean(0)
    return torch.where(mean > 0, mean, 1.0).float()


def largest(nearest: Tensor, usual: Tensor, anomalous: Tensor, anomalous_only: bool) -> float:
    """Return m_0, twice the largest distance in usual ones (G2SF, section III-E1).

    Raises:
        ValueError: all distances are 0, so that there is nothing to tell patches by.

    """
    bound = 2 * float((nearest[anomalous] if anomalous_only else nearest).div(usual).max())
    if not 0 < bound < math.inf:
        raise ValueError(
            f"fit: the largest distance of a patch to the banks is {bound / 2}: all features are "
            "the same, or not finite; nothing can be learnt from them"
        )
    return bound


def train(
    metric: Metric,
    banks: Sequence[Bank],
    training: Patches,
    validation: Patches,
    *,
    epochs: int,
    draws: int,
    batch_size: int,
    seed: int,
    step: Step,
) -> list[tuple[float, ...]]:
    """Descend the overall loss by Adam, and keep the best epoch (G2SF, supplement B-C).

    Args:
        metric: its network and scales are trained in place.
        banks: of both modalities.
        training: drawn from with replacement, both classes alike, as published.
        validation: its discrimination losses choose the epoch.
        epochs: passes.
        draws: patches of an epoch.
        batch_size: patches of a step, at least 2.
        seed: of the draws, permutations and noise.
        step: called after each epoch.

    Returns:
        The weighted terms of each optimiser step, in the order of equation 10.

    Raises:
        ValueError: a loss is not finite.

    """
    weights = Weights.of(metric.published)
    adams = optimisers(metric, weights)
    generator = torch.Generator().manual_seed(seed)
    rows = [bank.rows for bank in banks]
    draw = _balanced(training.anomalous, generator)
    if metric.published.batches:
        batch_size = min(batch_size, int(SHARE * len(training)))
    batch_size = max(2, min(batch_size, draws))
    found: list[tuple[float, ...]] = []
    best, kept = math.inf, copy.deepcopy((metric.lspn.state_dict(), metric.scales.state_dict()))
    for epoch in range(epochs):
        metric.lspn.train()
        for _ in range(-(-draws // batch_size)):
            at = draw(batch_size)
            terms = metric.terms(
                training.local(at, rows), training.anomalous[at], weights, generator
            )
            total = torch.stack(list(terms.values())).sum()
            if not total.isfinite():
                raise ValueError(
                    f"fit: the loss is {total.item()} in epoch {epoch + 1}: the features are not "
                    "finite, or overflow"
                )
            for adam in adams:
                adam.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            for adam in adams:
                adam.step()
            found.append(tuple(term.item() for term in terms.values()))
        metric.lspn.eval()
        reached = validated(metric, banks, validation, weights)
        if reached < best:
            best = reached
            kept = copy.deepcopy((metric.lspn.state_dict(), metric.scales.state_dict()))
        step(f"loss {sum(found[-1]):.3f}, validation {reached:.4f}, best {best:.4f}")
    metric.lspn.load_state_dict(kept[0])
    metric.scales.load_state_dict(kept[1])
    return found


@torch.no_grad()
def validated(
    metric: Metric, banks: Sequence[Bank], patches: Patches, weights: Weights
) -> float:
    """Return the discrimination losses of patches, in their nearest local spaces."""
    rows = [bank.rows for bank in banks]
    nearest = [
        metric.measure(patches.local(at, rows, 1))[2][:, 0]
        for at in torch.split(torch.arange(len(patches)), CHECKED)
    ]
    return metric.validation(torch.cat(nearest), patches.anomalous, weights)


def _balanced(anomalous: Tensor, generator: torch.Generator) -> Callable[[int], Tensor]:
    """Return a function that draws positions, of both classes as often."""
    classes = [c.nonzero()[:, 0] for c in (~anomalous, anomalous)]

    def draw(count: int) -> Tensor:
        of_defects = int((torch.rand(count, generator=generator) < 0.5).sum())
        sizes = count - of_defects, of_defects
        drawn = [
            c[torch.randint(len(c), (n,), generator=generator)]
            for c, n in zip(classes, sizes, strict=True)
        ]
        both = torch.cat(drawn)  # in a new order: negatives take halves of a batch
        return both[torch.randperm(count, generator=generator)]

    return draw
