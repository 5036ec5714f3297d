"""The 3D extractor of AST: the depth itself, a block of pixels for each cell."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor

from cmad import surface
from cmad.extractors._standard import Weightless
from cmad.ops._call import expect
from cmad.types import Points

BLOCK = 8
"""Pixels along each side of the block of a cell."""
PASSES = 3
"""Of filling pixels without a depth from their neighbours."""
OFF = 7e-3
"""Metres that the part stands out of the surface through the image's corners, at least."""
SCALE = 100.0
"""Features are in units of a centimetre."""


def filled(z: Tensor) -> Tensor:
    """Give pixels without a depth the mean of their neighbours' depths, three times.

    What a pass fills is seen by the next one only. Pixels of the first row and column are never
    filled, as published.

    Args:
        z: (H, W) float32, metres, 0 where there is none.

    Returns:
        (H, W) float32; 0 where there still is none.

    """
    for _ in range(PASSES):
        around = functional.pad(torch.stack([z, (z > 0).to(z.dtype)])[:, None], (1, 1, 1, 1))
        ones = torch.ones_like(around[:1, :, :3, :3])
        total, count = functional.conv2d(around, ones)[:, 0]
        lacking = (z == 0) & (count > 0)
        lacking[0], lacking[:, 0] = False, False
        z = torch.where(lacking, (total.double() / count).float(), z)
    return z


def corners(z: Tensor) -> Tensor:
    """Return the mean depth of the 2 x 2 pixels in each corner, of those that have one.

    Args:
        z: (H, W) float32, metres, 0 where there is none.

    Returns:
        (2, 2) float64, top and bottom by left and right; NaN of a corner without any.

    """
    ends = slice(2), slice(-2, None)
    found = torch.stack([z[r, c] for r in ends for c in ends]).flatten(1)
    return (found.sum(1).double() / (found > 0).sum(1)).view(2, 2)


def background(at_corners: Tensor, height: int, width: int) -> Tensor:
    """Interpolate the background's depth from that in the corners, linearly along both axes.

    Args:
        at_corners: (2, 2) float64, as from `corners`.
        height: H.
        width: W.

    Returns:
        (H, W) float64, metres.

    """
    down, across = (
        torch.linspace(0, 1, n, dtype=torch.float64, device=at_corners.device)
        for n in (height, width)
    )
    top, bottom = at_corners[0], at_corners[1]
    edges = top + (bottom - top) * down[:, None]  # left and right, (H, 2)
    left, right = edges[:, :1], edges[:, 1:]
    return left + (right - left) * across


def standing_out(z: Tensor, behind: Tensor) -> Tensor:
    """Find the pixels that are more than 7 mm off the background.

    Args:
        z: (H, W) float32, metres, 0 where there is none.
        behind: (H, W) float64, from `background`.

    Returns:
        (H, W) bool.

    """
    return ((behind - z).abs() > OFF) & (z != 0)


def relative(z: Tensor, part: Tensor) -> Tensor:
    """Return how far pixels of the part are from its mean depth, in centimetres.

    Args:
        z: (H, W) float32, metres.
        part: (H, W) bool, one pixel at least.

    Returns:
        (H, W) float32, exactly 0 beside the part.

    """
    mean = torch.where(part, z, 0.0).sum() / part.sum()
    return torch.where(part, z - mean, 0.0) * SCALE


def blocks(image: Tensor, cells: int) -> Tensor:
    """Resize an image to 8 x 8 pixels a cell, bilinearly, and give each cell its own.

    Args:
        image: (H, W) float32.
        cells: along each side.

    Returns:
        (64, cells, cells) float32; of the pixel in row r and column c of a block channel 8 r + c.

    """
    return functional.pixel_unshuffle(_resized(image, BLOCK * cells)[None], BLOCK)


def soft_mask(part: Tensor, cells: int) -> Tensor:
    """Say how much of each cell is the part, which is grown by half a cell before.

    Args:
        part: (H, W) bool.
        cells: along each side.

    Returns:
        (cells, cells) float32: the mean of the cell's four central pixels, 0, .25, .5, .75 or 1.

    """
    touched = (_resized(part.float(), BLOCK * cells) > 0).float()
    # A pixel reaches four up and left and three down and right, as an 8 x 8 square of ones does.
    wide = functional.pad(touched[None], (3, 4, 3, 4))
    grown = functional.max_pool2d(wide, BLOCK, stride=1)[0]
    return _resized(grown, cells)


class DepthBlocks(Weightless):
    """The depth of 8 x 8 pixels in each cell of a grid, from the part's mean; needs no weights.

    Holes of up to three pixels are filled. What is not the part is 0, and the last channel says
    how much of a cell is the part, or within half a cell of it (AST, section 4.2).

    Takes the frame's grid instead of the points alone (``organised``).

    Args:
        cells: along each side: those of the 2D extractor whose tokens these features lie beside.
        from_corners: whether the grid has the background, and the part is what stands 7 mm out of
            the surface through the four corners of what is seen, as published; otherwise all that
            the grid has is the part's.

    Raises:
        ValueError: no cell.

    """

    organised: bool = True
    """It takes grids."""
    heights: bool = False
    """They are points alone."""
    takes_statistics: bool = False
    """Nothing is estimated from training clouds."""

    def __init__(self, cells: int = 24, *, from_corners: bool = False) -> None:
        """Keep the size of the grid."""
        if cells < 1:
            raise ValueError(f"DepthBlocks: cells must be 1 or more, got {cells}")
        self.grid = int(cells), int(cells)
        """Rows and columns of features, which lie on a grid, in row-major order."""
        self._from_corners = bool(from_corners)
        super().__init__(BLOCK * BLOCK + 1)

    def points(self, xyz: Tensor) -> Points:
        """Compute the blocks of a surface.

        Args:
            xyz: (S, S, 3) float32, metres; NaN where there is no point, one at least is there.

        Returns:
            A feature for each cell, (cells * cells, 65); each of the N pixels with a point, in
            row-major order, has that of the cell that it lies in.

        Raises:
            ValueError: ``from_corners``, and nothing stands out.

        """
        n = expect("DepthBlocks", xyz=(xyz, "S S2 3", torch.float32))
        known = ~xyz.isnan().any(-1)
        if n["S"] != n["S2"] or not known.any():
            raise ValueError(
                "DepthBlocks: xyz must be a square with at least one point, got "
                f"{tuple(xyz.shape)} with {int(known.sum())}"
            )
        z = filled(torch.where(known, xyz[..., 2], 0.0))
        part = _part(z, known) if self._from_corners else surface.outline(known) & (z != 0)
        if not part.any():
            raise ValueError(
                "DepthBlocks: no part in view: every point lies within "
                f"{1e3 * OFF:g} mm of the surface through the image's corners"
            )
        cells = self.grid[0]
        mask = soft_mask(part, cells)
        made = torch.cat([blocks(relative(z, part), cells), mask[None]])
        row, column = (known.nonzero().T * cells).div(n["S"], rounding_mode="floor")
        own = (row * cells + column)[:, None]
        weight = torch.ones_like(own, dtype=torch.float32)
        return Points(made.flatten(1).T.contiguous(), own, weight)

    def fit(self, clouds: Iterable[Tensor]) -> None:
        """Estimate nothing."""

    def load_statistics(self, statistics: Mapping[str, Tensor]) -> None:
        """Take over nothing; raise where there is something."""
        if statistics:
            raise ValueError(f"DepthBlocks: statistics must be none, got {sorted(statistics)}")

    def batch(self, clouds: Sequence[Tensor]) -> list[Points]:
        """Compute what ``points`` does for several surfaces."""
        return [self.points(xyz) for xyz in clouds]

    def config(self) -> dict[str, object]:
        """Return what ``from_config`` needs to build the extractor again."""
        return {
            "kind": "depth_blocks",
            "cells": self.grid[0],
            "from_corners": self._from_corners,
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], state: Mapping[str, Tensor] | None = None
    ) -> "DepthBlocks":
        """Build the extractor that ``config`` describes; there are no weights in ``state``."""
        how: dict[str, Any] = {"from_corners": bool(config["from_corners"])}
        return cls(cast(int, config["cells"]), **how)

    def describe(self) -> str:
        """Say in one line what the extractor is."""
        whose = ", the part from the corners" * self._from_corners
        return f"depth in blocks of 8x8 pixels, {self.grid[0]}x{self.grid[1]}{whose}, no weights"


def _part(z: Tensor, known: Tensor) -> Tensor:
    """Find the part on a grid whose input may be surrounded by padding, which has no points."""
    rows, columns = (slice(*_ends(known.any(axis))) for axis in (1, 0))
    seen = z[rows, columns]
    at_corners = corners(seen)
    has = (seen != 0).nonzero().double()
    last = torch.tensor(seen.shape, dtype=torch.float64, device=z.device) - 1
    for r, c in at_corners.isnan().nonzero().tolist():  # the nearest depth that there is
        corner = last * torch.tensor([r, c], device=z.device)
        row, column = has[(has - corner).square().sum(1).argmin()].long()
        at_corners[r, c] = seen[row, column].double()
    part = torch.zeros_like(known)
    part[rows, columns] = standing_out(seen, background(at_corners, *seen.shape))
    return part


def _ends(some: Tensor) -> tuple[int, int]:
    where = some.nonzero()
    return int(where[0]), int(where[-1]) + 1


def _resized(image: Tensor, size: int) -> Tensor:
    """Resize (H, W) to (size, size), bilinear as align_corners=False."""
    return functional.interpolate(
        image[None, None], size=(size, size), mode="bilinear", align_corners=False
    )[0, 0]
