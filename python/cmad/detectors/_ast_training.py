"""Training of AST's teacher, then of its student (AST, section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from cmad.checkpoint import Checkpoint
from cmad.curves import Curves
from cmad.detectors._inputs import whole
from cmad.nn.flow import Teacher, teacher_loss
from cmad.nn.student import Student, distances
from cmad.progress import Step
from cmad.store import FeatureStore
from cmad.types import Features


@dataclass(frozen=True)
class Training:
    """How AST is trained: arguments of its `fit`."""

    epochs: int = 72
    """Passes over all parts, of the student."""
    teacher_epochs: int | None = None
    """Passes of the teacher, before; None takes as many."""
    batch_size: int = 8
    """Parts per optimiser step."""
    learning_rate: float = 2e-4
    """Of Adam."""

    def __post_init__(self) -> None:
        """Check the numbers, of any integer type."""
        for name in ("epochs", "teacher_epochs", "batch_size"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole("fit", name, value, 1))
        rate = self.learning_rate
        if not (isinstance(rate, int | float) and 0 < rate < float("inf")):
            raise ValueError(f"fit: learning_rate must be above 0, got {rate!r}")

    @property
    def of_teacher(self) -> int:
        """Passes of the teacher."""
        return self.epochs if self.teacher_epochs is None else self.teacher_epochs


class Inputs(Protocol):
    """What makes the networks' input of a part's features: a map (C, h, w), a mask (1, h, w)."""

    def __call__(self, features: Features, /) -> tuple[Tensor, Tensor]:
        """Return both, float32."""


def optimiser(net: nn.Module, rate: float) -> torch.optim.Adam:
    """Return the published Adam: its decay of the weights is added to the gradient."""
    on_gpu = next(net.parameters()).is_cuda
    return torch.optim.Adam(net.parameters(), rate, weight_decay=1e-5, fused=on_gpu or None)


def train(
    teacher: Teacher,
    student: Student,
    store: FeatureStore,
    inputs: Inputs,
    how: Training,
    *,
    seed: int,
    step: Step,
    checkpoint: Checkpoint,
) -> tuple[list[tuple[float, ...]], Curves]:
    """Train the teacher by its likelihood, then the student to predict what the teacher makes.

    Parts are shuffled in each epoch; those that do not fill a batch are left out of it, unless
    there are fewer than one batch in all. Float32, whatever the detector's precision is.

    Args:
        teacher: trained in place, on the device.
        student: likewise.
        store: features of the training parts, which it gives on the device. Of those that it has
            held out the loss is computed after each epoch; nothing is learnt from them.
        inputs: makes the networks' input of them.
        how: epochs, batches, rate.
        seed: of the order.
        step: called after each epoch.
        checkpoint: keeps each epoch's end, and begins behind the last one that it holds.

    Returns:
        The loss of each step, the teacher's before the student's, and of each epoch the mean of
        either, ``"teacher"`` and ``"student"``, and those of held-out parts.

    """
    nets: dict[str, Teacher | Student] = {"teacher": teacher, "student": student}
    adams = {name: optimiser(net, how.learning_rate) for name, net in nets.items()}
    losses: list[tuple[float, ...]] = []
    curves = Curves()
    generator = torch.Generator().manual_seed(seed)
    for epoch in checkpoint.epochs(
        how.of_teacher + how.epochs,
        generator,
        losses,
        curves=curves,
        teacher=teacher,
        student=student,
        teacher_adam=adams["teacher"],
        student_adam=adams["student"],
    ):
        name = "teacher" if epoch < how.of_teacher else "student"
        net, adam, found = nets[name].train(), adams[name], []
        for batch in _batches(torch.randperm(len(store), generator=generator), how.batch_size):
            loss = _loss(teacher, student, name, *_stacked(inputs, store, batch))
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            found.append(loss.detach())
        of_epoch = torch.stack(found).cpu()
        losses += _finite(of_epoch, epoch)
        net.eval()
        means = {name: float(of_epoch.double().mean())}
        if store.held_out:
            means[f"{name} held out"] = _held_out(
                teacher, student, name, inputs, store.held_out, how.batch_size
            )
        curves.add(means)
        step(f"{name}'s loss {means[name]:.4f}")
    teacher.eval()
    student.eval()
    return losses, curves


def _batches(order: Tensor, size: int) -> list[list[int]]:
    """Divide an order into batches of a size, without the last one where it is incomplete."""
    batches = [batch.tolist() for batch in torch.split(order, size)]
    return batches if len(order) < size else [b for b in batches if len(b) == size]


def _stacked(inputs: Inputs, store: FeatureStore, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
    made = [inputs(store[i]) for i in batch]
    return torch.stack([x for x, _ in made]), torch.stack([mask for _, mask in made])


def _loss(teacher: Teacher, student: Student, name: str, x: Tensor, mask: Tensor) -> Tensor:
    """Return the loss of the network that is trained."""
    if name == "teacher":
        z, logdet = teacher(x)
        return teacher_loss(z, logdet, mask)
    with torch.no_grad():
        z, _ = teacher(x)
    return distances(z, student(x), mask).mean()


@torch.no_grad()
def _held_out(
    teacher: Teacher,
    student: Student,
    name: str,
    inputs: Inputs,
    store: FeatureStore,
    batch_size: int,
) -> float:
    """Return the mean loss of parts that nothing is learnt from."""
    total = 0.0
    for batch in torch.split(torch.arange(len(store)), batch_size):
        x, mask = _stacked(inputs, store, batch.tolist())
        total += len(batch) * float(_loss(teacher, student, name, x, mask))
    return total / len(store)


def _finite(losses: Tensor, epoch: int) -> list[tuple[float, ...]]:
    """Return an epoch's losses (steps,): looked at once, so that a GPU is not waited for.

    Raises:
        ValueError: one is not finite.

    """
    bad = losses[~losses.isfinite()]
    if len(bad):
        raise ValueError(
            f"fit: the loss is {float(bad[0])} in epoch {epoch + 1}: the features are not finite, "
            "or too large for this learning_rate"
        )
    return [(loss,) for loss in losses.tolist()]
