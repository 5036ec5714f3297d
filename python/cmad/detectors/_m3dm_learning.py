"""How M3DM learns: its fusion of features, and the layers that decide over its banks."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from cmad import gpu
from cmad.checkpoint import Checkpoint
from cmad.curves import Curves
from cmad.nn.fusion import FeatureFusion, learning_rate
from cmad.progress import Step
from cmad.store import FeatureStore
from cmad.types import Features

DECAY = 1.5e-6
"""AdamW's weight decay, as published."""


def train(
    fusion: FeatureFusion,
    store: FeatureStore,
    pairs: Callable[[Features], tuple[Tensor, Tensor]],
    *,
    epochs: int,
    batch_size: int,
    patches_per_part: int | None,
    rate: float,
    seed: int,
    step: Step,
    checkpoint: Checkpoint | None = None,
) -> tuple[list[tuple[float, ...]], Curves]:
    """Train the fusion by AdamW on the contrastive loss, in place.

    Args:
        fusion: on the store's device.
        store: of good parts.
        pairs: gives the 3D and 2D rows of a part's patches, (Q, D3) and (Q, D2).
        epochs: passes over all parts.
        batch_size: parts per step; all their patches are told from each other.
        patches_per_part: drawn afresh from each part in each epoch; None takes all.
        rate: the highest learning rate, see `cmad.nn.fusion.learning_rate`.
        seed: of the order and the draws.
        step: called after each epoch.
        checkpoint: keeps each epoch's end, and begins behind the last one that it holds.

    Returns:
        The loss of each step; and of each epoch their mean.

    Raises:
        ValueError: a loss is not finite.

    """
    adam = torch.optim.AdamW(fusion.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=DECAY)
    generator = torch.Generator().manual_seed(seed)
    losses: list[tuple[float, ...]] = []
    curves = Curves()
    keeper = checkpoint or Checkpoint()
    fusion.train()
    for epoch in keeper.epochs(epochs, generator, losses, fusion=fusion, adam=adam, curves=curves):
        batches = torch.split(torch.randperm(len(store), generator=generator), batch_size)
        found: list[float] = []
        for i, batch in enumerate(batches):
            drawn = [_drawn(pairs(store[at]), patches_per_part, generator) for at in batch.tolist()]
            xyz, rgb = (torch.cat(rows) for rows in zip(*drawn, strict=True))
            loss = fusion.loss(xyz, rgb)
            if not loss.isfinite():
                raise ValueError(
                    f"fit: the loss is {loss.item()} in epoch {epoch + 1}: the features are not "
                    "finite, or overflow"
                )
            # Counted to the step's end, or the first would change nothing.
            adam.param_groups[0]["lr"] = learning_rate(rate, epoch + (i + 1) / len(batches), epochs)
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            found.append(loss.item())
        losses += [(one,) for one in found]
        curves.add({"loss": sum(found) / len(found)})
        step(f"loss {found[-1]:.4f}")
    fusion.eval()
    return losses, curves


def _drawn(
    pair: tuple[Tensor, Tensor], count: int | None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Take some of a part's patches."""
    xyz, rgb = pair
    if count is None or len(xyz) <= count:
        return xyz, rgb
    [at] = gpu.upload([torch.randperm(len(xyz), generator=generator)[:count]], xyz.device)
    return xyz[at], rgb[at]


def decision(values: Tensor) -> Tensor:
    """Learn by a linear one-class SVM how much each bank counts.

    M3DM, "Decision Layer Fusion". What `score_samples` of it says of (x, y, z) is their sum, so
    weighted. It descends the hinge loss from 0 towards the values, which are not negative, so no
    weight is either: what is farther from the banks is more anomalous.

    Args:
        values: (N, B) float32, 0 or more, of good parts or their pixels, by bank.

    Returns:
        (B,) float64 weights.

    """
    from sklearn.exceptions import ConvergenceWarning  # slow to import
    from sklearn.linear_model import SGDOneClassSVM

    svm = SGDOneClassSVM(random_state=42, nu=0.5, max_iter=1000)
    with warnings.catch_warnings():
        # Of few parts 1000 passes are few updates; the weights hardly change any more by then.
        warnings.simplefilter("ignore", ConvergenceWarning)
        svm.fit(values.numpy())
    return torch.from_numpy(svm.coef_).double()
