"""Training of CFM's mappings on features that are extracted once."""

from dataclasses import replace

import torch

from cmad.checkpoint import Checkpoint
from cmad.nn import Mappings, cosine_losses
from cmad.nn.mapping import MODALITIES
from cmad.nn.on_maps import Cut, window
from cmad.pipeline import arithmetic
from cmad.progress import Step
from cmad.rasters import Raster, counted, foreground, rows
from cmad.store import FeatureStore


def train(
    mappings: Mappings,
    store: FeatureStore,
    raster: Raster,
    *,
    epochs: int,
    pixels_per_image: int | None,
    batch_size: int,
    shuffle: bool,
    seed: int,
    precision: torch.dtype = torch.float32,
    step: Step,
    checkpoint: Checkpoint | None = None,
) -> list[tuple[float, ...]]:
    """Train both mappings together by Adam at 1e-3 on the cosine loss (CFM, section 3.2).

    Args:
        mappings: trained in place.
        store: features of the training frames.
        raster: the pixels; those of its foreground are trained on.
        epochs: passes over all frames.
        pixels_per_image: drawn afresh from each frame in each epoch; None takes all. For
            convolutions, those of a square window.
        batch_size: frames per optimiser step; the loss is the mean over their pixels.
        shuffle: new order of the frames in each epoch.
        seed: of the order and the draws.
        precision: of the networks' arithmetic. float16 trains in float32: the gradients of a mean
            over real numbers of pixels are below its smallest number.
        step: called after each epoch.
        checkpoint: keeps each epoch's end, and begins behind the last one that it holds.

    Returns:
        The 2D and 3D loss of each optimiser step.

    """
    if precision == torch.float16:
        precision = torch.float32
    adam = torch.optim.Adam(mappings.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    losses: list[tuple[float, ...]] = []
    on_maps = mappings.kind == "conv"
    mappings.train()
    keeper = checkpoint or Checkpoint()
    for epoch in keeper.epochs(epochs, generator, losses, mappings=mappings, adam=adam):
        order = torch.arange(len(store))
        if shuffle:
            order = torch.randperm(len(store), generator=generator)
        for batch in torch.split(order, batch_size):
            parts_2d, parts_3d, cuts = [], [], []
            for i in batch.tolist():
                features = store[i]
                cell = foreground(features, raster)
                if pixels_per_image is not None and on_maps:
                    cell = window(cell, raster.size, pixels_per_image, generator)
                elif pixels_per_image is not None:
                    drawn = torch.randperm(len(cell), generator=generator)[:pixels_per_image]
                    cell = cell[drawn]
                cut = Cut.of(features, raster, cell) if on_maps else None
                e = rows(features, raster, cell) if cut is None else cut.observed()
                used = torch.ones(len(cell), dtype=torch.bool)
                if raster.smoothing.zero_sum_is_missing:
                    used = counted(e["3d"], raster.smoothing)
                    e = {m: rows_of[used] for m, rows_of in e.items()}
                if cut is not None:
                    cuts.append(replace(cut, place=cut.place[used]))
                parts_2d.append(e["2d"])
                parts_3d.append(e["3d"])
            e_2d, e_3d = torch.cat(parts_2d), torch.cat(parts_3d)
            if len(e_2d) == 0:  # the draw hit no pixel that counts
                continue
            with arithmetic(precision):
                if on_maps:
                    predicted_2d, predicted_3d = (
                        torch.cat([cut.predicted(mappings, m) for cut in cuts]) for m in MODALITIES
                    )
                else:
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
