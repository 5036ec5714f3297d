"""Several 3D extractors: each has a method of its own, and their maps become one."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Generic, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmad import maps as smoothing
from cmad import rasters
from cmad.checkpoint import Checkpoint
from cmad.curves import Curves
from cmad.detectors.method import Learnt, Method
from cmad.model_file import prefixed
from cmad.store import FeatureStore
from cmad.types import Features, GridMaps

M = TypeVar("M", bound=Method)
Map = npt.NDArray[np.float32]
WHOLE = "map"
"""What the fused map is called among the others."""
RULES = ("product", "sum")
"""How the maps of several extractors become one."""


class Fusion(Generic[M]):
    """Does with several 3D extractors what a method does with one.

    Each member looks at the image and one of the extractors. By the rule ``"product"``, the paper's
    for two modalities (CFM, section 3.3), their maps are multiplied before they are smoothed: all
    views must disagree. Then the product is smoothed by the paper's Gaussian, and the score is its
    largest value.

    By ``"sum"`` the smoothed maps are divided by their deviation over the part's pixels of good
    parts that the member has not learnt from, and added; the score is the largest value of the sum.
    (A mean taken off first would change no order: it is the same everywhere.) The deviations come
    from learning on either half of the good parts and judging the other, so that an extractor that
    fits its training parts better weighs no more for it.
    """

    def __init__(self, members: Mapping[str, M], rule: str = "product") -> None:
        """Keep a method for each 3D extractor, by its name, and one of `RULES`."""
        self.members, self.rule = dict(members), rule
        self._scales: dict[str, float] = {}

    def learn(
        self, store: FeatureStore, training: object, progress: bool, checkpoint: Checkpoint
    ) -> Learnt:
        """Learn each method, and for a sum the deviations of its maps.

        The checkpoint is that of the last method's training; each before it has one beside.
        """
        named = self.members if self.rule == "sum" else ()
        scales = {
            name: self._deviations(name, store, training, progress, checkpoint) for name in named
        }
        found: list[Learnt] = []
        for i, (name, member) in enumerate(self.members.items()):
            kept = checkpoint if i == len(self.members) - 1 else checkpoint.beside(name)
            found.append(member.learn(View(store, name), training, progress, kept))
        own = {
            f"scale.{name}.{way}": torch.tensor(value, dtype=torch.float64)
            for name, of_member in scales.items()
            for way, value in of_member.items()
        }
        losses = [sum(steps, ()) for steps in zip(*(one.losses for one in found), strict=False)]
        curves = Curves()
        for name, one in zip(self.members, found, strict=True):
            curves.update(one.curves.named(f"{name}: "))
        return Learnt(own | self._named([one.tensors for one in found]), losses, curves=curves)

    def tensors(self) -> dict[str, Tensor]:
        """Return what each method has learnt, and the deviations; empty before."""
        if not all(member.tensors() for member in self.members.values()):
            return {}
        own = {
            f"scale.{name}": torch.tensor(value, dtype=torch.float64)
            for name, value in self._scales.items()
        }
        return own | self._named([member.tensors() for member in self.members.values()])

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `learn` gave."""
        fresh = {name: copy.copy(member) for name, member in self.members.items()}
        for name, member in fresh.items():
            member.take(prefixed(tensors, f"{name}."))
        self._scales = {name: float(t) for name, t in prefixed(tensors, "scale.").items()}
        self.members = fresh

    def maps(self, features: Features) -> GridMaps:
        """Make one of the maps of all methods."""
        grids = {n: m.maps(seen_by(features, n)) for n, m in self.members.items()}
        return self._added(grids) if self.rule == "sum" else self._multiplied(grids)

    def _multiplied(self, grids: Mapping[str, GridMaps]) -> GridMaps:
        first = next(iter(grids.values()))
        if any(grid.raw is None for grid in grids.values()):
            raise ValueError(f'fuse="product": {first.name} has no map before smoothing')
        raw = _product([cast(Map, grid.raw) for grid in grids.values()])
        map_, score = smoothing.paper_map(torch.from_numpy(raw))
        shown = {w: _product([grid.maps[w] for grid in grids.values()]) for w in first.maps}
        return replace(first, score=float(score), map=map_.numpy(), maps=shown, scores={}, raw=raw)

    def _added(self, grids: Mapping[str, GridMaps]) -> GridMaps:
        first = next(iter(grids.values()))
        way = _way(first)

        def added(which: str) -> npt.NDArray[np.float32]:
            unit = {name: self._scales[f"{name}.{way}.{which}"] for name in grids}
            scaled = [_maps(grid)[which] / unit[name] for name, grid in grids.items()]
            return np.asarray(np.sum(scaled, axis=0), np.float32)

        whole = added(WHOLE)
        return replace(
            first,
            score=float(whole.max()),
            map=whole,
            maps={which: added(which) for which in first.maps},
            scores={},
            raw=None,
        )

    def all_maps(self, features: Sequence[Features]) -> list[GridMaps]:
        """Likewise of several parts."""
        return [self.maps(one) for one in features]

    def _deviations(
        self,
        name: str,
        store: FeatureStore,
        training: object,
        progress: bool,
        checkpoint: Checkpoint,
    ) -> dict[str, float]:
        """Deviation of a method's maps over the pixels of held-out good parts, by way and map."""
        member = copy.copy(self.members[name])
        ways = (member.modalities, *member.fallbacks)
        good = store.good
        halves = (good[0::2], good[1::2]) if len(good) > 1 else (good, good)
        seen: dict[str, list[tuple[int, float, float]]] = {}
        for half, (own, others) in enumerate((halves, halves[::-1])):
            view, kept = View(store, name, own), checkpoint.beside(f"{name}.half{half + 1}")
            member.take(member.learn(view, training, progress, kept).tensors)
            for i in others:
                features = seen_by(store[i], name)
                for way in ways:
                    grid = member.maps(rasters.only(features, way))
                    for which, map_ in _maps(grid).items():
                        values = map_.astype(np.float64)
                        if features.valid is not None and features.valid.shape == values.shape:
                            values = values[features.valid.cpu().numpy()]
                        sums = values.size, float(values.sum()), float((values**2).sum())
                        seen.setdefault(f"{_way(grid)}.{which}", []).append(sums)
        found = {}
        for key, of_parts in seen.items():
            count, total, squares = np.sum(of_parts, axis=0)
            deviation = float(np.sqrt(max(squares / count - (total / count) ** 2, 0)))
            found[key] = deviation or 1.0  # a map of zeros adds nothing in any unit
        return found

    def _named(self, of_members: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {
            f"{name}.{key}": tensor
            for name, tensors in zip(self.members, of_members, strict=True)
            for key, tensor in tensors.items()
        }


class View(FeatureStore):
    """Some good parts of a store and the synthetic defects on them, as one 3D extractor sees them.

    Args:
        store: not changed.
        name: of the extractor.
        good: positions of good parts, ascending; None takes all that there is.

    """

    def __init__(self, store: FeatureStore, name: str, good: Sequence[int] | None = None) -> None:
        """Note which parts there are."""
        super().__init__(store.dtype, device=store.device)
        self._store, self._name = store, name
        if store.held_out is not None and good is None:
            self.held_out = View(store.held_out, name)
        everything = store.good
        chosen = everything if good is None else list(good)
        rank = {everything.index(i): new for new, i in enumerate(chosen)}
        defects = [(i, s) for i, s in store.sources.items() if good is None or s in rank]
        self._at = chosen + [i for i, _ in defects]
        self._sources = {
            len(chosen) + j: None if source is None else rank[source]
            for j, (_, source) in enumerate(defects)
        }

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._at)

    def __getitem__(self, i: int) -> Features:  # type: ignore[override]
        """Return the features of frame ``i``."""
        i = range(len(self))[i]
        seen = seen_by(self._store[self._at[i]], self._name)
        return replace(seen, source=self._sources[i]) if i in self._sources else seen

    @property
    def sources(self) -> dict[int, int | None]:
        """As `FeatureStore.sources`."""
        return dict(self._sources)


def seen_by(features: Features, name: str) -> Features:
    """Return the features without those of other 3D extractors."""
    return replace(features, points={n: p for n, p in features.points.items() if n == name})


def _product(maps: Sequence[Map]) -> Map:
    return np.asarray(np.prod(maps, axis=0), np.float32)


def _maps(grid: GridMaps) -> dict[str, npt.NDArray[np.float32]]:
    return {WHOLE: grid.map, **grid.maps}


def _way(grid: GridMaps) -> str:
    return "+".join(grid.modalities)
