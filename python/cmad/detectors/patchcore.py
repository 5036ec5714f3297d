"""PatchCore: distance to the nearest of the patches kept from good parts (Roth et al., CVPR 2022).

As the papers compare with it: on frozen transformer tokens and Point-MAE features.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cmad import gpu, maps
from cmad.checkpoint import Checkpoint
from cmad.detectors._inputs import one_of, share, whole
from cmad.detectors._memory import Memory, chosen, deviation_of, usual_distance
from cmad.detectors.detector import Detector
from cmad.detectors.method import Learnt
from cmad.rasters import Raster, everything, foreground, only, rows
from cmad.store import FeatureStore
from cmad.types import Features, GridMaps


@dataclass(frozen=True)
class Options:
    """PatchCore's own options."""

    modalities: str = "2d+3d"
    """``"2d+3d"`` adds both modalities' maps and scores; ``"2d"`` or ``"3d"`` is one alone."""
    fraction: float = 0.1
    """Of the patches of the good parts that are kept, by greedy k-centre."""
    cells_2d: int = 28
    """Patches along each side, of the image."""
    cells_3d: int = 56
    """Patches along each side, of the points."""

    def __post_init__(self) -> None:
        """Check the values."""
        one_of("PatchCore", "modalities", self.modalities, ("2d+3d", "2d", "3d"))
        object.__setattr__(self, "fraction", share("PatchCore", "fraction", self.fraction))
        for name in ("cells_2d", "cells_3d"):
            object.__setattr__(self, name, whole("PatchCore", name, getattr(self, name), 1))


@dataclass(frozen=True)
class _Patches:
    """The patches of good parts, a block for each, computed anew each time they are asked for."""

    detector: "PatchCore"
    store: FeatureStore
    modality: str

    def __iter__(self) -> Iterator[Tensor]:
        return (self.detector.patches(features, self.modality)[0] for features in self.store)


class PatchCore(Detector):
    """Anomaly detection by distance to the most telling patches of good parts.

    A map is the distance of each patch to the nearest row of the bank, in units of the usual
    distance of good patches; the maps of both modalities are added. The image is looked at as a
    whole, background and all: defects that left no 3D point are seen only there. The score is the
    largest distance, re-weighted by how crowded the bank is there, added likewise.

    A detector of both modalities also judges parts of which only one is there, by that one alone
    and against thresholds of its own: ``predict(rgb, None)``.

    Options: ``modalities="2d+3d"``, or ``"2d"`` or ``"3d"`` alone; ``fraction=0.1``, of the patches
    that are kept; ``cells_2d=28`` and ``cells_3d=56``, patches along each side. The others are
    those of `Detector`. `fit` takes no arguments of its own.
    """

    Options = Options
    standardised = False
    why_all = "its option modalities names nothing else"

    def __init__(self, *args: object, **options: object) -> None:
        """Make an untrained detector."""
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.memory: dict[str, Memory] = {}
        """By modality; empty before `fit`."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """As asked for by the option."""
        return tuple(self.options.modalities.split("+"))

    @property
    def fallbacks(self) -> tuple[tuple[str, ...], ...]:
        """Either modality alone, where both are learnt."""
        return tuple((m,) for m in self.modalities) if len(self.modalities) > 1 else ()

    def learn(
        self, store: FeatureStore, training: object, progress: bool, checkpoint: Checkpoint
    ) -> Learnt:
        """Keep a coreset of the patches of each modality, and measure how far others are."""
        published, learnt = self.choices.published_banks, dict[str, Memory]()
        for modality in self.modalities:
            blocks = _Patches(self, store, modality)
            bank = chosen(
                blocks,
                self.seed,
                what=modality,
                fraction=self.options.fraction,
                progress=progress,
            )
            if published and modality == "3d":  # as is, or in the image's deviations
                deviation = learnt["2d"].deviation if learnt else 1.0
            else:
                deviation = deviation_of(blocks)
            usual = 1.0
            if not published:
                usual = usual_distance(bank, blocks, len(store), self.seed) / deviation
            learnt[modality] = Memory(bank, deviation, usual)
        return Learnt({k: t for m, one in learnt.items() for k, t in one.tensors(m).items()})

    def tensors(self) -> dict[str, Tensor]:
        """Return the banks and the scales of distances to them."""
        return {k: t for m, memory in self.memory.items() for k, t in memory.tensors(m).items()}

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `learn` gave."""
        dims, there = self.pipeline.dims(), {k: t.to(self.device) for k, t in tensors.items()}
        self.memory = {m: Memory.of(m, there, dims[m]) for m in self.modalities}

    def maps(self, features: Features) -> GridMaps:
        """Search the patches of each modality, and add what comes of it."""
        published, named, score = self.choices.published_banks, dict[str, Tensor](), 0.0
        seen = tuple(m for m in self.modalities if m in features.modalities)
        for modality in seen:
            memory, cells = self.memory[modality], self._raster(modality).size
            patch, cell = self.patches(features, modality)
            distance, index = memory.nearest(patch)
            on_cells = maps.on_grid(distance / memory.usual, cell, cells)
            named[modality] = maps.enlarged(on_cells, features.image_size)
            added = published and len(self.modalities) > 1
            unit, guard = (1000.0 if added else 1.0), (1e-5 if published and not added else 0.0)
            worst = memory.image_score(patch, distance, index, unit=unit, guard=guard)
            score += worst / memory.usual
        total = torch.stack(list(named.values())).sum(0)
        smoothed = maps.smoothed(total, self.choices.scaling)
        map_, raw, *shown = gpu.download([smoothed, total, *named.values()])
        return GridMaps(
            score=score,
            map=map_.numpy(),
            maps={name: m.numpy() for name, m in zip(named, shown, strict=True)},
            modalities=seen,
            window=features.window,
            name=features.name,
            raw=raw.numpy(),
        )

    def patches(self, features: Features, modality: str) -> tuple[Tensor, Tensor]:
        """Return a modality's patches of a part (Q, D), and their cells (Q,).

        All of the image, or of its region of interest; of the points those on the foreground, in
        the official preset as of the image.
        """
        alone, raster = only(features, (modality,)), self._raster(modality)
        cell = foreground(alone, raster)
        if self.choices.published_banks:
            cell = everything(features, raster)
        return rows(alone, raster, cell)[modality], cell

    def _raster(self, modality: str) -> Raster:
        cells = self.options.cells_2d if modality == "2d" else self.options.cells_3d
        return Raster(cells, self.choices.smoothing)
