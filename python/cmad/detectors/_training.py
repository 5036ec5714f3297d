"""Training of CFM's mappings on kept features."""

from collections.abc import Callable

import torch
from torch import Tensor

from cmad.nn import Mappings, cosine_losses
from cmad.progress import Step
from cmad.store import FeatureStore
from cmad.types import Features

Rows = Callable[[Features, Tensor | None], tuple[Tensor, Tensor]]
"""Features of a frame and rows of its foreground (None for all) to 2D and 3D features."""


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
    arithmetic: torch.dtype = torch.float32,
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
        arithmetic: float32, or the half precision to autocast to.
        step: called after each epoch.

    Returns:
        The 2D and 3D loss of each optimiser step.

    """
    adam = torch.optim.Adam(mappings.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    losses: list[tuple[float, float]] = []
    mappings.train()
    for _ in range(epochs):
        order = torch.arange(len(store))
        if shuffle:
            order = torch.randperm(len(store), generator=generator)
        for batch in order.split(batch_size):
            parts = []
            for i in batch.tolist():
                features, row = store[i], None
                if pixels_per_image is not None:
                    count = len(features.weights.pixel)
                    row = torch.randperm(count, generator=generator)[:pixels_per_image]
                parts.append(rows(features, row))
            e_2d, e_3d = (torch.cat(modality) for modality in zip(*parts, strict=True))
            with torch.autocast("cpu", dtype=arithmetic, enabled=arithmetic != torch.float32):
                loss_2d, loss_3d = cosine_losses(*mappings(e_2d, e_3d), e_2d, e_3d)
            adam.zero_grad()
            (loss_2d + loss_3d).backward()  # type: ignore[no-untyped-call]
            adam.step()
            losses.append((loss_2d.item(), loss_3d.item()))
        step(f"loss {sum(losses[-1]):.4f}")
    mappings.eval()
    return losses
