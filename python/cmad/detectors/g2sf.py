"""G2SF: geometry-guided score fusion (Tao, Cao and Du, 2025).

docs/g2sf.md walks from the paper's equations to the files.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from cmad import gpu, maps
from cmad.bank import Bank
from cmad.checkpoint import Checkpoint
from cmad.detectors import _g2sf_learning as learning
from cmad.detectors._g2sf_options import ABLATIONS, Options, Training
from cmad.detectors._g2sf_spaces import Metric, Prototypes, aggregated
from cmad.detectors._memory import moments
from cmad.detectors.detector import Detector
from cmad.detectors.method import Learnt
from cmad.model_file import prefixed
from cmad.nn import g2sf_training
from cmad.nn.g2sf_choices import Published
from cmad.nn.lspn import LSPN, GlobalScales
from cmad.presets import Grouping
from cmad.progress import Step, bar
from cmad.rasters import Raster, counted, everything, foreground, only, rows
from cmad.store import FeatureStore
from cmad.synthesis import SyntheticFrames, synthesise
from cmad.types import Features, Frame, GridMaps

MODALITIES = ("2d", "3d")
"""In the order that joint features have them."""


@dataclass(frozen=True)
class _Rows:
    """What a modality's bank is made of: a block for each good part, anew each time."""

    detector: "G2SF"
    store: FeatureStore
    modality: str

    def __iter__(self) -> Iterator[Tensor]:
        good = (self.store[i] for i in self.store.good)
        return (self.detector.bank_rows(features, self.modality) for features in good)


@dataclass(frozen=True)
class _Defective:
    """Good parts with synthetic defects, each made when it is its turn."""

    made: SyntheticFrames

    def __len__(self) -> int:
        return len(self.made)

    def __iter__(self) -> Iterator[tuple[Frame, Tensor, int]]:
        return ((one.frame, one.mask, one.target) for one in self.made)


class G2SF(Detector):
    """Anomaly detection by a learnt metric over the memory banks of both modalities.

    A patch's distances to its nearest rows of two banks are weighted by how anomalous their
    directions are, which a small network learns to say from good parts with synthetic defects; the
    score is the least in k + 1 local spaces.

    Maps are ``"2d"`` and ``"3d"``, the distances of each modality alone, in usual distances, and
    ``"w_2d"`` and ``"w_3d"``, the scales that the network gives them, in [1/e, e], 1 beside the
    foreground.

    Options: ``cells=56``, patches along each side; ``fraction=0.1``, of the patches that are kept;
    ``neighbours=5``, k; ``aggregate="min"``, or ``"nearest"``, ``"max"``, ``"mean"``;
    ``published="preset"``, see docs/decisions/presets.md. The others are those of `Detector`.

    `fit` takes, beside what it takes for all methods: ``epochs=80``; ``batch_size=8192``, patches
    per optimiser step; ``synthetic_parts=800``; ``patches_per_part=None``, drawn for each of these
    in each epoch, as many as there are by default; ``losses="all"``, terms of the loss. The network
    computes in float32, whatever ``precision`` is.
    """

    Options = Options
    Training = Training
    standardised = False
    why_all = "it measures both by one metric"
    from_defects = True
    learns_on_cpu = True
    ablations = ABLATIONS
    metric: Metric | None = None
    """Banks, network and scales; None before `fit`."""

    @property
    def published(self) -> Published:
        """In what the published code is followed."""
        options = cast(Options, self.options)
        return options.chosen(self.choices.published_metric)

    @property
    def grouping(self) -> Grouping:
        """How Point-MAE, given by name, groups points."""
        return replace(self.choices.grouping, groups=512 if self.published.groups else 1024)

    @property
    def scaling(self) -> maps.Scaling:
        """How maps are smoothed: in 8 bits where that is published."""
        return replace(self.choices.scaling, eight_bits=self.published.smoothing)

    @property
    def raster(self) -> Raster:
        """The patches that are scored."""
        smoothing, nearest = self.choices.smoothing, self.published.upsampling
        return Raster(self.options.cells, smoothing, nearest)

    def bank_rows(self, features: Features, modality: str) -> Tensor:
        """Return what a good part gives to the bank of a modality, (Q, D).

        All cells of the image; of the points those on the foreground, as published all.
        """
        alone, raster = only(features, (modality,)), self.raster
        if self.published.bank and modality == "2d":
            raster = replace(raster, size=max(1, raster.size // 2))
        cell = foreground(alone, raster)
        if self.published.bank:
            cell = everything(alone, raster)
        return rows(alone, raster, cell)[modality]

    def defective(
        self, frames: Sequence[Frame], training: object
    ) -> Iterable[tuple[Frame, Tensor, int]]:
        """Make parts with synthetic defects (G2SF, section III-G)."""
        count = cast(Training, training).synthetic_parts
        return _Defective(synthesise(frames, seed=self.seed, count=count))

    def learn(
        self, store: FeatureStore, training: object, progress: bool, checkpoint: Checkpoint
    ) -> Learnt:
        """Fill the banks from good parts, and learn the metric on those with synthetic defects."""
        how, published, k = cast(Training, training), self.published, self.options.neighbours
        with bar("choosing patches", None, show=progress) as step:
            prototypes = {m: self._prototypes(store, m, step) for m in MODALITIES}
        made = [store.defective[i] for i in _shuffled(len(store.defective), self.seed)]
        halves = []
        with bar("searching synthetic defects", len(made), show=progress) as step:
            for some in (made[0::2], made[1::2]):
                asked = store, some, self.raster, prototypes, 2 * k + 1, step
                halves.append(learning.gather(*asked, published.own))
        nearest, anomalous = halves[0].distance[:, 0], halves[0].anomalous
        usual = learning.usual_distances(nearest, anomalous, published.unit)
        bound = learning.largest(nearest, usual, anomalous, published.bound)
        lspn, scales = self._untrained()
        draws = len(halves[0])
        if how.patches_per_part is not None:
            draws = how.patches_per_part * len(made[0::2])
        scaled = {
            m: replace(p, usual=float(u))
            for (m, p), u in zip(prototypes.items(), usual, strict=True)
        }
        stops: dict[int, dict[str, Tensor]] = {}

        def stop(epoch: int, network: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
            if epoch in self.stops:
                then = self._untrained()
                then[0].load_state_dict(network)
                then[1].load_state_dict(own)
                stops[epoch] = Metric(scaled, *then).tensors()

        with bar("training", how.epochs, done=checkpoint.epoch, show=progress) as step:
            losses, curves = learning.train(
                g2sf_training.Objective(lspn, scales, usual, bound, published),
                [p.bank for p in prototypes.values()],
                *halves,
                epochs=how.epochs,
                draws=draws,
                batch_size=how.batch_size,
                seed=self.seed,
                step=step,
                terms=how.terms(),
                checkpoint=checkpoint,
                stop=stop,
            )
        return Learnt(Metric(scaled, lspn, scales).tensors(), losses, stops, curves)

    def tensors(self) -> dict[str, Tensor]:
        """Return banks, network and scales."""
        return {} if self.metric is None else self.metric.tensors()

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `learn` gave."""
        dims, there = self.pipeline.dims(), {k: t.to(self.device) for k, t in tensors.items()}
        prototypes = {m: Prototypes.of(m, there, dims[m]) for m in MODALITIES}
        lspn, scales = self._untrained()
        try:
            lspn.load_state_dict(prefixed(tensors, "lspn."))
            scales.load_state_dict(prefixed(tensors, "scales."))
        except RuntimeError as error:
            raise ValueError(
                f"G2SF: the network must fit features {dims['2d']} and {dims['3d']} wide: "
                f"{' '.join(str(error).split())}"
            ) from error
        self.metric = Metric(prototypes, lspn.to(self.device), scales.to(self.device))

    def maps(self, features: Features) -> GridMaps:
        """Search both banks, measure in k + 1 local spaces, and take the least."""
        local, w, distance = self.measured(features)
        of_cells = {
            "map": aggregated(local, self.options.aggregate),
            **{m: distance[:, 0, i] for i, m in enumerate(MODALITIES)},
            **{f"w_{m}": w[:, 0, i] for i, m in enumerate(MODALITIES)},
        }
        shown = {
            name: maps.enlarged(values.view(self.options.cells, -1), features.image_size)
            for name, values in of_cells.items()
        }
        score = float(of_cells["map"].max())
        raw = shown.pop("map")
        map_, before, *host = gpu.download([maps.smoothed(raw, self.scaling), raw, *shown.values()])
        return GridMaps(
            score=score,
            map=map_.numpy(),
            maps={name: m.numpy() for name, m in zip(shown, host, strict=True)},
            modalities=self.modalities,
            window=features.window,
            name=features.name,
            scores={
                **{name: float(of_cells[name].max()) for name in shown},
                "2d+3d": float(distance[:, 0].sum(-1).max()),
            },
            raw=before.numpy(),
        )

    def measured(self, features: Features) -> tuple[Tensor, Tensor, Tensor]:
        """Measure every cell of a part in its k + 1 nearest local spaces.

        Args:
            features: of one part, both modalities.

        Returns:
            l (Q, k + 1), w (Q, k + 1, 2), and the distances in usual ones (Q, k + 1, 2), row by row
            of the cells.

        """
        self._trained()
        metric, raster, ranks = cast(Metric, self.metric), self.raster, self.options.neighbours + 1
        device = features.device
        inside = torch.zeros(raster.size**2, dtype=torch.bool, device=device)
        inside[foreground(features, raster)] = True
        e = rows(features, raster, torch.arange(raster.size**2, device=device))
        inside &= counted(e["3d"], raster.smoothing)
        whole = torch.zeros_like(inside)
        whole[everything(features, raster)] = True
        # Beside the foreground there is no point to measure, unless the bank has such rows.
        searched = {"2d": whole, "3d": whole if self.published.bank else inside}
        distance = torch.zeros(len(inside), ranks, 2, device=device)
        index = torch.zeros(len(inside), ranks, 2, dtype=torch.int64, device=device)
        standardised = {m: metric.prototypes[m].standardised(e[m]) for m in MODALITIES}
        for i, m in enumerate(MODALITIES):
            at = searched[m]
            distance[at, :, i], index[at, :, i] = metric.prototypes[m].search(
                standardised[m][at], ranks
            )
        feature = torch.cat([standardised[m][inside] for m in MODALITIES], 1)
        local, w = metric.measure(feature, index, distance, inside)
        return local, w, distance / metric.usual

    def _prototypes(self, store: FeatureStore, modality: str, step: Step) -> Prototypes:
        """Choose the bank of a modality, and bring it to its own units."""
        blocks, k = _Rows(self, store, modality), self.options.neighbours
        sizes = torch.tensor([len(block) for block in blocks])
        fraction = self.options.fraction
        if not sizes.any():
            raise ValueError(f"fit: no {modality} patch of a good part lies on the foreground")
        bank = Bank.build(blocks, fraction=fraction, seed=self.seed % 2**32, progress=step)
        if len(bank) < 2 * k + 1:
            raise ValueError(
                f"fit: {len(bank)} {modality} patches are kept, at least {2 * k + 1} are needed, "
                f"2 k + 1 for {k} neighbours: take more parts or a larger fraction"
            )
        assert bank.picked is not None  # it was built here
        source = torch.arange(len(sizes)).repeat_interleave(sizes)[bank.picked]
        if self.published.standardised and modality == "3d":
            return Prototypes(bank, 0.0, 1.0, 1.0, source)
        centre, deviation = moments(blocks)
        return Prototypes(Bank((bank.rows - centre) / deviation), centre, deviation, 1.0, source)

    def _untrained(self) -> tuple[LSPN, GlobalScales]:
        dims, published = self.pipeline.dims(), self.published
        lspn = LSPN(dims["2d"], dims["3d"], self.seed, joint=published.directions)
        return lspn, GlobalScales(normalised=published.sigma)


def _shuffled(count: int, seed: int) -> list[int]:
    order: list[int] = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    return order
