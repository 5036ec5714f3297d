"""The 3D extractor of local geometry: planes fitted around every pixel, at several radii."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from cmad.extractors._standard import Standard
from cmad.ops import local_geometry
from cmad.ops._call import expect
from cmad.types import Points

RADII = (2, 4, 8, 16)
"""Pixels of the grid: half the squares' sides."""
_CHANNELS = 5
"""Of each square: normal, bend, roughness."""


class Geometry:
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

    Raises:
        ValueError: no radius, or one below 2: the nine pixels around each are what is judged.

    """

    dim: int
    """Channels of a feature: five of each square."""
    organised: bool = True
    """It takes grids."""
    takes_statistics: bool = True
    """Mean and deviation of each channel."""

    def __init__(self, *, radii: Sequence[int] = RADII) -> None:
        """Keep the sizes of the squares."""
        self._radii = tuple(int(r) for r in radii)
        if not self._radii or min(self._radii) < 2:
            raise ValueError(f"Geometry: radii must be 2 or more, at least one, got {self._radii}")
        self.dim = _CHANNELS * len(self._radii)
        self._standard = Standard("Geometry", self.dim)

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

    def batch(self, clouds: Sequence[Tensor]) -> list[Points]:
        """Compute what ``points`` does for several surfaces."""
        return [self.points(xyz) for xyz in clouds]

    def measures(self, xyz: Tensor) -> Tensor:
        """Compute the features before standardisation.

        Args:
            xyz: (S, S, 3) float32, metres; NaN where there is no point, one at least is there.

        Returns:
            (N, D) float64 of the pixels with a point, in row-major order: of each square the
            normal's x, y, z, the bend and the roughness. A square whose points lie on a line has
            the normal of sight, (0, 0, -1).

        """
        expect("Geometry", xyz=(xyz, "S S2 3", torch.float32))
        known = ~xyz.isnan().any(-1)
        if not known.any():
            raise ValueError("Geometry: xyz must have at least one point, got none")
        return local_geometry(xyz[None], self._radii, check=False)[0][known].double()

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

    @property
    def statistics(self) -> dict[str, Tensor]:
        """What ``fit`` computed: mean and std, each (D,) float64; empty before."""
        return self._standard.statistics

    def load_statistics(self, statistics: Mapping[str, Tensor]) -> None:
        """Take over what ``fit`` computed elsewhere."""
        self._standard.load(statistics)

    def _as_points(self, raw: Tensor) -> Points:
        own = torch.arange(len(raw), device=raw.device)[:, None]
        features = self._standard.apply(raw).float()
        return Points(features, own, torch.ones_like(own, dtype=torch.float32))

    def to(self, device: torch.device | str) -> "Geometry":
        """Return the extractor; it has no weights to move."""
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """Return no weights."""
        return {}

    def fingerprint(self) -> str:
        """Return the SHA-256 over the sizes of the squares."""
        return hashlib.sha256(json.dumps(self.config(), sort_keys=True).encode()).hexdigest()

    def config(self) -> dict[str, object]:
        """Return what ``from_config`` needs to build the extractor again."""
        return {"kind": "geometry", "radii": list(self._radii)}

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], state: Mapping[str, Tensor] | None = None
    ) -> "Geometry":
        """Build the extractor that ``config`` describes; there are no weights in ``state``."""
        return cls(radii=cast("Sequence[Any]", config["radii"]))

    def describe(self) -> str:
        """Say in one line what the extractor is."""
        said = " ".join(map(str, self._radii))
        return f"local geometry, radii of {said} pixels, {self.dim} wide, standardised, no weights"
