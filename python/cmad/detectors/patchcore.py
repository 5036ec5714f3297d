"""PatchCore: distance to the nearest of the patches kept from good parts (Roth et al., CVPR 2022).

As it serves the papers for comparison: on frozen transformer tokens and Point-MAE features.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from cmad import maps
from cmad.bank import Bank
from cmad.detectors._inputs import one_of, whole
from cmad.detectors.detector import Detector, Learnt
from cmad.progress import bar
from cmad.rasters import Raster, only, rows
from cmad.store import FeatureStore
from cmad.types import Features, GridMaps

MODALITIES = ("2d+3d", "2d", "3d")
MEASURED = 2000
"""Patches of good parts that the usual distance is the mean over, about."""
NEIGHBOURS = 3
"""Of the nearest bank row, itself included, that the image score is re-weighted by."""


@dataclass(frozen=True)
class Options:
    """PatchCore's own options."""

    modalities: str = "2d+3d"
    """``"2d+3d"`` adds both modalities' maps and scores; or one alone."""
    fraction: float = 0.1
    """Of the patches of the good parts that are kept, by greedy k-centre."""
    cells_2d: int = 28
    """Patches along each side, of the image."""
    cells_3d: int = 56
    """Patches along each side, of the points."""

    def __post_init__(self) -> None:
        """Check the values."""
        one_of("PatchCore", "modalities", self.modalities, MODALITIES)
        if not 0 < self.fraction <= 1:
            raise ValueError(f"PatchCore: fraction must be in (0, 1], got {self.fraction}")
        for name in ("cells_2d", "cells_3d"):
            object.__setattr__(self, name, whole("PatchCore", name, getattr(self, name), 1))


@dataclass(frozen=True, eq=False)
class Memory:
    """What is known of a modality's patches."""

    bank: Bank
    scale: float = field(default=1.0)
    """That distances are divided by: in the paper's preset the mean distance of good patches that
    are not in the bank, so that modalities can be added; in the official one a deviation."""


class PatchCore(Detector):
    """Anomaly detection by distance to the most telling patches of good parts.

    A map is the distance of each patch to the nearest row of the bank; the maps of both modalities
    are added, on the foreground. The score is the largest distance, re-weighted by how crowded the
    bank is there, added over the modalities.

    A detector of both modalities also judges parts of which only one is there, by that one alone
    and against thresholds of its own: ``predict(rgb, None)``.

    Options: ``modalities="2d+3d"``, or ``"2d"`` or ``"3d"`` alone; ``fraction=0.1``, of the patches
    that are kept; ``cells_2d=28`` and ``cells_3d=56``, patches along each side. The others are
    those of `Detector`. `fit` takes no arguments of its own.
    """

    Options = Options
    why_all = "it was made for these"

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Make an untrained detector."""
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.memory: dict[str, Memory] = {}
        """By modality; empty before `fit`."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """As asked for by the option."""
        return tuple(cast(Options, self.options).modalities.split("+"))

    @property
    def fallbacks(self) -> tuple[tuple[str, ...], ...]:
        """Either modality alone, where both were learnt."""
        return tuple((m,) for m in self.modalities) if len(self.modalities) > 1 else ()

    def learn(self, store: FeatureStore, training: object, progress: bool) -> Learnt:
        """Keep a coreset of the patches of each modality."""
        fraction, tensors = cast(Options, self.options).fraction, {}
        for modality in self.modalities:
            with bar(f"choosing {modality} patches", None, show=progress) as step:
                blocks = (self._patches(f, modality)[0] for f in store)
                bank = Bank.build(blocks, fraction=fraction, seed=self.seed, progress=step)
            if len(bank) < NEIGHBOURS:
                raise ValueError(
                    f"fit: {len(bank)} {modality} patches are kept, at least {NEIGHBOURS} are "
                    "needed: take more parts or a larger fraction"
                )
            tensors |= {f"{modality}.{k}": t for k, t in bank.tensors().items()}
            tensors[f"{modality}.scale"] = torch.tensor(self._scale(store, modality, bank))
        return Learnt(tensors)

    def tensors(self) -> dict[str, Tensor]:
        """Return the banks and the scales of the distances."""
        found = {}
        for modality, memory in self.memory.items():
            found |= {f"{modality}.{k}": t for k, t in memory.bank.tensors().items()}
            found[f"{modality}.scale"] = torch.tensor(memory.scale, dtype=torch.float64)
        return found

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over banks and scales."""
        self.memory = {}

    def maps(self, features: Features) -> GridMaps:
        """Search the patches of each modality, and add what comes of it."""
        size = features.image_size
        named, score = {}, 0.0
