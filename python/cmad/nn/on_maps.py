"""Convolutional mapping networks on the part of the pixel grid that the foreground takes.

A prediction depends on the features a few pixels around it. Cut out with them, it is what it is on
the whole map, for the share of the work that the part has of the image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cmad.nn.encoder_decoders import ConvEncoderDecoder
from cmad.nn.mapping import Mappings
from cmad.ops import discrepancy
from cmad.rasters import Raster, rows
from cmad.types import Features


@dataclass(frozen=True)
class Box:
    """Rows and columns of a square of S pixels; top and left are even, as pooling divides it."""

    top: int
    left: int
    bottom: int
    right: int
    """This row or column is the first beside it."""
    size: int
    """S."""

    @staticmethod
    def around(cell: Tensor, size: int) -> "Box":
        """Take what the predictions at some pixels depend on.

        Args:
            cell: (Q,) int64, row * S + column; at least one.
            size: S.

        """
        reach = ConvEncoderDecoder.REACH
        low, high = [], []
        for at in (cell // size, cell % size):
            low.append(max(0, int(at.min()) // 2 * 2 - reach))
            high.append(min(size, (int(at.max()) // 2 + 1) * 2 + reach))
        return Box(low[0], low[1], high[0], high[1], size)

    def cells(self) -> Tensor:
        """Return its pixels row by row, (h w,) int64, row * S + column."""
        row, column = torch.arange(self.top, self.bottom), torch.arange(self.left, self.right)
        return (row[:, None] * self.size + column).flatten()

    def places(self, cell: Tensor) -> Tensor:
        """Return where pixels of the square are in `cells`, (Q,) int64."""
        row, column = cell // self.size - self.top, cell % self.size - self.left
        return row * (self.right - self.left) + column

    def laid_out(self, of_rows: Tensor) -> Tensor:
        """Turn features of its pixels, (h w, D), into a map, (1, D, h, w)."""
        return of_rows.T.reshape(1, -1, self.bottom - self.top, self.right - self.left)


@dataclass(frozen=True, eq=False)
class Cut:
    """Some pixels of a frame, and the features of all that their predictions depend on."""

    place: Tensor
    """(Q,) int64, of the pixels in the box."""
    box: Box
    e: Mapping[str, Tensor]
    """(h w, D) float32 by modality; zeros where no point reaches."""

    @staticmethod
    def of(features: Features, raster: Raster, cell: Tensor) -> "Cut":
        """Cut out some pixels, at least one; `cell` as for `Box.around`."""
        box = Box.around(cell, raster.size)
        e = rows(features, raster, box.cells().to(cell.device))
        return Cut(box.places(cell), box, e)

    def observed(self) -> dict[str, Tensor]:
        """Return the features at the pixels, (Q, D) by modality."""
        return {modality: of_rows[self.place] for modality, of_rows in self.e.items()}

    def predicted(self, mappings: Mappings, target: str) -> Tensor:
        """Predict a modality's features at the pixels, (Q, D)."""
        made: Tensor = mappings.into(target)(self.box.laid_out(self.e[mappings.source_of(target)]))
        return made[0].flatten(1).T[self.place]


class OnMaps:
    """Convolutional networks, measured on the box of the foreground; float32 arithmetic."""

    def __init__(self, mappings: Mappings) -> None:
        """Take the networks as they are."""
        self.mappings = mappings

    def measured(
        self, features: Features, raster: Raster, cell: Tensor, wanted: Sequence[str]
    ) -> dict[str, Tensor]:
        """Measure one frame.

        Args:
            features: of the frame.
            raster: the pixels.
            cell: (P,) int64, those that are measured.
            wanted: ``"2d"``, ``"3d"`` or both.

        Returns:
            The distances of normalised features (CFM, equation 3), (P,) float32 by modality.

        """
        if len(cell) == 0:
            return {t: torch.zeros(0, dtype=torch.float32, device=cell.device) for t in wanted}
        cut = Cut.of(features, raster, cell)
        observed = cut.observed()
        with torch.inference_mode():
            return {
                target: discrepancy(cut.predicted(self.mappings, target), observed[target])[0]
                for target in wanted
            }


def window(cell: Tensor, size: int, pixels: int, generator: torch.Generator) -> Tensor:
    """Draw the foreground of a square window around one of its pixels.

    Args:
        cell: (Q,) int64, of the foreground, row * S + column; at least one.
        size: S.
        pixels: that the window has at most, foreground and background.
        generator: of the draw.

    Returns:
        (q,) int64, at least one, those of ``cell`` that lie in the window.

    """
    side = min(size, max(1, int(pixels**0.5)))
    centre = int(cell[torch.randint(len(cell), (1,), generator=generator)])
    inside = torch.ones_like(cell, dtype=torch.bool)
    for at, middle in ((cell // size, centre // size), (cell % size, centre % size)):
        begin = min(max(0, middle - side // 2), size - side)
        inside &= (at >= begin) & (at < begin + side)
    return cell[inside]
