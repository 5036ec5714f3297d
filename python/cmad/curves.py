"""How a training went: values by epoch, kept with the model."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

TENSOR = "curves."
"""Beginning of the names in a model file."""


class Curves(dict[str, list[float]]):
    """Values by name, one for each epoch, such as the mean loss of a modality.

    It has a state as modules of torch have, so that a checkpoint keeps it.
    """

    def add(self, values: Mapping[str, float]) -> None:
        """Add an epoch's."""
        for name, value in values.items():
            self.setdefault(name, []).append(value)

    def named(self, before: str) -> "Curves":
        """Return them with something before each name."""
        return Curves({f"{before}{name}": values for name, values in self.items()})

    def state_dict(self) -> dict[str, Any]:
        """Return a tensor for each."""
        return {name: torch.tensor(values, dtype=torch.float64) for name, values in self.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> None:
        """Take over what `state_dict` gave."""
        self.clear()
        self.update({name: tensor.tolist() for name, tensor in state_dict.items()})

    def to_file(self) -> dict[str, Tensor]:
        """Return the tensors of a model file."""
        return {TENSOR + name: tensor for name, tensor in self.state_dict().items()}

    @classmethod
    def from_file(cls, tensors: Mapping[str, Tensor]) -> "Curves":
        """Return those of a model file; older ones have none."""
        self = cls()
        own = {n: tensors[n] for n in sorted(tensors) if n.startswith(TENSOR)}
        self.load_state_dict({n.removeprefix(TENSOR): t for n, t in own.items()})
        return self
