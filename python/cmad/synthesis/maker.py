"""Which part each anomaly goes on, and what it is cut from; the same for frames and samples."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, SupportsIndex, TypeVar, overload

import numpy as np

from cmad import notices
from cmad.synthesis.paste import FIELDS, Canvas, Donor, paste, pixels_of, regions
from cmad.synthesis.scenes import Scene, limits, resized
from cmad.synthesis.settings import Synthesis

ORDER, DRAWS = 1, 2
"""Streams of random numbers: the parts' order, and all that is drawn for one anomaly."""
OTHERS = 8
"""Parts that are tried instead of one on which no region can be pasted, at most."""


@dataclass(frozen=True)
class Pool:
    """The parts by number: first those that anomalies are pasted on, then the sources."""

    load: Callable[[int], Scene]
    targets: tuple[int, ...]
    """Parts that can be pasted on."""
    sources: tuple[int, ...]
    """Sources that can be cut from, counted from the first source."""
    colours: tuple[int, ...]
    """What colours are cut from."""
    shapes: tuple[int, ...]
    """What points are cut from."""
    skipped: tuple[str, ...]
    """Name and reason of each part that is not used."""


@dataclass(frozen=True, eq=False)
class Made:
    """A part with an anomaly."""

    canvas: Canvas
    kind: str
    target: int


Part = TypeVar("Part")


class Synthetic(Sequence[Part], Generic[Part]):
    """Parts with anomalies, each made when it is asked for, and the same each time."""

    def __init__(
        self,
        pool: Pool,
        how: Synthesis,
        seed: int,
        count: int,
        finish: Callable[[Made, int], Part],
    ) -> None:
        """Take what they are made of; ``finish`` makes the part from arrays and its number."""
        self._pool = pool
        self._how = how
        self._seed = seed
        self._count = count
        self._finish = finish

    @property
    def skipped(self) -> tuple[str, ...]:
        """Name and reason of each part that is not used."""
        return self._pool.skipped

    @property
    def usable(self) -> tuple[int, ...]:
        """Positions of the good parts that anomalies are pasted on."""
        return self._pool.targets

    @property
    def usable_sources(self) -> tuple[int, ...]:
        """Positions of the sources that can be cut from."""
        return self._pool.sources

    def __len__(self) -> int:
        """Return how many were asked for."""
        return self._count

    @overload
    def __getitem__(self, index: SupportsIndex) -> Part: ...
    @overload
    def __getitem__(self, index: slice) -> list[Part]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> "Part | list[Part]":
        """Make one part, or those of a slice.

        Raises:
            ValueError: no region can be pasted on the part whose turn it is, nor on others.

        """
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        i = range(len(self))[index]
        return self._finish(make(self._pool, self._how, self._seed, i), i)

    def __iter__(self) -> Iterator[Part]:
        """Make one part after the other."""
        return (self[i] for i in range(len(self)))


def pool(load: Callable[[int], Scene], parts: int, sources: int, how: Synthesis, what: str) -> Pool:
    """Look at all parts and sources once, and find out what each is good for.

    Args:
        load: returns a part, or from number ``parts`` on a source.
        parts: how many there are to paste on.
        sources: how many more there are to cut from.
        how: the settings.
        what: the function that asks, for messages.

    Raises:
        ValueError: no part, none that can be used, or a kind of anomaly that takes what they lack.

    """
    if parts == 0:
        raise ValueError(f"{what}: needs at least one good part, got none")
    usable, skipped, lacks = list[int](), list[str](), set[str]()
    donors: dict[str, list[list[int]]] = {"colour": [[], []], "shape": [[], []]}
    for i in range(parts + sources):
        scene = load(i)
        if too_small := _too_small(scene, how):
            skipped.append(f"{scene.name or f'part {i}'}: {too_small}")
            continue
        has = {"colour": scene.rgb is not None, "shape": scene.xyz is not None}
        for modality in donors:
            if has[modality]:
                donors[modality][i >= parts].append(i)
            elif i < parts:
                lacks.add(modality)
        usable.append(i)
    targets = tuple(i for i in usable if i < parts)
    if not targets:
        few = "; ".join(skipped[:3]) + ("; ..." if len(skipped) > 3 else "")
        raise ValueError(f"{what}: none of {parts} parts can be used: {few}")
    for modality, word in (("colour", "an image"), ("shape", "points")):
        if modality in lacks and (wants := {"both", modality} & set(how.kinds)):
            raise ValueError(
                f"{what}: kinds {', '.join(sorted(wants))} take {word}, which not all parts have; "
                f"ask for kinds=({'shape' if modality == 'colour' else 'colour'!r},)"
            )
    if skipped:
        notices.warn(
            "synthesis: skipped",
            f"{len(skipped)} of {parts + sources} parts are not used to synthesise anomalies: "
            + "; ".join(skipped[:3])
            + ("; ..." if len(skipped) > 3 else ""),
        )
    cuts = {modality: tuple(theirs or own) for modality, (own, theirs) in donors.items()}
    given = tuple(i - parts for i in usable if i >= parts)
    return Pool(load, targets, given, cuts["colour"], cuts["shape"], tuple(skipped))


def _too_small(scene: Scene, how: Synthesis) -> str:
    """Say why a part cannot be used; nothing where it can."""
    needed = max(
        how.min_foreground, pixels_of(how, scene.valid.shape)[0] / max(scene.valid.shape) ** 2
    )
    if scene.share >= needed:
        return ""
    if scene.empty and not scene.valid.any():
        return scene.empty
    return (
        f"the part is {scene.share:.2%} of the image's square, less than {needed:.2%} "
        "(min_foreground)"
    )


def make(pool: Pool, how: Synthesis, seed: int, index: int) -> Made:
    """Make one part with an anomaly; it depends on these arguments only.

    Raises:
        ValueError: no region can be pasted on the part chosen, nor on others.

    """
    turn, place = divmod(index, len(pool.targets))
    order = np.random.default_rng([seed, ORDER, turn]).permutation(pool.targets)
    rng = np.random.default_rng([seed, DRAWS, index])
    kind = how.kinds[index % len(how.kinds)]
    # Where nothing can be pasted on a part, the next one in this order has its turn.
    for target in np.roll(order, -place)[:OTHERS]:
        canvas = _pasted(rng, pool, how, kind, int(target))
        if canvas is not None:
            return Made(canvas, kind, int(target))
    raise ValueError(
        f"no anomaly of kind {kind!r} could be pasted on {min(len(order), OTHERS)} parts in "
        f"{FIELDS} tries each: {_why(kind)}"
    )


def _why(kind: str) -> str:
    hint = "regions of that area do not fit, or nothing that is cut can be told from what is there"
    if kind == "shape":
        hint += "; the scene may leave no room to move points: see depth_range, displacement"
    return hint


def _pasted(
    rng: np.random.Generator, pool: Pool, how: Synthesis, kind: str, target: int
) -> Canvas | None:
    """Paste regions on a part; None where none could be."""
    scene = pool.load(target)
    bounds = None if kind == "colour" else limits(scene, how.depth_range)
    canvas = Canvas(scene, bounds)
    wanted = int(rng.integers(how.regions[0], how.regions[1] + 1))
    pasted = 0
    for _ in range(FIELDS):
        for region in regions(rng, canvas.mask.shape, how):
            donor = _donor(rng, pool, kind, target, scene)
            pasted += paste(rng, canvas, region, donor, how)
            if pasted == wanted:
                return canvas
    return canvas if pasted else None


def _donor(rng: np.random.Generator, pool: Pool, kind: str, target: int, scene: Scene) -> Donor:
    """Draw what to cut from: another part where there is one; the same for both if it can be."""
    colour = shape = None
    if kind != "shape":
        colour = _other(rng, pool.colours, target)
    if kind != "colour":
        shape = colour if colour in pool.shapes else _other(rng, pool.shapes, target)
    cut = [None if i is None else resized(pool.load(i), scene) for i in (colour, shape)]
    return Donor(cut[0], cut[1], target in (colour, shape))


def _other(rng: np.random.Generator, among: tuple[int, ...], target: int) -> int:
    others = [i for i in among if i != target] or list(among)
    return others[int(rng.integers(len(others)))]
