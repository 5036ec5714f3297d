"""How anomalies are synthesised: the settings, and where each of them comes from."""

import math
from dataclasses import dataclass, fields

KINDS = ("both", "colour", "shape")
"""What of a part an anomaly changes: colour and points, the colour only, the points only."""


@dataclass(frozen=True)
class Synthesis:
    """How anomalies are cut and pasted: G²SF, section III-G and appendix A.

    The paper names the steps and gives no numbers; where the published code has one, it is the
    default, and docs/synthesis.md says which. Lengths are shares of the longer side of the image,
    or metres, so that they mean the same at every resolution.
    """

    kinds: tuple[str, ...] = ("both",)
    """Which of `KINDS`, in turn; the paper's anomalies are in both modalities (figure 3)."""
    cells: tuple[int, int] = (0, 4)
    """The Perlin noise has 2^k cells along each axis, k drawn from this range (code)."""
    threshold: float = 0.4
    """Noise above it is mask; the noise lies in about [-1, 1] (code)."""
    area: tuple[float, float] = (100 / 512**2, 1600 / 512**2)
    """Smallest and largest region, as a share of the pixels of the square around the image
    (code)."""
    regions: tuple[int, int] = (1, 3)
    """Fewest and most regions of a part; fewer, at least one, where no more find a place."""
    corruptions: int = 3
    """How many of `cmad.synthesis.colour.CORRUPTIONS` each cut goes through (code)."""
    blend: tuple[float, float] = (0.0, 0.5)
    """Share of its own colour that the part keeps where it is pasted on (code)."""
    displacement: tuple[float, float] = (2e-4, 2e-3)
    """Metres that pasted points are moved along the line of sight, either way (code)."""
    min_foreground: float = 0.005
    """Share of the square's pixels that a part must fill to be used."""
    depth_range: tuple[float, float] | None = None
    """Smallest and largest z of the scene in metres, which no moved point leaves. None: those of
    the part itself, and of the background plane behind it where one was found."""

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ValueError: one of them is out of range; it is named.

        """
        if not self.kinds or not set(self.kinds) <= set(KINDS):
            raise ValueError(f"kinds must be some of {', '.join(KINDS)}, got {self.kinds}")
        if not -1 < self.threshold < 1:
            raise ValueError(f"threshold must be in (-1, 1), got {self.threshold:g}")
        if not 0 <= self.corruptions <= 5:
            raise ValueError(f"corruptions must be in [0, 5], got {self.corruptions}")
        if not 0 < self.min_foreground <= 1:
            raise ValueError(f"min_foreground must be in (0, 1], got {self.min_foreground:g}")
        limits: dict[str, tuple[float, float]] = {
            "cells": (0, 8),
            "area": (0, 1),
            "regions": (1, 100),
            "blend": (0, 0.95),
        }
        limits |= {"displacement": (0, math.inf), "depth_range": (-math.inf, math.inf)}
        for name, (least, most) in limits.items():
            pair = getattr(self, name)
            if pair is None:
                continue
            if len(pair) != 2 or not least <= pair[0] <= pair[1] <= most:
                raise ValueError(
                    f"{name} must be two numbers that rise within [{least:g}, {most:g}], got {pair}"
                )
        if self.area[1] == 0 or self.displacement[1] == 0:
            raise ValueError("area and displacement must be above 0, got 0")

    def describe(self) -> str:
        """Return all settings in one line."""
        return ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
