"""Training of CFM's mappings on features that are extracted once."""

import itertools
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from cmad.detectors._inputs import good_only, parts_of
from cmad.nn import Mappings, cosine_losses
from cmad.pipeline import Pipeline, arithmetic
from cmad.progress import Step, bar
from cmad.store import FeatureStore
from cmad.types import Features, Frame, Points, Sample

STATISTICS_FRAMES = 64
"""Training frames that an extractor's statistics are taken from, at most: the first ones."""

Rows = Callable[[Features, Tensor | None], tuple[Tensor, Tensor]]
"""Features of a frame and rows of its foreground (None for all) to 2D and 3D features."""


def extract(
    pipeline: Pipeline, samples: Iterable[Sample], store: FeatureStore, progress: bool
) -> Pipeline:
    """Extract the features of the training frames into a store.

    Args:
        pipeline: not changed.
        samples: good parts; iterated once.
        store: takes the features, in order.
        progress: show a progress bar when on a terminal.

    Returns:
        The pipeline with the statistics that its 3D extractor takes from training clouds, in a copy
        of that extractor: the user's own, and a detector trained before, stay as they were.

    """
    with bar("extracting features", parts_of(samples), show=progress) as step:
        frames = (pipeline.frame(s) for s in good_only(samples, "fit"))
        first: list[Frame] = []
        known: list[Points] | None = None
        if pipeline.xyz.takes_statistics:
            first = list(itertools.islice(frames, STATISTICS_FRAMES))
        if first:
            pipeline, known = pipeline.with_statistics(first)
        for i, frame in enumerate(itertools.chain(first, frames)):
            points = known[i] if known is not None and i < len(known) else None
            store.append(pipeline.cached_features(frame, points))
            step()
    return pipeline


def train(
    mappings: Mappings,
    store: FeatureStore,
    rows: Rows,
    *,
    epochs: int,
    pixels_per_image: int | None,
    batch_size: int,
    shuffle: bool,
    seed: int,
    precision: torch.dtype = torch.float32,
    step: Step,
) -> list[tuple[float, float]]:
    """Train both mappings together by Adam at 1e-3 on the cosine loss (CFM, section 3.2).

    Args:
        mappings: trained in place.
        store: features of the training frames.
        rows: computes the features of foreground pixels.
        epochs: passes over all frames.
        pixels_per_image: drawn afresh from each frame in each epoch; None takes all.
        batch_size: frames per optimiser step; the loss is the mean over their pixels.
        shuffle: new order of the frames in each epoch.
        seed: of the order and the draws.
        precision: of the networks' arithmetic.
        step: called after each epoch.

    Returns:
        The 2D and 3D loss of each optimiser step.

    """
    adam = torch.optim.Adam(mappings.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    losses: list[tuple[float, float]] = []
    mappings.train()
    for epoch in range(epochs):
        order = torch.arange(len(store))
        if shuffle:
            order = torch.randperm(len(store), generator=generator)
        for batch in torch.split(order, batch_size):
            parts = []
            for i in batch.tolist():
                features, row = store[i], None
                if pixels_per_image is not None:
                    count = len(features.weights.pixel)
                    row = torch.randperm(count, generator=generator)[:pixels_per_image]
                parts.append(rows(features, row))
            e_2d, e_3d = (torch.cat(modality) for modality in zip(*parts, strict=True))
            if len(e_2d) == 0:  # the draw hit no pixel that counts
                continue
            with arithmetic(precision):
                predicted_2d, predicted_3d = mappings(e_2d, e_3d)
                loss_2d, loss_3d = cosine_losses(predicted_2d, predicted_3d, e_2d, e_3d)
            if not (loss_2d.isfinite() and loss_3d.isfinite()):
                raise ValueError(
                    f"fit: the loss is {loss_2d.item() + loss_3d.item()} in epoch {epoch + 1}: the "
                    "features are not finite, or overflow in this precision"
                )
            adam.zero_grad()
            (loss_2d + loss_3d).backward()  # type: ignore[no-untyped-call]
            adam.step()
            losses.append((loss_2d.item(), loss_3d.item()))
        step(f"loss {sum(losses[-1]):.4f}" if losses else "")
    mappings.eval()
    return losses
