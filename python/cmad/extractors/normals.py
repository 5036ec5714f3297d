"""The 3D extractor that looks at the surface as an image: its normals, through a 2D extractor."""

from collections.abc import Iterable, Mapping
from typing import cast

from torch import Tensor

from cmad import surface
from cmad.extractors._convolutional import Convolutional
from cmad.extractors._picture import OfPicture, vit_of
from cmad.extractors.rgb import ViT

SIGMA = 1.0
"""Pixels of the grid that points are smoothed by before their normals are taken."""


class Normals(OfPicture):
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

    takes_statistics: bool = False
    """Nothing is estimated from training clouds."""

    def __init__(self, vit: ViT | Convolutional, *, sigma: float = SIGMA) -> None:
        """Keep the transformer."""
        if not 0 <= sigma < float("inf"):
            raise ValueError(f"Normals: sigma must be 0 or more, got {sigma}")
        super().__init__(vit)
        self._sigma = float(sigma)

    def picture(self, xyz: Tensor) -> Tensor:
        """Draw the normals of a surface.

        Args:
            xyz: (S, S, 3) float32, metres; NaN where there is no point.

        Returns:
            (3, R, R) uint8, R the image size of the transformer.

        """
        known = self._known(xyz, 3)
        inside = surface.outline(known)
        whole = surface.completed(xyz, known, inside)
        return self._drawn(surface.normals(surface.smoothed(whole, inside, self._sigma), inside))

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

    def fingerprint(self) -> str:
        """Return the SHA-256 over the transformer's weights and how the picture is made."""
        return self._hash(self._sigma)

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
        return cls(vit_of("Normals", config, state), sigma=cast(float, config["sigma"]))

    def describe(self) -> str:
        """Say in one line what the extractor is and where its weights come from."""
        return f"normals, smoothed by {self._sigma:g} pixels, through {self._vit.describe()}"
