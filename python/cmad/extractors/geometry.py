"""The 3D extractor of local geometry: planes fitted around every pixel, at several radii."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor

from cmad.extractors._standard import Standard
from cmad.ops._call import expect
from cmad.types import Points

RADII = (2, 4, 8, 16)
"""Pixels of the grid: half the squares' sides."""
_CHANNELS = 5
"""Of each square: normal, bend, roughness."""


class Geometry:
    """Normal, bend and roughness of the surface around every pixel; needs no weights.

    In a square of pixels around each, the plane z = a x + b y + c is fitted to its points by least
    squares, as sums over squares of the grid, which take as long for large ones as for small ones.
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
        known = ~xyz[..., 0].isnan()
        if not known.any():
            raise ValueError("Geometry: xyz must have at least one point, got none")
        points = torch.where(known[..., None], xyz, 0.0).double()
        # Around their mean: sums of squares keep the digits that tell a surface from a plane.
        mean = points[known].mean(0)
        points = torch.where(known[..., None], points - mean, 0.0)
        x, y, z = points.unbind(-1)
        planes = torch.stack([known.double(), x, y, z, x * x, x * y, y * y, x * z, y * z, z * z])
        sums = functional.pad(planes.cumsum(1).cumsum(2), (1, 0, 1, 0))
        near = _within(sums, known, 1)
        middle = (near[1:4] / near[0]).T
        return torch.cat([_square(_within(sums, known, r), middle) for r in self._radii], 1)

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


def _within(sums: Tensor, known: Tensor, radius: int) -> Tensor:
    """Sums over the square around each known pixel, (C, N), of summed-up planes (C, S+1, S+1)."""
    row, column = known.nonzero().T
    (top, bottom), (left, right) = (
        ((at - radius).clamp(min=0), (at + radius + 1).clamp(max=size))
        for at, size in ((row, known.shape[0]), (column, known.shape[1]))
    )
    inner = sums[:, bottom, right] - sums[:, top, right]
    return inner - sums[:, bottom, left] + sums[:, top, left]


def _square(sums: Tensor, middle: Tensor) -> Tensor:
    """Normal, bend and roughness (N, 5) of squares by their sums; ``middle`` (N, 3) is judged."""
    mean = sums[1:] / sums[0]
    x, y, z = mean[:3]
    xx, xy, yy, xz, yz, zz = mean[3:] - torch.stack([x * x, x * y, y * y, x * z, y * z, z * z])
    size = xx + yy
    area = xx * yy - xy * xy
    flat = area > 1e-6 * size * size  # else the points lie on a line
    area = torch.where(flat, area, 1.0)
    a = torch.where(flat, (xz * yy - yz * xy) / area, 0.0)
    b = torch.where(flat, (yz * xx - xz * xy) / area, 0.0)
    normal = torch.stack([a, b, -torch.ones_like(a)], 1)
    normal = normal / normal.norm(dim=1, keepdim=True)
    extent = size.sqrt().clamp_min(1e-9)
    bend = ((middle - mean[:3].T) * normal).sum(1) / extent
    left = (zz - a * xz - b * yz).clamp_min(0)
    rough = left.sqrt() * -normal[:, 2] / extent
    return torch.cat([normal, bend[:, None], rough[:, None]], 1)
