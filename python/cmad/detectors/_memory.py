"""A memory of good patches: their bank, what distances to it mean, and the score of an image."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cmad import gpu
from cmad.bank import Bank
from cmad.model_file import prefixed
from cmad.progress import bar

NEIGHBOURS = 3
"""Of the nearest bank row, itself included, that an image's score is re-weighted by."""
MEASURED = 2000
"""Patches of good parts that the usual distance is the mean over, about."""


@dataclass(frozen=True, eq=False)
class Memory:
    """A bank of patches, and the scale of distances to it."""

    bank: Bank
    deviation: float
    """Of all entries of good patches; distances are counted in it."""
    usual: float
    """Mean distance of good patches that are not in the bank, in deviations; 1 where it is not
    measured."""

    @classmethod
    def of(cls, name: str, tensors: Mapping[str, Tensor], dim: int) -> "Memory":
        """Rebuild a memory from what `tensors` gave; raise where its rows are not ``dim`` wide."""
        own = prefixed(tensors, f"{name}.")
        deviation, usual = own.pop("scale").tolist()
        bank = Bank.from_tensors(own)
        if (width := bank.rows.shape[1]) != dim:
            raise ValueError(
                f"the {name} bank must be {dim} wide, as the extractors' features, got {width}"
            )
        return cls(bank, deviation, usual)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return what a model file holds of it."""
        rows = {f"{name}.{key}": tensor for key, tensor in self.bank.state_dict().items()}
        scale = torch.tensor([self.deviation, self.usual], dtype=torch.float64)
        return {**rows, f"{name}.scale": scale}

    def nearest(self, patch: Tensor) -> tuple[Tensor, Tensor]:
        """Search the bank.

        Args:
            patch: (Q, D).

        Returns:
            The distance in deviations (Q,) float32, not squared, and the nearest row (Q,) int64.

        """
        squared, index = self.bank.search(patch, 1)
        return squared[:, 0].sqrt() / self.deviation, index[:, 0]

    def image_score(
        self, patch: Tensor, distance: Tensor, index: Tensor, *, unit: float = 1, guard: float = 0
    ) -> float:
        """Re-weight the largest distance by the rows around the one that it is to.

        Args:
            patch: (Q, D), as in `nearest`.
            distance: (Q,), from `nearest`.
            index: (Q,), from `nearest`.
            unit: that distances are divided by before.
            guard: see `reweighted`.

        """
        worst = int(distance.argmax())
        around = self.bank.search(self.bank.rows[index[worst : worst + 1]], NEIGHBOURS)[1][0, 1:]
        rows = self.bank.rows[around].double()  # without the nearest row itself
        beside = (rows - patch[worst].double()).norm(dim=-1) / self.deviation
        return reweighted(float(distance[worst]) / unit, beside / unit, patch.shape[1], guard)


def chosen(
    blocks: Iterable[Tensor],
    seed: int,
    *,
    what: str = "",
    fraction: float = 0.1,
    count: int | None = None,
    progress: bool = False,
) -> Bank:
    """Keep a coreset of the patches of good parts.

    Args:
        blocks: (Q, D) each, anew each time they are gone through.
        seed: of the detector.
        what: the patches are of, such as ``"2d"``.
        fraction: of them to keep.
        count: the number to keep, instead.
        progress: show how far it is.

    Raises:
        ValueError: too few are kept to re-weight a score by.

    """
    patches = f"{what} patches".strip()
    with bar(f"choosing {patches}", None, show=progress) as step:
        bank = Bank.build(blocks, fraction=fraction, count=count, seed=seed % 2**32, progress=step)
    if len(bank) < NEIGHBOURS:
        raise ValueError(
            f"fit: {len(bank)} {patches} are kept, at least {NEIGHBOURS} are needed: take more "
            "parts or a larger fraction"
        )
    return bank


def usual_distance(bank: Bank, blocks: Iterable[Tensor], count: int, seed: int) -> float:
    """Average the distance to the bank over some good patches, those in it left out.

    Args:
        bank: of the blocks' rows.
        blocks: (Q, D) each.
        count: of the blocks.
        seed: of the draw.

    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for block in blocks:
        drawn = torch.randperm(len(block), generator=generator)[: -(-MEASURED // count)]
        [drawn] = gpu.upload([drawn], block.device)
        found.append(bank.search(block[drawn], 1)[0].double().sqrt())
    distance = torch.cat(found)
    beside = distance[distance > 0]
    return float(beside.mean()) if len(beside) else 1.0


def reweighted(distance: float, beside: Tensor, channels: int, guard: float = 0) -> float:
    """Lower an image's score where its patch is as near to several bank rows as to the nearest.

    s (1 - exp(s / sqrt D) / (sum of exp(d / sqrt D) + guard)) (PatchCore, equation 7, with the root
    that M3DM publishes), in a form that does not overflow.

    Args:
        distance: s, of the patch to its nearest row.
        beside: (N,) float64, d, of the patch to the rows around that one, itself left out.
        channels: D.
        guard: added to the sum.

    Returns:
        The score, at most ``distance``; not negative where at least one row lies around.

    """
    root = channels**0.5
    total = ((beside - distance) / root).exp().sum() + guard * math.exp(-distance / root)
    return float(distance * (1 - 1 / total))


def deviation_of(blocks: Iterable[Tensor]) -> float:
    """Compute the standard deviation over all entries of blocks; 1 where all are equal."""
    return moments(blocks)[1]


def moments(blocks: Iterable[Tensor]) -> tuple[float, float]:
    """Compute mean and standard deviation over all entries of blocks; 1 where all are equal."""
    count, total, squares = 0, 0.0, 0.0
    for block in blocks:
        wide = block.double()
        count += wide.numel()
        total += float(wide.sum())
        squares += float(wide.square().sum())
    variance = squares / count - (total / count) ** 2
    return total / count, math.sqrt(variance) if variance > 0 else 1.0
