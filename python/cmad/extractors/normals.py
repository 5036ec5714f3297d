"""The 3D extractor that looks at the surface as an image: its normals, through a 2D extractor."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor

from cmad import surface
from cmad.extractors.pyramid import Pyramid
from cmad.extractors.rgb import ViT
from cmad.ops._call import expect
from cmad.types import Points

SIGMA = 1.0
"""Pixels of the grid that points are smoothed by before their normals are taken."""


class Normals:
    """Tokens of the picture of a surface's normals; needs no weights for points.

    The part's outline is closed, points in its gaps are interpolated, all are smoothed by a
    Gaussian, and the normals of that surface are a picture: x, y and z, -1 to 1, are red, green and
    blue, 0 to 255, and what is not the part is grey. A vision transformer turns it into tokens,
    which points are interpolated from bilinearly, as an image's are.

    Takes the frame's grid instead of the points alone (``organised``).

    Args:
        vit: turns the picture into tokens; may be the one that also looks at the image.
        sigma: pixels of the grid, of the Gaussian; 0 does not smooth.

    Raises:
        ValueError: sigma is negative.

    """

    dim: int
    """Channels of a feature: those of a token."""
    organised: bool = True
    """It takes grids."""
    takes_statistics: bool = False
    """Nothing is estimated from training clouds."""

    def __init__(self, vit: ViT | Pyramid, *, sigma: float = SIGMA) -> None:
        """Keep the transformer."""
        if not 0 <= sigma < float("inf"):
            raise ValueError(f"Normals: sigma must be 0 or more, got {sigma}")
        self._vit, self._sigma = vit, float(sigma)
        self.dim = vit.dim

    def points(self, xyz: Tensor) -> Points:
        """Compute the tokens of a surface.

        Args:
            xyz: (S, S, 3) float32, metres; NaN where there is no point, one at least is there.

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

    def picture(self, xyz: Tensor) -> Tensor:
        """Draw the normals of a surface.

        Args:
            xyz: (S, S, 3) float32, metres; NaN where there is no point.

        Returns:
            (3, R, R) uint8, R the image size of the transformer.

        """
        n = expect("Normals", xyz=(xyz, "S S2 3", torch.float32))
        known = ~xyz[..., 0].isnan()
        if n["S"] != n["S2"] or not known.any():
            raise ValueError(
                f"Normals: xyz must be a square with at least one point, got {tuple(xyz.shape)} "
                f"with {int(known.sum())}"
            )
        inside = surface.outline(known)
        whole = surface.completed(xyz, known, inside)
        normal = surface.normals(surface.smoothed(whole, inside, self._sigma), inside)
        colour = 127.5 * (normal.permute(2, 0, 1)[None] + 1)
        size = self._vit.image_size
        resized = functional.interpolate(
            colour, size=(size, size), mode="bilinear", align_corners=False
        )
        return resized[0].round().to(torch.uint8)

    def fit(self, clouds: Iterable[Tensor]) -> None:
        """Estimate nothing."""

    @property
    def statistics(self) -> dict[str, Tensor]:
        """None."""
        return {}

    def load_statistics(self, statistics: Mapping[str, Tensor]) -> None:
        """Take over nothing; raise where there is something."""
        if statistics:
            raise ValueError(f"Normals: statistics must be none, got {sorted(statistics)}")

    def to(self, device: torch.device | str) -> "Normals":
        """Move the transformer to a device; return the extractor."""
        self._vit.to(device)
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """Return the transformer's weights, in timm's names."""
        return self._vit.state_dict()

    def fingerprint(self) -> str:
        """Return the SHA-256 over the transformer's weights and how the picture is made."""
        said = json.dumps([self._vit.fingerprint(), self._sigma, surface.GAP, surface.ROUNDS])
        return hashlib.sha256(said.encode()).hexdigest()

    def config(self) -> dict[str, object]:
        """Return what ``from_config`` needs to build the extractor again, but the weights."""
        return {"kind": "normals", "sigma": self._sigma, "vit": self._vit.config()}

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], state: Mapping[str, Tensor] | None = None
    ) -> "Normals":
        """Build the extractor that ``config`` describes, with the weights of ``state`` if given.

        Raises:
            RuntimeError: the weights or the module were passed in by a user and are not at hand.

        """
        vit = cast("dict[str, Any]", config["vit"])
        kinds: dict[str, type[ViT | Pyramid]] = {"vit": ViT, "pyramid": Pyramid}
        kind = kinds.get(str(vit.get("kind")))
        if kind is None:
            raise RuntimeError(
                "Normals: the model was trained with a 2D extractor of a user's own: in Python "
                "pass cmad.extractors.Normals of it again as xyz"
            )
        return cls(kind.from_config(vit, state), sigma=cast(float, config["sigma"]))

    def describe(self) -> str:
        """Say in one line what the extractor is and where its weights come from."""
        return f"normals, smoothed by {self._sigma:g} pixels, through {self._vit.describe()}"


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
