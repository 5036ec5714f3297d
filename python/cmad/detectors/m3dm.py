"""M3DM: three memory banks, of colour, of shape and of both fused, and layers that decide.

Wang et al., "Multimodal Industrial Anomaly Detection via Hybrid Fusion", CVPR 2023; as CFM and G2SF
compare with it. docs/methods/m3dm.md goes through it equation by equation.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from cmad import gpu, maps
from cmad.bank import Bank
from cmad.checkpoint import Checkpoint
from cmad.curves import Curves
from cmad.detectors._inputs import one_of, share, whole
from cmad.detectors._m3dm_learning import decision, train
from cmad.detectors._memory import Memory, chosen, moments, usual_distance
from cmad.detectors.detector import Detector
from cmad.detectors.method import Learnt
from cmad.model_file import prefixed
from cmad.nn.fusion import FeatureFusion
from cmad.progress import bar
from cmad.rasters import Raster, everything, foreground, only, rows
from cmad.store import FeatureStore
from cmad.types import Features, GridMaps

FUSED = "fused"
BANKS = ("3d", "2d", FUSED)
"""In the order in which the decision layers take them."""
WEIGHED = (1.0, 0.1, 1.0)
"""What their scores and maps are multiplied by before, as published."""
RATE = 0.003
"""Highest learning rate of the fusion, as published."""


@dataclass(frozen=True)
class Options:
    """M3DM's own options."""

    use_uff: bool = True
    """Whether the fused rows are learnt, or both modalities' as they are, side by side."""
    decision: str = "svm"
    """``"svm"`` learns by two one-class SVMs how much each bank counts; ``"sum"`` adds them."""
    fraction: float = 0.1
    """Of the patches of the good parts that are kept, by greedy k-centre."""
    cells_2d: int = 28
    """Patches along each side, of the image."""
    cells_3d: int = 56
    """Patches along each side, of the points and of both."""

    def __post_init__(self) -> None:
        """Check the values."""
        one_of("M3DM", "use_uff", self.use_uff, (True, False))
        one_of("M3DM", "decision", self.decision, ("svm", "sum"))
        object.__setattr__(self, "use_uff", bool(self.use_uff))
        object.__setattr__(self, "fraction", share("M3DM", "fraction", self.fraction))
        for name in ("cells_2d", "cells_3d"):
            object.__setattr__(self, name, whole("M3DM", name, getattr(self, name), 1))


@dataclass(frozen=True)
class Training:
    """How the fusion is trained: arguments of M3DM's `fit`."""

    epochs: int = 3
    """Passes over all parts."""
    batch_size: int = 16
    """Parts per optimiser step."""
    patches_per_part: int | None = 256
    """Drawn afresh from each part in each epoch; None takes all, whose loss takes memory that grows
    with the square of their number."""

    def __post_init__(self) -> None:
        """Check the numbers, of any integer type."""
        for name in ("epochs", "batch_size", "patches_per_part"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole("fit", name, value, 1))


@dataclass(frozen=True, eq=False)
class _State:
    """What is learnt, before the layers that decide."""

    fusion: FeatureFusion | None
    memory: Mapping[str, Memory]


@dataclass(frozen=True)
class _Patches:
    """The patches of good parts, a block for each, computed anew each time they are asked for."""

    store: FeatureStore
    of: Callable[[Features], Tensor]

    def __iter__(self) -> Iterator[Tensor]:
        return (self.of(features) for features in self.store)


class M3DM(Detector):
    """Anomaly detection by three memory banks: of colour, of shape, and of both fused.

    A small network learns on good parts to map both modalities' rows so that those of a patch find
    each other; side by side they are the fused row. Each patch is as far as it is from the nearest
    row of each bank. How much the three distances count, in the score and in the map, two linear
    one-class SVMs learn from the good parts.

    Maps are ``"2d"``, ``"3d"`` and ``"fused"``, the distances before that, in units of the usual
    distance of good patches. The image is looked at as a whole, points and fused rows on the
    foreground; in preset "official" all as a whole.

    Options: ``use_uff=True``, whether the fusion is learnt, or both rows as they are lie side by
    side; ``decision="svm"``, or ``"sum"``; ``fraction=0.1``, of the patches that are kept;
    ``cells_2d=28`` and ``cells_3d=56``, patches along each side. The others are those of
    `Detector`.

    `fit` takes, beside what it takes for all methods: ``epochs=3``; ``batch_size=16``, parts per
    optimiser step; ``patches_per_part=256``, drawn afresh in each epoch, all of which in a batch
    are told from each other. They are without meaning where ``use_uff=False``.
    """

    Options = Options
    Training = Training
    standardised = False
    why_all = "a fused row is of both together"

    def __init__(self, *args: object, **options: object) -> None:
        """Make an untrained detector."""
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.state: _State | None = None
        """The fusion and the banks; None before `fit`."""
        self.layers = torch.zeros(2, len(BANKS), dtype=torch.float64)
        """Weights of the banks, in the score and in the map."""

    def learn(
        self, store: FeatureStore, training: object, progress: bool, checkpoint: Checkpoint
    ) -> Learnt:
        """Train the fusion, keep a coreset for each bank, and learn to decide over them."""
        how, fusion = cast(Training, training), self._untrained()
        losses: list[tuple[float, ...]] = []
        curves = Curves()
        if fusion is not None:
            with bar("training", how.epochs, done=checkpoint.epoch, show=progress) as step:
                losses, curves = train(
                    fusion,
                    store,
                    self.pairs,
                    epochs=how.epochs,
                    batch_size=how.batch_size,
                    patches_per_part=how.patches_per_part,
                    rate=RATE,
                    seed=self.seed,
                    step=step,
                    checkpoint=checkpoint,
                )
        state = self._kept(store, fusion, progress)
        layers = torch.ones(2, len(BANKS), dtype=torch.float64)
        if self.options.decision == "svm":
            layers = self._decided(store, state, progress)
        return Learnt(_tensors(state, layers), losses, curves=curves)

    def tensors(self) -> dict[str, Tensor]:
        """Return the banks, the fusion and the weights of the banks."""
        return {} if self.state is None else _tensors(self.state, self.layers)

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `learn` gave."""
        there = {k: t.to(self.device) for k, t in tensors.items()}
        dims, fusion = self.pipeline.dims(), self._untrained()
        if fusion is not None:
            try:
                fusion.load_state_dict(prefixed(there, "fusion."))
            except RuntimeError as error:
                said = " ".join(str(error).split())
                raise ValueError(
                    f"M3DM: the fusion must fit features {dims['2d']} and {dims['3d']} wide: {said}"
                ) from error
            fusion.eval()
        widths = {**dims, FUSED: sum(dims.values())}
        self.state = _State(fusion, {m: Memory.of(m, there, widths[m]) for m in BANKS})
        self.layers = tensors["layers"].cpu()

    def maps(self, features: Features) -> GridMaps:
        """Search the patches of each bank, and decide."""
        assert self.state is not None  # the shell asks no untrained method
        scores, smooth, grids = self._distances(features, self.state)
        of_score, of_map = self.layers * self._weighed
        weights = of_map.to(smooth)[:, None, None]
        map_, raw = (weights * smooth).sum(0), (weights * grids).sum(0)
        on_host = gpu.download([map_, raw, *grids])
        total, before, *shown = [tensor.numpy() for tensor in on_host]
        named = dict(zip(BANKS, shown, strict=True))
        return GridMaps(
            score=float(of_score @ torch.tensor(scores, dtype=torch.float64)),
            map=total,
            maps={m: named[m] for m in ("2d", "3d", FUSED)},
            modalities=self.modalities,
            window=features.window,
            name=features.name,
            raw=before,
        )

    def patches(
        self, features: Features, bank: str, fusion: FeatureFusion | None
    ) -> tuple[Tensor, Tensor]:
        """Return a part's patches (Q, D) as a bank has them, and their cells (Q,).

        Those of the image are all of it, or of its region of interest; the others those of the
        foreground, in the official preset as of the image.
        """
        if bank == "2d":
            colour = only(features, ("2d",))
            cell = everything(colour, self._raster(bank))
            return rows(colour, self._raster(bank), cell)["2d"], cell
        cell = self._cells(features)
        if bank == "3d":
            return rows(only(features, ("3d",)), self._raster(bank), cell)["3d"], cell
        found = rows(features, self._raster(bank), cell)
        if fusion is None:
            return torch.cat([found["3d"], found["2d"]], 1), cell
        with torch.no_grad():
            return fusion(found["3d"], found["2d"]), cell

    def pairs(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return the 3D and the 2D rows, (Q, D3) and (Q, D2), that are fused."""
        found = rows(features, self._raster(FUSED), self._cells(features))
        return found["3d"], found["2d"]

    def _cells(self, features: Features) -> Tensor:
        raster = self._raster(FUSED)
        whole_image = self.choices.published_banks
        return everything(features, raster) if whole_image else foreground(features, raster)

    def _kept(self, store: FeatureStore, fusion: FeatureFusion | None, progress: bool) -> _State:
        """Keep a coreset of each bank's patches, and measure how far others are.

        As published: all distances in deviations of the image's patches; the other two banks a
        tenth of the shape's, whatever they have; and one more row, of the mean shape, in its bank.
        """
        published, fraction = self.choices.published_banks, self.options.fraction
        blocks = {m: _Patches(store, self._of(m, fusion)) for m in BANKS}
        deviation = moments(blocks["2d"])[1] if published else 1.0
        memory: dict[str, Memory] = {}
        for m in BANKS:
            count = int(fraction * len(memory["3d"].bank)) if published and memory else None
            bank = chosen(
                blocks[m], self.seed, what=m, fraction=fraction, count=count, progress=progress
            )
            if published:
                memory[m] = Memory(bank, deviation, 1.0)
                continue
            deviation = moments(blocks[m])[1]
            usual = usual_distance(bank, blocks[m], len(store), self.seed) / deviation
            memory[m] = Memory(bank, deviation, usual)
        if published:
            mean, own = moments(blocks["3d"])[0], memory["3d"].bank.rows
            more = torch.cat([own, torch.full_like(own[:1], mean)])
            memory["3d"] = Memory(Bank(more), deviation, 1.0)
        return _State(fusion, memory)

    def _of(self, bank: str, fusion: FeatureFusion | None) -> Callable[[Features], Tensor]:
        return lambda features: self.patches(features, bank, fusion)[0]

    def _decided(self, store: FeatureStore, state: _State, progress: bool) -> Tensor:
        """Learn the weights of the banks, in the score and in the map: (2, 3)."""
        scores, pixels = [], []
        with bar("deciding", len(store), show=progress) as step:
            for features in store:
                score, smooth, _ = self._distances(features, state)
                scores.append(score)
                pixels.append(smooth.cpu().flatten(1).T)
                step()
        of_parts, of_pixels = torch.tensor(scores), torch.cat(pixels)
        weighed = self._weighed.float()
        return torch.stack([decision(of_parts * weighed), decision(of_pixels * weighed)])

    def _distances(self, features: Features, state: _State) -> tuple[list[float], Tensor, Tensor]:
        """Return of each bank the score and the map, smoothed and not: (3, S, S)."""
        scores, grids = [], []
        for m in BANKS:
            patch, cell = self.patches(features, m, state.fusion)
            memory = state.memory[m]
            distance, index = memory.nearest(patch)
            on_cells = maps.on_grid(distance / memory.usual, cell, self._raster(m).size)
            grids.append(maps.enlarged(on_cells, features.image_size))
            scores.append(memory.image_score(patch, distance, index) / memory.usual)
        smooth = torch.stack([maps.smoothed(grid, self.choices.scaling) for grid in grids])
        return scores, smooth, torch.stack(grids)

    @property
    def _weighed(self) -> Tensor:
        """What goes into the layers is multiplied by; distances in usual ones need no such."""
        weighed = WEIGHED if self.choices.published_banks else (1.0,) * len(BANKS)
        return torch.tensor(weighed, dtype=torch.float64)

    def _raster(self, bank: str) -> Raster:
        if bank == "2d":
            return Raster(self.options.cells_2d, self.choices.smoothing)
        return Raster(self.options.cells_3d, self.choices.smoothing, nearest=True)

    def _untrained(self) -> FeatureFusion | None:
        if not self.options.use_uff:
            return None
        dims = self.pipeline.dims()
        return FeatureFusion(dims["2d"], dims["3d"], self.seed).to(self.device)


def _tensors(state: _State, layers: Tensor) -> dict[str, Tensor]:
    found = {k: t for m, one in state.memory.items() for k, t in one.tensors(m).items()}
    if state.fusion is not None:
        found |= {f"fusion.{k}": t for k, t in state.fusion.state_dict().items()}
    return {**found, "layers": layers}
