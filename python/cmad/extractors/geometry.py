"""The 3D extractor of local geometry: planes fitted around every pixel, at several radii."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from cmad.extractors._standard import Weightless, own_features
from cmad.ops import local_geometry
from cmad.ops._call import expect
from cmad.types import Points

RADII = (2, 4, 8, 16)
"""Pixels of the grid: half the squares' sides."""
_CHANNELS = 5
"""Of each square: normal, bend, roughness."""


class Geometry(Weightless):
    """Normal, bend and roughness of the surface around every pixel; needs no weights.

    In a square of pixels around each, the plane z = a x + b y + c is fitted to its points by least
    squares (`cmad.ops.local_geometry`).
    Its normal (towards the camera), how far the pixel and its eight neighbours stand out of it
    towards the camera, which is the surface's curvature where it is smooth, and the deviation of
    the square's points from it, both along the normal and in the square's deviations, are the
    features, for each size of square. They are standardised per channel with training clouds.

    Takes the frame's grid instead of the points alone (``organised``).

    Args:
        radii: pixels of the grid, half the side of each square: it has 2 r + 1.
        heights: whether the height above the background plane is one more channel, the last, as
            `cmad.surface.heights` has it.

    Raises:
        ValueError: no radius, or one below 2: the nine pixels around each are what is judged.

    """

    organised: bool = True
    """It takes grids."""
    takes_statistics: bool = True
    """Mean and deviation of each channel."""

    def __init__(self, *, radii: Sequence[int] = RADII, heights: bool = False) -> None:
        """Keep the sizes of the squares."""
        self._radii = tuple(int(r) for r in radii)
        if not self._radii or min(self._radii) < 2:
            raise ValueError(f"Geometry: radii must be 2 or more, at least one, got {self._radii}")
        self.heights = bool(heights)
        super().__init__(_CHANNELS * len(self._radii) + self.heights)

    def points(self, xyz: Tensor) -> Points:
        """Compute the standardised feature of every pixel with a point.

        Args:
            xyz: (S, S, 3) float32, metres; NaN where there is no point, one at least is there.

        Returns:
            Features (N, D) of the N pixels with a point; each is interpolated from itself alone.

        Raises:
            RuntimeError: ``fit`` has not been called.

        """
        return self._as_points(self.measures(xyz))

    def measures(self, xyz: Tensor) -> Tensor:
        """Compute the features before standardisation.

        Args:
            xyz: (S, S, 3) float32, metres, or (S, S, 4) with heights; NaN where there is no point,
                one at least is there.

        Returns:
            (N, D) float64 of the pixels with a point, in row-major order: of each square the
            normal's x, y, z, the bend and the roughness; and maybe the height, in metres. A square
            whose points lie on a line has the normal of sight, (0, 0, -1).

        """
        expect("Geometry", xyz=(xyz, f"S S2 {3 + self.heights}", torch.float32))
        known = ~xyz.isnan().any(-1)
        if not known.any():
            raise ValueError("Geometry: xyz must have at least one point, got none")
        planes = local_geometry(xyz[None, ..., :3], self._radii, check=False)[0]
        return torch.cat([planes, xyz[..., 3:]], -1)[known].double()

    def fit(self, clouds: Iterable[Tensor]) -> list[Points]:
        """Compute the mean and deviation per channel over all points of training surfaces.

        Args:
            clouds: each (S, S, 3) float32, metres, as for ``points``.

        Returns:
            What ``points`` gives for each.

        """
        raw = [self.measures(xyz) for xyz in clouds]
        self._standard.estimate(raw)
        return [self._as_points(r) for r in raw]

    def _as_points(self, raw: Tensor) -> Points:
        return own_features(self._standard.apply(raw))

    def config(self) -> dict[str, object]:
        """Return what ``from_config`` needs to build the extractor again."""
        config: dict[str, object] = {"kind": "geometry", "radii": list(self._radii)}
        return config | ({"heights": True} if self.heights else {})

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], state: Mapping[str, Tensor] | None = None
    ) -> "Geometry":
        """Build the extractor that ``config`` describes; there are no weights in ``state``."""
        return cls(
            radii=cast("Sequence[Any]", config["radii"]), heights=bool(config.get("heights"))
        )

    def describe(self) -> str:
        """Say in one line what the extractor is."""
        said = " ".join(map(str, self._radii)) + " pixels" + ", heights" * self.heights
        return f"local geometry, radii of {said}, {self.dim} wide, standardised, no weights"
