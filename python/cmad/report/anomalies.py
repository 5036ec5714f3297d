"""A contact sheet of synthetic anomalies: before, after, where, and what it does to the points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from cmad.report.pictures import colour, depth, outline, sheet
from cmad.types import Sample

TITLES = ("good part", "with anomaly", "mask", "relief before", "relief after", "points moved")
_MARGIN = 0.08
_CELL = 220
_FOOT = (
    "Cut out around the part. The line is around the mask, white in its own column. Relief: nearer "
    "is brighter, black has no point. Points moved: along the line of sight, dark blue 0, red half "
    "of, pale yellow {most:.3g} mm or more, black has no point."
)


@dataclass(frozen=True, eq=False)
class Pasted:
    """A good part, and what was made of it; both with colour and points."""

    before: Sample
    """rgb (H, W, 3) uint8, xyz (H, W, 3) float32 metres, 0 where there is no point."""
    after: Sample
    """Likewise, with mask; ``defect`` is the kind."""
    part: npt.NDArray[np.bool_]
    """(H, W) bool, what is looked at; the pictures are cut out around it."""

    def describe(self) -> str:
        """Say what was done, and how much."""
        mask = self._mask
        colours = np.abs(self._rgb(self.after).astype(int) - self._rgb(self.before))[mask]
        moved = 1e3 * self.moved[mask & ~np.isnan(self.moved)]
        mean = f"{moved.mean():.2f} mm (at most {moved.max():.2f})" if len(moved) else "no point"
        return (
            f"{self.after.name}: {self.after.defect}, {int(mask.sum())} pixels; colours differ by "
            f"{colours.mean():.0f} of 255 in the mean, points by {mean}"
        )

    @property
    def moved(self) -> npt.NDArray[np.float64]:
        """(H, W), metres along z that each point was moved; NaN where there is none."""
        before, after = (np.asarray(s.xyz, np.float64) for s in (self.before, self.after))
        return np.where((before != 0).any(-1), np.abs(after[..., 2] - before[..., 2]), np.nan)

    @property
    def _mask(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.after.mask, np.bool_)

    @staticmethod
    def _rgb(sample: Sample) -> npt.NDArray[np.uint8]:
        return np.asarray(sample.rgb, np.uint8)

    def pictures(self, most: float) -> list[Image.Image]:
        """Draw one picture for each of `TITLES`; ``most`` metres end the scale of moved points."""
        part = self.part
        window = _around(part | self._mask)
        before, after = self._rgb(self.before)[window], self._rgb(self.after)[window]
        mask = self._mask[window]
        points = (
            np.where(part[..., None], np.asarray(s.xyz), 0) for s in (self.before, self.after)
        )
        reliefs = [depth(xyz[window]) for xyz in points]
        white = Image.fromarray(255 * mask.astype(np.uint8)).convert("RGB")
        moved = colour(np.where(part, self.moved, np.nan)[window], 0, most)
        line = max(1, round(max(mask.shape) / _CELL))
        return [
            Image.fromarray(before),
            outline(after, mask, width=line),
            white,
            reliefs[0],
            outline(reliefs[1], mask, width=line),
            moved,
        ]


def anomaly_sheet(rows: Sequence[Pasted], title: str = "") -> Image.Image:
    """Arrange parts with anomalies in rows.

    Args:
        rows: one or more.
        title: a line for the foot.

    Returns:
        RGB.

    """
    moved = np.concatenate([p.moved[p.moved > 0] for p in rows])
    # Steps at the rim of a cut are far larger than all else.
    most = max(float(np.quantile(moved, 0.9)), 1e-4) if len(moved) else 1e-3
    return sheet(
        [pasted.pictures(most) for pasted in rows],
        TITLES,
        [pasted.describe() for pasted in rows],
        cell=_CELL,
        foot=f"{title}\n{_FOOT.format(most=1e3 * most)}".strip(),
    )


def _around(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return rows and columns of the smallest square around a mask, with a margin, in the image."""
    ends = [np.flatnonzero(mask.any(1 - axis))[[0, -1]] for axis in (0, 1)]
    side = max(int(last - first) + 1 for first, last in ends)
    side += 2 * round(_MARGIN * side) + 2
    window = []
    for (first, last), length in zip(ends, mask.shape, strict=True):
        start = max(0, min(int(first + last + 1 - side) // 2, length - side))
        window.append(slice(start, min(start + side, length)))
    return window[0], window[1]
