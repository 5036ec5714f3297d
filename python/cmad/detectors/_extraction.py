"""Features of the training frames, extracted once for all that a method does with them."""

import itertools
from collections.abc import Iterable

from cmad.cache import digest
from cmad.pipeline import Known, Pipeline
from cmad.progress import bar
from cmad.store import FeatureStore
from cmad.types import Frame, Sample

STATISTICS_FRAMES = 64
"""Training frames that an extractor's statistics are taken from, at most: the first ones."""


def extract(
    pipeline: Pipeline,
    samples: Iterable[Sample],
    store: FeatureStore,
    count: int | None,
    progress: bool,
    seen: set[str],
) -> Pipeline:
    """Extract the features of the training frames into a store.

    Args:
        pipeline: not changed.
        samples: good parts; iterated once.
        store: takes the features, in order.
        count: of the samples, where it is known.
        progress: show how far it is, see `cmad.progress.bar`.
        seen: takes the `content` of each frame.

    Returns:
        The pipeline with the statistics that its 3D extractors take from training clouds, in copies
        of these extractors: the user's own, and a detector trained before, stay as they were.

    """
    with bar("extracting features", count, show=progress) as step:
        frames = (pipeline.frame(sample) for sample in samples)
        first: list[Frame] = []
        known: Known = {}
        if pipeline.takes_statistics:
            first = list(itertools.islice(frames, STATISTICS_FRAMES))
        if first:
            pipeline, known = pipeline.with_statistics(first)
        for i, frame in enumerate(itertools.chain(first, frames)):
            own = {name: [points[i]] for name, points in known.items()} if i < len(first) else None
            seen.add(content(frame))
            store.append(pipeline.features([frame], own)[0])
            step()
    return pipeline


def content(frame: Frame) -> str:
    """Return a digest of what is seen of a part, the same for each copy of it."""
    return digest(*(a for a in (frame.rgb, frame.xyz) if a is not None))
