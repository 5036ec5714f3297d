"""Standardising of features per channel, with what training clouds tell."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from cmad.types import Points

Self = TypeVar("Self", bound="Weightless")


class Standard:
    """Mean and deviation of each channel; not known before `estimate` or `load`.

    Args:
        who: the extractor, for messages.
        channels: of its features.

    """

    def __init__(self, who: str, channels: int) -> None:
        """Know nothing yet."""
        self._who, self._channels = who, channels
        self._mean: Tensor | None = None
        self._std: Tensor | None = None

    @property
    def known(self) -> bool:
        """Whether mean and deviation are there."""
        return self._mean is not None

    def estimate(self, raw: Sequence[Tensor]) -> None:
        """Compute them over the rows of clouds, each (N, C) float64, one cloud or more."""
        if not raw:
            raise ValueError(f"{self._who}: clouds must hold at least one cloud, got none")
        count = sum(len(r) for r in raw)
        mean = torch.stack([r.cpu().sum(0) for r in raw]).sum(0) / count
        squares = torch.stack([(r.cpu() - mean).square().sum(0) for r in raw]).sum(0)
        self._mean, self._std = mean, (squares / count).sqrt().clamp_min(1e-6)

    def apply(self, raw: Tensor) -> Tensor:
        """Return (N, C) features in deviations from the mean.

        Raises:
            RuntimeError: these are not known.

        """
        if self._mean is None or self._std is None:
            raise RuntimeError(f"{self._who}: the mean and deviation are not known: call fit first")
        return (raw - self._mean.to(raw.device)) / self._std.to(raw.device)

    @property
    def statistics(self) -> dict[str, Tensor]:
        """Mean and std, each (C,) float64; empty before."""
        if self._mean is None or self._std is None:
            return {}
        return {"mean": self._mean, "std": self._std}

    def load(self, statistics: Mapping[str, Tensor]) -> None:
        """Take over `statistics`."""
        if set(statistics) - {"mean", "std"} or len(statistics) == 1:
            raise ValueError(
                f"{self._who}: statistics must be mean and std, got {sorted(statistics)}"
            )
        for name, tensor in statistics.items():
            if tuple(tensor.shape) != (self._channels,):
                raise ValueError(
                    f"{self._who}: {name} must be ({self._channels},), got {tuple(tensor.shape)}"
                )
        self._mean, self._std = (
            statistics[k].double().cpu() if k in statistics else None for k in ("mean", "std")
        )


class Weightless(ABC):
    """What extractors share that have no weights, and one feature for each point.

    Args:
        channels: of a feature.

    """

    dim: int
    """Channels of a feature."""

    def __init__(self, channels: int) -> None:
        """Know no statistics yet."""
        self.dim = channels
        self._standard = Standard(type(self).__name__, channels)

    @abstractmethod
    def points(self, xyz: Tensor) -> Points:
        """Compute the feature of every point."""

    @abstractmethod
    def config(self) -> dict[str, object]:
        """Return what ``from_config`` needs to build the extractor again."""

    def batch(self, clouds: Sequence[Tensor]) -> list[Points]:
        """Compute what ``points`` does for several clouds."""
        return [self.points(xyz) for xyz in clouds]

    @property
    def statistics(self) -> dict[str, Tensor]:
        """What ``fit`` computed: mean and std, each (D,) float64; empty before."""
        return self._standard.statistics

    def load_statistics(self, statistics: Mapping[str, Tensor]) -> None:
        """Take over what ``fit`` computed elsewhere."""
        self._standard.load(statistics)

    def to(self: Self, device: torch.device | str) -> Self:
        """Return the extractor; it has no weights to move."""
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """Return no weights."""
        return {}

    def fingerprint(self) -> str:
        """Return the SHA-256 over the sizes of the neighbourhoods."""
        return hashlib.sha256(json.dumps(self.config(), sort_keys=True).encode()).hexdigest()


def own_features(features: Tensor) -> Points:
    """Let each of N points have its own feature (N, D), interpolated from nothing else."""
    own = torch.arange(len(features), device=features.device)[:, None]
    return Points(features.float(), own, torch.ones_like(own, dtype=torch.float32))
