"""Anomalies on prepared frames, for methods that train on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from cmad.synthesis.maker import Made, Synthetic, pool
from cmad.synthesis.scenes import Scene, scene_of
from cmad.synthesis.settings import Synthesis
from cmad.types import Frame

CACHED = 8
"""Scenes that are kept as arrays."""


@dataclass(frozen=True, eq=False)
class SyntheticFrame:
    """A good part with an anomaly, and where it is."""

    frame: Frame
    """As `cmad.preprocess.prepare` makes it, in memory of its own; what is valid, the window and
    the plane are those of the good part. Its name has the number of the anomaly: ``000+0007``."""
    mask: Tensor
    """(S, S) bool, the pixels pasted, for frames without points (R, R); never empty. Small holes of
    the sensor are marked, too, though they have no point."""
    kind: str
    """What was changed, of `cmad.synthesis.KINDS`."""
    target: int
    """Position of the good part among the frames."""


SyntheticFrames = Synthetic[SyntheticFrame]


def synthesise(
    frames: Sequence[Frame],
    how: Synthesis | None = None,
    *,
    seed: int = 0,
    count: int = 800,
    sources: Sequence[Frame] = (),
) -> SyntheticFrames:
    """Paste anomalies on good parts.

    Part ``i`` depends on the frames, sources, settings, seed and ``i`` only: neither on ``count``
    nor on what was asked for before. Each frame has its turn before one comes a second time. Parts
    that are too small are left out, with one warning.

    Args:
        frames: prepared good parts; read by position, some of them often. They are not changed.
        how: the settings; None takes `Synthesis()`.
        seed: 0 or more.
        count: of the parts to make, 0 or more; the paper takes 800 (appendix B).
        sources: cut from these instead of from the frames, resized where they have another size.
            One without points gives colours only, one without image points only; what none of them
            has is cut from the frames.

    Returns:
        The parts, made when they are asked for; that raises ValueError where nothing fits.

    Raises:
        ValueError: no frame, none that can be used, a kind that takes what a frame lacks, or a
            number out of range.

    """
    how = how or Synthesis()
    expect_counts("synthesise", seed, count)

    @lru_cache(maxsize=CACHED)
    def load(i: int) -> Scene:
        return scene_of(frames[i] if i < len(frames) else sources[i - len(frames)])

    def finish(made: Made, number: int) -> SyntheticFrame:
        mask = torch.from_numpy(made.canvas.mask)
        frame = _frame(frames[made.target], made, number)
        return SyntheticFrame(frame, mask, made.kind, made.target)

    found = pool(load, len(frames), len(sources), how, "synthesise")
    return Synthetic(found, how, seed, count, finish)


def expect_counts(what: str, seed: int, count: int) -> None:
    """Raise ValueError where seed or count is below 0."""
    if seed < 0 or count < 0:
        raise ValueError(f"{what}: seed and count must be 0 or more, got {seed} and {count}")


def _frame(good: Frame, made: Made, number: int) -> Frame:
    rgb, xyz = made.canvas.rgb, made.canvas.xyz
    return replace(
        good,
        rgb=None if rgb is None else torch.from_numpy(rgb).permute(2, 0, 1).contiguous(),
        xyz=None if xyz is None else torch.from_numpy(xyz),
        valid=None if good.valid is None else good.valid.clone(),
        name=f"{good.name}+{number:04d}",
    )
