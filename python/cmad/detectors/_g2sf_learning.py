"""How G2SF learns its metric: from patches of good parts with synthetic defects."""

import copy
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from cmad.bank import Bank
from cmad.checkpoint import Checkpoint
from cmad.curves import Curves
from cmad.detectors._g2sf_spaces import Prototypes
from cmad.nn.g2sf_training import TERMS, Objective, Weights, optimisers
from cmad.nn.lspn import Local, distinct
from cmad.progress import Step
from cmad.rasters import Raster, counted, foreground, rows
from cmad.store import FeatureStore

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
        used, where = zip(*(distinct(index[..., m]) for m in range(2)), strict=True)
        return Local(
            self.feature[at].float(),
            (rows[0][used[0]].float(), rows[1][used[1]].float()),
            torch.stack(where, 2),
            self.distance[at, :ranks],
        )


def gather(
    store: FeatureStore,
    positions: Sequence[int],
    raster: Raster,
    prototypes: Mapping[str, Prototypes],
    ranks: int,
    step: Step,
    own: bool = False,
) -> Patches:
    """Search the foreground patches of parts with synthetic defects in both banks.

    A bank has rows of the very part that a defect was pasted on, and its unchanged patches find
    themselves there, or their neighbours, nearer than those of any part to be judged ever are.
    So these rows are left out, unless fewer than ``ranks`` would stay.

    Args:
        store: of their features.
        positions: of the parts in it.
        raster: of the patches.
        prototypes: by modality.
        ranks: neighbours to find in each bank, 2k + 1.
        step: called after each part.
        own: search the rows of the same good part, too, as published.

    Raises:
        ValueError: no patch is anomalous, or all are.

    """
    made: dict[int, Patches] = {}
    sources = store.sources
    source = {i: None if own else sources[i] for i in positions}
    last, left = None, {m: one.without(None, ranks) for m, one in prototypes.items()}
    for i in sorted(positions, key=lambda i: source[i] or 0):  # each bank is encoded once
        if source[i] != last:
            last = source[i]
            left = {m: one.without(last, ranks) for m, one in prototypes.items()}
        features = store[i]
        assert features.defect is not None  # these are the parts with one
        cell = foreground(features, raster)
        e = rows(features, raster, cell)
        used = counted(e["3d"], raster.smoothing)
        standardised = {m: one.standardised(e[m][used]) for m, one in prototypes.items()}
        found = [one.search(standardised[m], ranks) for m, (one, _) in left.items()]
        index = [rest[near] for (_, near), (_, rest) in zip(found, left.values(), strict=True)]
        made[i] = Patches(
            torch.cat(list(standardised.values()), 1).to(store.dtype),
            torch.stack(index, 2).int(),
            torch.stack([distance for distance, _ in found], 2),
            anomalous_cells(features.defect, raster.size)[cell[used]],
        )
        step()
    parts = [made[i] for i in positions]
    anomalous = torch.cat([p.anomalous for p in parts])
    if len(anomalous) == 0 or anomalous.all() or not anomalous.any():
        raise ValueError(
            f"fit: {int(anomalous.sum())} of {len(anomalous)} foreground patches of "
            f"{len(parts)} synthetic parts are anomalous; some, and not all, must be: take more "
            "synthetic parts, or more cells"
        )
    return Patches(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Patches)))


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
    objective: Objective,
    banks: Sequence[Bank],
    training: Patches,
    validation: Patches,
    *,
    epochs: int,
    draws: int,
    batch_size: int,
    seed: int,
    step: Step,
    terms: Collection[str] = tuple(TERMS),
    checkpoint: Checkpoint | None = None,
    stop: Callable[[int, Mapping[str, Any], Mapping[str, Any]], object] | None = None,
) -> tuple[list[tuple[float, ...]], Curves]:
    """Descend the overall loss by Adam, and keep the best epoch (G2SF, supplement B-C).

    Args:
        objective: its network and scales are trained in place.
        banks: of both modalities.
        training: drawn from with replacement, both classes alike, as published.
        validation: its discrimination losses choose the epoch.
        epochs: passes.
        draws: patches of an epoch.
        batch_size: patches of a step, at least 2.
        seed: of the draws, permutations and noise.
        step: called after each epoch.
        terms: of the loss that count beside the separation.
        checkpoint: keeps each epoch's end, and begins behind the last one that it holds.
        stop: called after each epoch with the number done, and the states of network and scales
            that the training would end with, were it the last.

    Returns:
        The weighted terms of each optimiser step, in the order of equation 10; and of each epoch
        the mean of their sum, and the loss of the validation patches.

    Raises:
        ValueError: a loss is not finite.

    """
    weights = Weights.of(objective.published, terms)
    adams = optimisers(objective, weights)
    generator = torch.Generator().manual_seed(seed)
    kept_rows = [bank.rows for bank in banks]
    draw = _balanced(training.anomalous, generator)
    if objective.published.batches:
        batch_size = min(batch_size, int(SHARE * len(training)))
    batch_size = max(2, min(batch_size, draws))
    found: list[tuple[float, ...]] = []
    curves = Curves()
    best = _Best(objective)
    keeper = checkpoint or Checkpoint()
    for epoch in keeper.epochs(
        epochs,
        generator,
        found,
        lspn=objective.lspn,
        scales=objective.scales,
        dropout=_Drawn(objective.lspn.generator),
        best=best,
        curves=curves,
        **{f"adam_{i}": adam for i, adam in enumerate(adams)},
    ):
        objective.lspn.train()
        now, before = weights.during(epoch, objective.published), len(found)
        for _ in range(-(-draws // batch_size)):
            at = draw(batch_size)
            loss = objective.terms(
                training.local(at, kept_rows), training.anomalous[at], now, generator
            )
            total = torch.stack(list(loss.values())).sum()
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
            found.append(tuple(term.item() for term in loss.values()))
        objective.lspn.eval()
        reached = validated(objective, banks, validation, weights)
        best.offer(reached)
        sums = [sum(terms_of_step) for terms_of_step in found[before:]]
        curves.add({"loss": sum(sums) / len(sums), "validation": reached})
        if stop is not None:
            stop(epoch + 1, best.kept["lspn"], best.kept["scales"])
        step(f"loss {sum(found[-1]):.3f}, validation {reached:.4f}, best {best.value:.4f}")
    best.restore()
    return found, curves


@torch.no_grad()
def validated(
    objective: Objective, banks: Sequence[Bank], patches: Patches, weights: Weights
) -> float:
    """Return the discrimination losses of patches, in their nearest local spaces."""
    kept_rows = [bank.rows for bank in banks]
    nearest = [
        objective.measure(patches.local(at, kept_rows, 1))[2][:, 0]
        for at in torch.split(torch.arange(len(patches)), CHECKED)
    ]
    return objective.validation(torch.cat(nearest), patches.anomalous, weights)


class _Best:
    """Network and scales of the epoch that reached least."""

    def __init__(self, objective: Objective) -> None:
        self.value = math.inf
        self._objective = objective
        self.kept = self._now()

    def offer(self, value: float) -> None:
        """Keep the present state, if it is better."""
        if value < self.value:
            self.value, self.kept = value, self._now()

    def restore(self) -> None:
        """Bring the best state back."""
        self._objective.lspn.load_state_dict(self.kept["lspn"])
        self._objective.scales.load_state_dict(self.kept["scales"])

    def state_dict(self) -> dict[str, Any]:
        """Return it for a checkpoint."""
        return {"value": self.value, "kept": self.kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint holds."""
        self.value, self.kept = state_dict["value"], state_dict["kept"]

    def _now(self) -> dict[str, dict[str, Tensor]]:
        lspn, scales = self._objective.lspn, self._objective.scales
        return copy.deepcopy({"lspn": lspn.state_dict(), "scales": scales.state_dict()})


@dataclass(frozen=True)
class _Drawn:
    """A generator, for a checkpoint."""

    generator: torch.Generator

    def state_dict(self) -> dict[str, Any]:
        """Return where it is."""
        return {"state": self.generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go there."""
        self.generator.set_state(state_dict["state"])


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
