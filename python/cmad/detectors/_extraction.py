"""Features of the training frames, extracted once for all that a method does with them."""

import itertools
from collections.abc import Iterable, Sized
from dataclasses import replace

from torch import Tensor

from cmad.cache import digest
from cmad.pipeline import Known, Pipeline
from cmad.progress import bar
from cmad.ranges import Ranges, look
from cmad.store import FeatureStore
from cmad.types import Features, Frame, Sample

STATISTICS_FRAMES = 64
"""Training frames that an extractor's statistics are taken from, at most: the first ones."""


def extract(
    pipeline: Pipeline,
    samples: Iterable[Sample],
    store: FeatureStore,
    count: int | None,
    progress: bool,
    seen: list[str],
    kept: list[Frame] | None = None,
) -> tuple[Pipeline, Ranges | None]:
    """Extract the features of the training frames into a store.

    Args:
        pipeline: not changed.
        samples: good parts; iterated once.
        store: takes the features, in order.
        count: of the samples, where it is known.
        progress: show how far it is, see `cmad.progress.bar`.
        seen: takes the `content` of each frame, in order.
        kept: takes the frames themselves; None lets go of them.

    Raises:
        ValueError: a part cannot be prepared, or an extractor's features are not finite; named.

    Returns:
        The pipeline with the statistics that its 3D extractors take from training clouds, in copies
        of these extractors: the user's own, and a detector trained before, stay as they were. And
        what the parts look like; None where there are none.

    """
    with bar("extracting features", count, show=progress) as step:
        frames = (pipeline.frame(sample) for sample in samples)
        first: list[Frame] = []
        looks = []
        known: Known = {}
        if pipeline.takes_statistics:
            first = list(itertools.islice(frames, STATISTICS_FRAMES))
        if first:
            pipeline, known = pipeline.with_statistics(first)
        for i, frame in enumerate(itertools.chain(first, frames)):
            own = {name: [points[i]] for name, points in known.items()} if i < len(first) else None
            seen.append(content(frame))
            looks.append(look(frame))
            if kept is not None:
                kept.append(frame)
            features = pipeline.features([frame], own)[0]
            _finite(features)
            store.append(features)
            step()
    return pipeline, Ranges.of(looks) if looks else None


def extract_held_out(
    pipeline: Pipeline,
    samples: Iterable[Sample],
    store: FeatureStore,
    count: int | None,
    progress: bool,
) -> None:
    """Extract the features of good parts that nothing is learnt from.

    Args:
        pipeline: with the statistics of the training parts.
        samples: iterated once.
        store: takes the features, in order.
        count: of the samples, where it is known.
        progress: show how far it is.

    Raises:
        ValueError: a part cannot be prepared, or an extractor's features are not finite; named.

    """
    with bar("extracting held-out parts", count, show=progress) as step:
        for sample in samples:
            features = pipeline.features([pipeline.frame(sample)])[0]
            _finite(features)
            store.append(features)
            step()


def extract_defective(
    pipeline: Pipeline,
    made: Iterable[tuple[Frame, Tensor, int]],
    store: FeatureStore,
    progress: bool,
) -> None:
    """Extract the features of parts with synthetic defects into the store of the good ones.

    Not through the cache: they are many, and those of another seed are others.

    Args:
        pipeline: with the statistics of the good parts.
        made: each frame, (S, S) bool where its defect is, and the position of its good part.
        store: takes the features, in order.
        progress: show a progress bar when on a terminal.

    Raises:
        ValueError: an extractor's features are not finite; named.

    """
    uncached = replace(pipeline, cache=None)
    with bar(
        "extracting synthetic defects",
        len(made) if isinstance(made, Sized) else None,
        show=progress,
    ) as step:
        for frame, mask, source in made:
            features = uncached.features([frame])[0]
            _finite(features)
            store.append(replace(features, defect=mask, source=source))
            step()


def _finite(features: Features) -> None:
    """Raise where an extractor gives numbers that nothing can be learnt from."""
    made = [*features.tokens.items(), *((n, p.features) for n, p in features.points.items())]
    for name, values in made:
        if not values.isfinite().all():
            said = f"{features.name}: " if features.name else ""
            raise ValueError(f"{said}the {name} extractor gives features that are not finite")


def content(frame: Frame) -> str:
    """Return a digest of what is seen of a part, the same for each copy of it."""
    return digest(*(a for a in (frame.rgb, frame.xyz) if a is not None))
