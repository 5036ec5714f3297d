"""Training of CFM's mappings on features that are extracted once."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cmad import gpu
from cmad.checkpoint import Checkpoint, Stateful
from cmad.curves import Curves
from cmad.nn import Mappings, cosine_losses
from cmad.nn.mapping import MODALITIES
from cmad.nn.on_maps import Cut, window
from cmad.pipeline import arithmetic
from cmad.progress import Step
from cmad.rasters import Raster, counted, foreground, rows
from cmad.store import FeatureStore
from cmad.types import Features

HELD_OUT = 8192
"""Pixels of all held-out parts together that their loss is computed from, about."""
Seen = tuple[Tensor, Tensor, Cut | None]
"""Features of some pixels of a part, and what convolutions see around them."""


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
    device: torch.device = gpu.CPU,
    step: Step,
    checkpoint: Checkpoint | None = None,
) -> tuple[list[tuple[float, ...]], Curves]:
    """Train both mappings together by Adam at 1e-3 on the cosine loss (CFM, section 3.2).

    Args:
        mappings: trained in place, on the device.
        store: features of the training frames, which it gives on the device. Of those that it has
            held out the loss is computed after each epoch, always of the same pixels; nothing is
            learnt from them.
        raster: the pixels; those of its foreground are trained on.
        epochs: passes over all frames.
        pixels_per_image: drawn afresh from each frame in each epoch; None takes all. For
            convolutions, those of a square window.
        batch_size: frames per optimiser step; the loss is the mean over their pixels.
        shuffle: new order of the frames in each epoch.
        seed: of the order and the draws.
        precision: of the networks' arithmetic; weights, losses and Adam are float32. The gradients
            of a mean over real numbers of pixels are below float16's smallest number: on a GPU they
            are scaled, a CPU, which has nothing to gain, trains in float32.
        device: order and draws are the CPU's on all devices, so a seed stands for the same ones.
        step: called after each epoch.
        checkpoint: keeps each epoch's end, and begins behind the last one that it holds.

    Returns:
        The 2D and 3D loss of each optimiser step; and of each epoch their means, and those of the
        held-out parts.

    """
    on_gpu = device.type != "cpu"
    if precision == torch.float16 and not on_gpu:
        precision = torch.float32
    # Fused, it needs no look at the scaled gradients by the host.
    adam = torch.optim.Adam(mappings.parameters(), lr=1e-3, fused=on_gpu or None)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    changing: dict[str, Stateful] = {"mappings": mappings, "adam": adam}
    if scaler.is_enabled():
        changing["scaler"] = scaler
    generator = torch.Generator().manual_seed(seed)
    losses: list[tuple[float, ...]] = []
    curves = Curves()
    changing["curves"] = curves
    on_maps = mappings.kind == "conv"
    held_out = _held_out(store.held_out, raster, on_maps, seed) if store.held_out else []
    mappings.train()
    keeper = checkpoint or Checkpoint()
    for epoch in keeper.epochs(epochs, generator, losses, **changing):
        found: list[Tensor] = []
        order = torch.arange(len(store))
        if shuffle:
            order = torch.randperm(len(store), generator=generator)
        for batch in torch.split(order, batch_size):
            parts = [
                _seen(store[i], raster, pixels_per_image, on_maps, generator)
                for i in batch.tolist()
            ]
            if not any(len(e_2d) for e_2d, _, _ in parts):  # the draw hit no pixel that counts
                continue
            with arithmetic(precision, device):
                loss_2d, loss_3d = _losses(mappings, parts)
            adam.zero_grad()
            scaler.scale(loss_2d + loss_3d).backward()  # type: ignore[no-untyped-call]
            scaler.step(adam)
            scaler.update()
            found.append(torch.stack([loss_2d, loss_3d]).detach())
        if found:
            of_epoch = gpu.download([torch.stack(found)])[0]
            losses += _finite(of_epoch, epoch)
            means = dict(zip(MODALITIES, of_epoch.double().mean(0).tolist(), strict=True))
            if held_out:
                with torch.no_grad(), arithmetic(precision, device):
                    unseen = torch.stack(_losses(mappings.eval(), held_out)).cpu().tolist()
                mappings.train()
                means |= dict(zip((f"{m} held out" for m in MODALITIES), unseen, strict=True))
            curves.add(means)
        step(f"loss {sum(losses[-1]):.4f}" if losses else "")
    mappings.eval()
    return losses, curves


def _seen(
    features: Features,
    raster: Raster,
    pixels: int | None,
    on_maps: bool,
    generator: torch.Generator,
) -> Seen:
    """Draw pixels of a part's foreground, and return their features."""
    cell = foreground(features, raster)
    if pixels is not None and on_maps:
        cell = window(cell, raster.size, pixels, generator)
    elif pixels is not None:
        drawn = torch.randperm(len(cell), generator=generator)[:pixels]
        cell = cell[gpu.upload([drawn], cell.device)[0]]
    cut = Cut.of(features, raster, cell) if on_maps else None
    e = rows(features, raster, cell) if cut is None else cut.observed()
    used = torch.ones(len(cell), dtype=torch.bool, device=cell.device)
    if raster.smoothing.zero_sum_is_missing:
        used = counted(e["3d"], raster.smoothing)
        e = {m: rows_of[used] for m, rows_of in e.items()}
    return e["2d"], e["3d"], None if cut is None else replace(cut, place=cut.place[used])


def _held_out(parts: FeatureStore, raster: Raster, on_maps: bool, seed: int) -> list[Seen]:
    """Return the pixels that the loss of held-out parts is computed from."""
    own = torch.Generator().manual_seed(seed)  # not the training's, which they must not change
    each = max(1, HELD_OUT // len(parts))
    drawn = [_seen(parts[i], raster, each, on_maps, own) for i in range(len(parts))]
    return [one for one in drawn if len(one[0])]


def _losses(mappings: Mappings, parts: Sequence[Seen]) -> tuple[Tensor, Tensor]:
    """Return the 2D and 3D loss over some parts' pixels."""
    of_2d, of_3d, cuts = zip(*parts, strict=True)
    e_2d, e_3d = torch.cat(of_2d), torch.cat(of_3d)
    if mappings.kind == "conv":
        predicted_2d, predicted_3d = (
            torch.cat([cut.predicted(mappings, m) for cut in cuts if cut is not None])
            for m in MODALITIES
        )
    else:
        predicted_2d, predicted_3d = mappings(e_2d, e_3d)
    return cosine_losses(predicted_2d, predicted_3d, e_2d, e_3d)


def _finite(losses: Tensor, epoch: int) -> list[tuple[float, ...]]:
    """Return an epoch's losses (steps, 2): looked at once, so that a GPU is not waited for.

    Raises:
        ValueError: one is not finite.

    """
    bad = losses.sum(1)[~losses.isfinite().all(1)]
    if len(bad):
        raise ValueError(
            f"fit: the loss is {float(bad[0])} in epoch {epoch + 1}: the features are not finite, "
            "or overflow in this precision"
        )
    return [tuple(step) for step in losses.tolist()]
