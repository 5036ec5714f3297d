"""Anomalies on samples as cameras give them: full size, with their background."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cmad import notices
from cmad.checks import at, checked
from cmad.foreground import Part
from cmad.preprocess import Preprocessing, look, nothing
from cmad.synthesis.frames import expect_counts
from cmad.synthesis.maker import Made, Synthetic, pool
from cmad.synthesis.scenes import Scene, closed
from cmad.synthesis.settings import Synthesis
from cmad.types import Sample

CACHED = 16
"""Samples that are kept in memory; the others are read again when their turn comes."""


@dataclass(frozen=True, eq=False)
class SyntheticSample:
    """A good part with an anomaly, as cameras would give it."""

    sample: Sample
    """rgb (H, W, 3) uint8 and xyz (H, W, 3) float32, 0 where there is no point; the mask, and the
    kind of the anomaly as ``defect``. Its name is that of the good part with the number of the
    anomaly: ``000+0007``."""
    good: Sample
    """The good part as it was, with the same arrays otherwise."""
    part: npt.NDArray[np.bool_]
    """(H, W) bool, its pixels with a point that are looked at."""
    target: int
    """Position of the good part among the samples."""


SyntheticSamples = Synthetic[SyntheticSample]


def synthesise_samples(
    samples: Sequence[Sample],
    how: Synthesis | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
    count: int = 800,
    sources: Sequence[Sample] = (),
) -> SyntheticSamples:
    """Paste anomalies on good parts at the cameras' own resolution; see `synthesise`.

    The part is found as it is before training, and only there anything is pasted: the background
    and all missing points stay as they are.

    Args:
        samples: good parts; read by position, all of them once at the start.
        how: the settings; None takes `Synthesis()`.
        preprocessing: what the part is found by, background and seed; None takes
            `Preprocessing()`.
        seed: 0 or more.
        count: of the parts to make, 0 or more.
        sources: cut from these instead, see `synthesise`; of one without points, such as an image
            of a texture, everything can be cut.

    Returns:
        The parts, made when they are asked for; that raises ValueError where nothing fits.

    Raises:
        TypeError, ValueError: see `cmad.checks.checked` and `synthesise`.

    """
    how, preprocessing = how or Synthesis(), preprocessing or Preprocessing()
    expect_counts("synthesise_samples", seed, count)
    found: dict[int, Part] = {}

    def part_of(i: int, sample: Sample, xyz: Tensor) -> Part:
        if i not in found:
            found[i] = look(sample, xyz, preprocessing)[1]
            for note in found[i].notes:
                notices.warn(note.kind, at(sample, note.text))
        return found[i]

    @lru_cache(maxsize=CACHED)
    def load(i: int) -> Scene:
        sample = samples[i] if i < len(samples) else sources[i - len(samples)]
        rgb, xyz = checked(sample)
        image = None if rgb is None else rgb.numpy()
        if xyz is None:
            everything = np.ones(image.shape[:2], np.bool_)  # type: ignore[union-attr]
            return Scene(sample.name, image, None, everything, everything)
        if not xyz.any():
            none = np.zeros(xyz.shape[:2], np.bool_)
            return Scene(
                sample.name, image, xyz.numpy(), none, none, empty="xyz has no valid point"
            )
        part = part_of(i, sample, xyz)
        keep, empty = part.keep.numpy(), nothing(preprocessing.background)
        return Scene(sample.name, image, xyz.numpy(), keep, closed(keep), part.plane, empty)

    def finish(made: Made, number: int) -> SyntheticSample:
        canvas, scene = made.canvas, made.canvas.scene
        name = f"{scene.name}+{number:04d}"
        return SyntheticSample(
            Sample(canvas.rgb, canvas.xyz, canvas.mask, made.kind, name),
            Sample(scene.rgb, scene.xyz, np.zeros_like(canvas.mask), "good", scene.name),
            scene.valid,
            made.target,
        )

    found_pool = pool(load, len(samples), len(sources), how, "synthesise_samples")
    return Synthetic(found_pool, how, seed, count, finish)
