"""The 3D extractor that looks at the surface as an image: its heights, through a 2D extractor."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from cmad import surface
from cmad.extractors._convolutional import Convolutional
from cmad.extractors._picture import OfPicture, vit_of
from cmad.extractors._standard import Standard
from cmad.extractors.rgb import ViT

SPAN = 3.0
"""Deviations of the height, down and up, that black and white stand for."""


class Depth(OfPicture):
    """Tokens of the picture of a surface's heights; needs no weights for points.

    The part's outline is closed and heights in its gaps are interpolated. They are a grey picture:
    the mean height of the training parts is the middle, three of their deviations lower is black,
    higher white, and what is not the part is as the middle. So one grey is one height, in whatever
    part. A vision transformer turns the picture into tokens, which points are interpolated from
    bilinearly, as an image's are. The height is that of `cmad.surface.heights`: above the
    background plane, else above the part's median along z.

    Takes the frame's grid with the heights instead of the points alone (``organised``,
    ``heights``).

    Args:
        vit: turns the picture into tokens; may be the one that also looks at the image.

    """

    heights: bool = True
    """Its grids have heights beside the points."""
    takes_statistics: bool = True
    """Mean and deviation of the height."""

    def __init__(self, vit: ViT | Convolutional) -> None:
        """Keep the transformer."""
        super().__init__(vit)
        self._standard = Standard("Depth", 1)

    def picture(self, xyz: Tensor) -> Tensor:
        """Draw the heights of a surface.

        Args:
            xyz: (S, S, 4) float32, metres, points and heights; NaN where there is no point.

        Returns:
            (3, R, R) uint8, R the image size of the transformer, all three colours the same.

        Raises:
            RuntimeError: ``fit`` has not been called.

        """
        known = self._known(xyz, 4)
        inside = surface.outline(known)
        height = surface.completed(xyz[..., 3:], known, inside)
        grey = (self._standard.apply(height) / SPAN).clamp(-1, 1).float()
        return self._drawn((grey * inside[..., None]).expand(-1, -1, 3))

    def fit(self, clouds: Iterable[Tensor]) -> None:
        """Compute the mean and deviation of the height over all points of training surfaces.

        Args:
            clouds: each (S, S, 4) float32, metres, as for ``points``.

        """
        self._standard.estimate([xyz[self._known(xyz, 4)][:, 3:].double() for xyz in clouds])

    @property
    def statistics(self) -> dict[str, Tensor]:
        """What ``fit`` computed: mean and std, each (1,) float64, metres; empty before."""
        return self._standard.statistics

    def load_statistics(self, statistics: Mapping[str, Tensor]) -> None:
        """Take over what ``fit`` computed elsewhere."""
        self._standard.load(statistics)

    def fingerprint(self) -> str:
        """Return the SHA-256 over the transformer's weights and how the picture is made."""
        return self._hash("depth", SPAN)

    def config(self) -> dict[str, object]:
        """Return what ``from_config`` needs to build the extractor again, but the weights."""
        return {"kind": "depth", "vit": self._vit.config()}

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], state: Mapping[str, Tensor] | None = None
    ) -> "Depth":
        """Build the extractor that ``config`` describes, with the weights of ``state`` if given.

        Raises:
            RuntimeError: the weights or the module were passed in by a user and are not at hand.

        """
        return cls(vit_of("Depth", config, state))

    def describe(self) -> str:
        """Say in one line what the extractor is and where its weights come from."""
        return f"depth, standardised, through {self._vit.describe()}"
