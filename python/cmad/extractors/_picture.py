"""What extractors share that look at a surface as a picture, through a 2D extractor."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as functional
from torch import Tensor

from cmad import surface
from cmad.extractors._convolutional import Convolutional
from cmad.extractors.efficientnet import EfficientNet
from cmad.extractors.pyramid import Pyramid
from cmad.extractors.rgb import ViT
from cmad.ops._call import expect
from cmad.types import Points

Self = TypeVar("Self", bound="OfPicture")


class OfPicture(ABC):
    """Tokens of a picture of a surface, which points are interpolated from as an image's are."""

    dim: int
    """Channels of a feature: those of a token."""
    organised: bool = True
    """It takes grids."""

    def __init__(self, vit: ViT | Convolutional) -> None:
        """Keep the transformer."""
        self._vit = vit
        self.dim = vit.dim

    @abstractmethod
    def picture(self, xyz: Tensor) -> Tensor:
        """Draw a surface.

        Args:
            xyz: (S, S, C) float32, metres, as for ``points``.

        Returns:
            (3, R, R) uint8, R the image size of the transformer.

        """

    def points(self, xyz: Tensor) -> Points:
        """Compute the tokens of a surface.

        Args:
            xyz: (S, S, C) float32, metres, the points and what else it takes; NaN where there is
                no point, one at least is there.

        Returns:
            A feature for each token, (h * w, D); each of the N pixels with a point, in row-major
            order, is interpolated from four.

        """
        return self.batch([xyz])[0]

    def batch(self, clouds: Sequence[Tensor]) -> list[Points]:
        """Compute what ``points`` does for several surfaces, in one call of the transformer."""
        if not clouds:
            return []
        pictures = torch.stack([self.picture(xyz) for xyz in clouds])
        tokens = self._vit.tokens(pictures).permute(0, 2, 3, 1)
        height, width = self._vit.grid
        return [
            Points(
                one.reshape(height * width, self.dim).clone(),
                *_interpolated(~xyz[..., 0].isnan(), height, width),
            )
            for one, xyz in zip(tokens, clouds, strict=True)
        ]

    def to(self: Self, device: torch.device | str) -> Self:
        """Move the transformer to a device; return the extractor."""
        self._vit.to(device)
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """Return the transformer's weights, in timm's names."""
        return self._vit.state_dict()

    def _known(self, xyz: Tensor, channels: int) -> Tensor:
        """Check a surface; return which pixels have a point, (S, S) bool."""
        who = type(self).__name__
        n = expect(who, xyz=(xyz, f"S S2 {channels}", torch.float32))
        known = ~xyz[..., 0].isnan()
        if n["S"] != n["S2"] or not known.any():
            raise ValueError(
                f"{who}: xyz must be a square with at least one point, got {tuple(xyz.shape)} "
                f"with {int(known.sum())}"
            )
        return known

    def _drawn(self, channels: Tensor) -> Tensor:
        """Turn (S, S, 3) from -1 to 1 into a picture (3, R, R) of bytes; 0 is grey."""
        colour = 127.5 * (channels.permute(2, 0, 1)[None] + 1)
        size = self._vit.image_size
        resized = functional.interpolate(
            colour, size=(size, size), mode="bilinear", align_corners=False
        )
        return resized[0].round().to(torch.uint8)

    def _hash(self, *how: object) -> str:
        """SHA-256 over the transformer's weights and how the picture is made."""
        said = json.dumps([self._vit.fingerprint(), *how, surface.GAP, surface.ROUNDS])
        return hashlib.sha256(said.encode()).hexdigest()


def vit_of(
    who: str, config: Mapping[str, object], state: Mapping[str, Tensor] | None
) -> ViT | Convolutional:
    """Build the 2D extractor that the configuration of an extractor of pictures describes.

    Raises:
        RuntimeError: the weights or the module were passed in by a user and are not at hand.

    """
    vit = cast("dict[str, Any]", config["vit"])
    kinds: dict[str, type[ViT | Pyramid | EfficientNet]] = {
        "vit": ViT,
        "pyramid": Pyramid,
        "efficientnet": EfficientNet,
    }
    kind = kinds.get(str(vit.get("kind")))
    if kind is None:
        raise RuntimeError(
            f"{who}: the model was trained with a 2D extractor of a user's own: in Python "
            f"pass cmad.extractors.{who} of it again as xyz"
        )
    return kind.from_config(vit, state)


def _interpolated(known: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Four tokens and their weights for each known pixel, bilinear as align_corners=False."""
    size = len(known)
    index, weight = [], []
    for position, tokens in zip(known.nonzero().T, (height, width), strict=True):
        at = ((position + 0.5) * tokens / size - 0.5).clamp(0, tokens - 1)
        first = at.long().clamp(max=max(tokens - 2, 0))
        share = at - first
        index.append(torch.stack([first, (first + 1).clamp(max=tokens - 1)], 1))
        weight.append(torch.stack([1 - share, share], 1))
    neighbour = index[0][:, :, None] * width + index[1][:, None]
    weights = weight[0][:, :, None] * weight[1][:, None]
    return neighbour.flatten(1), weights.flatten(1)
