"""PatchCore: distance to the nearest of the patches kept from good parts (Roth et al., CVPR 2022).

As it serves the papers for comparison: on frozen transformer tokens and Point-MAE features.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from cmad import maps
from cmad.bank import Bank
from cmad.detectors._inputs import one_of, whole
from cmad.detectors.detector import Detector
from cmad.detectors.method import Learnt
from cmad.model_file import prefixed
from cmad.rasters import Raster, foreground, only, rows
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
    deviation: float
    """Of all entries of good parts' patches; distances are counted in it."""
    usual: float
    """Mean distance of good patches that are not in the bank, so that modalities can be added."""


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
        """Keep a coreset of the patches of each modality, and measure how far others are."""
        fraction = cast(Options, self.options).fraction
        tensors: dict[str, Tensor] = {}
        for modality in self.modalities:
            spread = _Spread()
            blocks = (spread.seen(self._patches(f, modality)[0]) for f in store)
            bank = Bank.build(blocks, fraction=fraction, seed=self.seed, progress=progress)
            if len(bank) < NEIGHBOURS:
                raise ValueError(
                    f"fit: {len(bank)} {modality} patches are kept, at least {NEIGHBOURS} are "
                    "needed: take more parts or a larger fraction"
                )
            deviation = spread.deviation
            if self.choices.published_banks and modality == "3d":  # as the published class has it
                deviation = float(tensors.get("2d.scale", torch.ones(1))[0])
            usual = 1.0
            if not self.choices.published_banks:
                usual = self._usual(store, modality, bank) / deviation
            tensors |= {f"{modality}.{k}": t for k, t in bank.tensors().items()}
            tensors[f"{modality}.scale"] = torch.tensor([deviation, usual], dtype=torch.float64)
        return Learnt(tensors)

    def tensors(self) -> dict[str, Tensor]:
        """Return the banks, and for each modality deviation and usual distance."""
        found: dict[str, Tensor] = {}
        for modality, memory in self.memory.items():
            found |= {f"{modality}.{k}": t for k, t in memory.bank.tensors().items()}
            scale = [memory.deviation, memory.usual]
            found[f"{modality}.scale"] = torch.tensor(scale, dtype=torch.float64)
        return found

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `learn` gave."""
        memory, dims = {}, self.pipeline.dims()
        for modality in self.modalities:
            own = prefixed(tensors, f"{modality}.")
            deviation, usual = own.pop("scale").tolist()
            bank = Bank.of(own)
            if bank.rows.shape[1] != dims[modality]:
                raise ValueError(
                    f"PatchCore: the {modality} bank must be {dims[modality]} wide, as the "
                    f"extractors' features, got {bank.rows.shape[1]}"
                )
            memory[modality] = Memory(bank, deviation, usual)
        self.memory = memory

    def maps(self, features: Features) -> GridMaps:
        """Search the patches of each modality, and add what comes of it."""
        named, score = {}, 0.0
        seen = tuple(m for m in self.modalities if m in features.modalities)
        for modality in seen:
            memory, raster = self.memory[modality], self._raster(modality)
            patch, cell = self._patches(features, modality)
            squared, index = memory.bank.search(patch, 1)
            distance = squared[:, 0].sqrt() / memory.deviation
            on_cells = maps.on_grid(distance / memory.usual, cell, raster.size)
            named[modality] = maps.enlarged(on_cells, features.image_size)
            if features.valid is not None and not self.choices.published_banks:
                named[modality] = named[modality] * features.valid
            worst = int(distance.argmax())
            score += self._image_score(memory, patch[worst], index[worst], distance[worst])
        total = torch.stack(list(named.values())).sum(0)
        return GridMaps(
            score=score,
            map=maps.smoothed(total, self.choices.scaling).numpy(),
            maps={name: m.numpy() for name, m in named.items()},
            modalities=seen,
            window=features.window,
            name=features.name,
        )

    def _image_score(
        self, memory: Memory, patch: Tensor, nearest: Tensor, distance: Tensor
    ) -> float:
        """Re-weight the largest distance of a modality (semantics as its preset)."""
        bank = memory.bank
        _, around = bank.search(bank.rows[nearest], NEIGHBOURS)
        others = bank.rows[around[0, 1:]].double()  # the first is the nearest row itself
        beside = (others - patch.double()).norm(dim=-1) / memory.deviation
        unit, guard = memory.usual, 0.0
        if self.choices.published_banks:
            alone = len(self.modalities) == 1
            unit, guard = (1.0, 1e-5) if alone else (1000.0, 0.0)
            distance, beside = distance / unit, beside / unit
            unit = 1.0
        return reweighted(float(distance), beside, len(patch), guard) / unit

    def _raster(self, modality: str) -> Raster:
        options = cast(Options, self.options)
        cells = options.cells_2d if modality == "2d" else options.cells_3d
        return Raster(cells, self.choices.smoothing)

    def _patches(self, features: Features, modality: str) -> tuple[Tensor, Tensor]:
        """Rows of a modality's patches (Q, D), and their cells (Q,).

        All of the image; of the points those on the foreground, in the official preset all.
        """
        alone, raster = only(features, (modality,)), self._raster(modality)
        cell = foreground(alone, raster)
        if self.choices.published_banks:
            cell = torch.arange(raster.size**2, device=cell.device)
        return rows(alone, raster, cell)[modality], cell

    def _usual(self, store: FeatureStore, modality: str, bank: Bank) -> float:
        """Mean distance of some patches of good parts to the bank, those in it left out."""
        generator = torch.Generator().manual_seed(self.seed)
        each, found = -(-MEASURED // len(store)), []
        for features in store:
            patch = self._patches(features, modality)[0]
            drawn = torch.randperm(len(patch), generator=generator)[:each]
            found.append(bank.search(patch[drawn], 1)[0][:, 0].double().sqrt())
        distance = torch.cat(found)
        beside = distance[distance > 0]
        return float(beside.mean()) if len(beside) else 1.0


def reweighted(distance: float, beside: Tensor, channels: int, guard: float) -> float:
    """Lower an image's score where its patch is as near to several bank rows as to the nearest.

    s (1 - exp(s / sqrt D) / (sum of exp(d / sqrt D) + guard)) (Roth et al., equation 7; the root as
    published with M3DM), in a form that does not overflow.

    Args:
        distance: s, of the patch to its nearest row.
        beside: (N,) float64, d, of the patch to the rows around that one, itself left out.
        channels: D.
        guard: added to the sum.

    Returns:
        The score, at most ``distance``; not negative where two or more rows lie around.

    """
    root = channels**0.5
    share = ((beside - distance) / root).exp().sum() + guard * math.exp(-distance / root)
    return float(distance * (1 - 1 / share))


class _Spread:
    """Standard deviation over all entries of blocks as they pass."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, 0.0, 0.0

    def seen(self, block: Tensor) -> Tensor:
        """Take in a block; return it."""
        wide = block.double()
        self._count += wide.numel()
        self._sum += float(wide.sum())
        self._squares += float(wide.square().sum())
        return block

    @property
    def deviation(self) -> float:
        """Of what has been seen; 1 where all entries are equal."""
        mean = self._sum / max(self._count, 1)
        variance = self._squares / max(self._count, 1) - mean**2
        return math.sqrt(variance) if variance > 0 else 1.0
