"""Frozen extractors: an image to tokens, a point cloud to features of its centres."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from cmad.extractors.depth import Depth
from cmad.extractors.depth_blocks import DepthBlocks
from cmad.extractors.efficientnet import EfficientNet
from cmad.extractors.fpfh import FPFH
from cmad.extractors.geometry import Geometry
from cmad.extractors.normals import Normals
from cmad.extractors.point_mae import PointMAE
from cmad.extractors.pyramid import Pyramid
from cmad.extractors.rgb import ViT
from cmad.types import Points


class Extractor(Protocol):
    """What every frozen extractor can say of itself; its weights never change."""

    @property
    def dim(self) -> int:
        """Channels of a feature."""

    def config(self) -> dict[str, object]:
        """Return what ``from_config`` needs, fit for JSON."""

    def fingerprint(self) -> str:
        """Return a SHA-256 that is equal where the weights are."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights by name."""

    def describe(self) -> str:
        """Say in one line what the extractor is and where its weights come from."""

    def to(self, device: torch.device | str) -> "Extractor":
        """Move the weights to a device; return the extractor."""


class RgbExtractor(Extractor, Protocol):
    """Turns images into tokens."""

    @property
    def image_size(self) -> int:
        """Pixels along each side of the images."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens."""

    def tokens(self, rgb: Tensor) -> Tensor:
        """Turn (B, 3, R, R) uint8 into (B, D, h, w) float32."""

    def to(self, device: torch.device | str) -> "RgbExtractor":
        """Move the weights to a device; return the extractor."""


class XyzExtractor(Extractor, Protocol):
    """Turns a point cloud into features.

    One whose ``organised`` is true takes the grid of the frame's pixels instead, (S, S, 3), NaN
    where there is no point, and makes features of the pixels with a point, in row-major order. With
    ``heights`` true as well the grid is (S, S, 4): `cmad.surface.heights` is the last channel.
    """

    def points(self, xyz: Tensor) -> Points:
        """Turn (N, 3) float32, metres, into features and interpolation weights."""

    def batch(self, clouds: Sequence[Tensor]) -> list[Points]:
        """Do the same for clouds of several sizes, in one call."""

    @property
    def takes_statistics(self) -> bool:
        """Whether ``fit`` estimates anything."""

    def fit(self, clouds: Iterable[Tensor]) -> list[Points] | None:
        """Estimate what training clouds must tell.

        Returns what ``points`` gives for each cloud where that comes for free, else None.
        """

    @property
    def statistics(self) -> dict[str, Tensor]:
        """What ``fit`` estimated, by name."""

    def load_statistics(self, statistics: Mapping[str, Tensor]) -> None:
        """Take over what ``fit`` estimated elsewhere."""

    def to(self, device: torch.device | str) -> "XyzExtractor":
        """Move the weights to a device; return the extractor."""


def modality_of(extractor: Extractor) -> str:
    """Return what an extractor looks at: ``"2d"``, an image, or ``"3d"``, points."""
    return "2d" if hasattr(extractor, "tokens") else "3d"


Made = ViT | Pyramid | EfficientNet | PointMAE | FPFH | Normals | Depth | Geometry | DepthBlocks
_KINDS: dict[str, type[Made]] = {
    "vit": ViT,
    "pyramid": Pyramid,
    "efficientnet": EfficientNet,
    "point_mae": PointMAE,
    "fpfh": FPFH,
    "normals": Normals,
    "depth": Depth,
    "geometry": Geometry,
    "depth_blocks": DepthBlocks,
}


def from_config(config: Mapping[str, object], state: Mapping[str, Tensor] | None = None) -> Made:
    """Build an extractor again.

    Args:
        config: what the extractor's ``config()`` returned.
        state: what its ``state_dict()`` returned; None gets the weights where they first came
            from.

    Raises:
        ValueError: no extractor of that kind.
        RuntimeError: the weights are not there, or were passed in by a user.

    """
    kind = _KINDS.get(str(config.get("kind")))
    if kind is None:
        raise ValueError(
            f"from_config: kind must be one of {', '.join(_KINDS)}, got {config.get('kind')!r}"
        )
    return kind.from_config(config, state)


__all__ = [
    "FPFH",
    "Depth",
    "DepthBlocks",
    "EfficientNet",
    "Extractor",
    "Geometry",
    "Normals",
    "PointMAE",
    "Pyramid",
    "RgbExtractor",
    "ViT",
    "XyzExtractor",
    "from_config",
    "modality_of",
]
