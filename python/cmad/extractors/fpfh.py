"""The 3D extractor that needs no weights: fast point feature histograms."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from cmad import ops
from cmad.extractors._standard import Weightless, own_features
from cmad.ops._call import expect
from cmad.types import Points

_CHANNELS = 33


class FPFH(Weightless):
    """A histogram of the angles between normals around every point.

    Natively (`cmad.ops.fpfh`), as open3d computes it; docs/surfaces.md says how near. There is one
    feature per point. It is standardised per channel unless asked otherwise, with the mean and
    deviation of training clouds (``fit``).

    Args:
        normal_radius: metres, around a point for its normal.
        normal_neighbours: at most so many points for a normal, the nearest.
        radius: metres, around a point for its histogram.
        neighbours: at most so many points for a histogram, the nearest; ``normal_neighbours`` or
            more.
        standardised: per channel, as suits a network; without, a distance between features weighs
            the bins by what they count, as suits a memory bank (BTF).

    Raises:
        ValueError: a radius or count that is not positive, or more points for a normal than for a
            histogram.

    """

    def __init__(
        self,
        *,
        normal_radius: float = 0.10,
        normal_neighbours: int = 30,
        radius: float = 0.25,
        neighbours: int = 100,
        standardised: bool = True,
    ) -> None:
        """Keep the sizes of the neighbourhoods."""
        self._sizes: dict[str, float] = {
            "normal_radius": normal_radius,
            "normal_neighbours": normal_neighbours,
            "radius": radius,
            "neighbours": neighbours,
        }
        for name, size in self._sizes.items():
            if not size > 0:
                raise ValueError(f"FPFH: {name} must be positive, got {size}")
        if normal_neighbours > neighbours:
            raise ValueError(
                f"FPFH: neighbours must be normal_neighbours or more, got {neighbours} and "
                f"{normal_neighbours}"
            )
        self._wanted = bool(standardised)
        super().__init__(_CHANNELS)

    def points(self, xyz: Tensor) -> Points:
        """Compute the standardised feature of every point.

        Args:
            xyz: (N, 3) float32, metres, finite, N at least 1.

        Returns:
            Features (N, 33); each point is interpolated from itself alone.

        Raises:
            RuntimeError: ``fit`` has not been called where it is needed.

        """
        if self._wanted and not self._standard.known:  # before the work
            raise RuntimeError("FPFH: the mean and deviation are not known: call fit first")
        return self._as_points(self.histograms(xyz))

    def histograms(self, xyz: Tensor) -> Tensor:
        """Compute the features before standardisation.

        Args:
            xyz: (N, 3) float32, metres, finite, N at least 1.

        Returns:
            (N, 33) float64, from 0 to about 200, on the device of ``xyz``.

        """
        n = expect("FPFH", xyz=(xyz, "N 3", torch.float32))["N"]
        if n == 0:
            raise ValueError("FPFH: xyz must have at least one point, got (0, 3)")
        if not xyz.isfinite().all():
            raise ValueError("FPFH: xyz must be finite, got NaN or infinity")
        size, points = self._sizes, xyz.detach()
        ptr = torch.tensor([0, n], device=xyz.device)
        k = min(int(size["neighbours"]), n)
        near = ops.group(points, ptr, points, ptr, k, check=False)
        return ops.fpfh(
            points,
            ptr,
            near,
            int(size["normal_neighbours"]),
            size["normal_radius"],
            size["radius"],
            check=False,
        )

    @property
    def takes_statistics(self) -> bool:
        """Whether ``fit`` estimates anything: where features are standardised."""
        return self._wanted

    def fit(self, clouds: Iterable[Tensor]) -> list[Points]:
        """Compute the mean and deviation per channel over all points of training clouds.

        Args:
            clouds: each (N, 3) float32, metres.

        Returns:
            What ``points`` gives for each cloud: the histograms are there already.

        """
        raw = [self.histograms(xyz) for xyz in clouds]
        self._standard.estimate(raw)
        return [self._as_points(r) for r in raw]

    def _as_points(self, raw: Tensor) -> Points:
        return own_features(self._standard.apply(raw) if self._wanted else raw)

    def config(self) -> dict[str, object]:
        """Return what ``from_config`` needs to build the extractor again."""
        return {"kind": "fpfh", **self._sizes, "standardised": self._wanted}

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], state: Mapping[str, Tensor] | None = None
    ) -> "FPFH":
        """Build the extractor that ``config`` describes; there are no weights in ``state``."""
        return cls(**cast("dict[str, Any]", {k: v for k, v in config.items() if k != "kind"}))

    def describe(self) -> str:
        """Say in one line what the extractor is."""
        size = self._sizes
        return (
            f"FPFH, radius {size['radius']} m and {size['neighbours']} neighbours, "
            f"{self.dim} wide, {'' if self._wanted else 'not '}standardised, no weights"
        )
