"""BTF: colour features and point histograms side by side, in one memory bank.

Horwitz and Hoshen, "Back to the Feature", CVPR workshops 2023; as CFM and G2SF compare with it.
docs/methods/btf.md goes through it equation by equation.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cmad import gpu, maps
from cmad.checkpoint import Checkpoint
from cmad.detectors._inputs import share, whole
from cmad.detectors._memory import Memory, chosen
from cmad.detectors.detector import Detector
from cmad.detectors.method import Learnt
from cmad.rasters import Raster, everything, rows
from cmad.store import FeatureStore
from cmad.types import Features, GridMaps

BOTH = "2d+3d"
"""Name of the bank in a model file."""


@dataclass(frozen=True)
class Options:
    """BTF's own options."""

    fraction: float = 0.1
    """Of the patches of the good parts that are kept, by greedy k-centre."""
    cells: int = 28
    """Patches along each side."""

    def __post_init__(self) -> None:
        """Check the values."""
        object.__setattr__(self, "fraction", share("BTF", "fraction", self.fraction))
        object.__setattr__(self, "cells", whole("BTF", "cells", self.cells, 1))


@dataclass(frozen=True)
class _Patches:
    """The patches of good parts, a block for each, computed anew each time they are asked for."""

    detector: "BTF"
    store: FeatureStore

    def __iter__(self) -> Iterator[Tensor]:
        return (self.detector.patches(features)[0] for features in self.store)


class BTF(Detector):
    """Anomaly detection by distance to good patches, of colour and shape in one row.

    A patch is what a convolutional network makes of the image and the mean of the fast point
    feature histograms there, side by side as they are: nothing weighs the one against the other. A
    map is the distance of each patch to the nearest row of the bank; those of the modalities are
    the lengths of its parts, whose squares add up to its square. The whole image is looked at. The
    score is the largest distance, re-weighted by how crowded the bank is there.

    Takes ``rgb="wide_resnet50_2"`` and ``xyz="fpfh"`` where nothing else is asked for. Options:
    ``fraction=0.1``, of the patches that are kept; ``cells=28``, patches along each side. The
    others are those of `Detector`. `fit` takes no arguments of its own.
    """

    Options = Options
    usual: ClassVar[Mapping[str, str]] = {"rgb": "wide_resnet50_2", "xyz": "fpfh"}
    standardised = False
    why_all = "a row of its bank is of both together"

    def __init__(self, *args: object, **options: object) -> None:
        """Make an untrained detector."""
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.memory: Memory | None = None
        """None before `fit`."""
        self.raster = Raster(self.options.cells, self.choices.smoothing)

    def learn(
        self, store: FeatureStore, training: object, progress: bool, checkpoint: Checkpoint
    ) -> Learnt:
        """Keep a coreset of the patches."""
        blocks, fraction = _Patches(self, store), self.options.fraction
        bank = chosen(blocks, self.seed, fraction=fraction, progress=progress)
        return Learnt(Memory(bank, 1.0, 1.0).tensors(BOTH))

    def tensors(self) -> dict[str, Tensor]:
        """Return the bank."""
        return {} if self.memory is None else self.memory.tensors(BOTH)

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `learn` gave."""
        there = {k: t.to(self.device) for k, t in tensors.items()}
        self.memory = Memory.of(BOTH, there, sum(self.pipeline.dims().values()))

    def maps(self, features: Features) -> GridMaps:
        """Search the patches of a part."""
        memory = self.memory
        assert memory is not None  # the shell asks no untrained method
        patch, cell = self.patches(features)
        distance, index = memory.nearest(patch)
        widths = list(self.pipeline.dims().values())
        apart = torch.split(patch - memory.bank.rows[index], widths, 1)
        of_each = [distance, *(part.norm(dim=1) for part in apart)]
        grids = [
            maps.enlarged(maps.on_grid(d, cell, self.raster.size), features.image_size)
            for d in of_each
        ]
        score = memory.image_score(patch, distance, index)
        total = maps.smoothed(grids[0], self.choices.scaling)
        map_, raw, *shown = gpu.download([total, *grids])
        return GridMaps(
            score=score,
            map=map_.numpy(),
            maps={m: g.numpy() for m, g in zip(self.modalities, shown, strict=True)},
            modalities=self.modalities,
            window=features.window,
            name=features.name,
            raw=raw.numpy(),
        )

    def patches(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return a part's patches (Q, D), colour before shape, and their cells (Q,).

        All of the image, or of its region of interest. Where there is no point, the histogram is
        of zeros.
        """
        cell = everything(features, self.raster)
        found = rows(features, self.raster, cell)
        return torch.cat([found[m] for m in self.modalities], 1), cell
