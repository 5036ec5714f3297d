"""From a sample to a frame: background plane, largest cluster, square padding, resizing.

The working grid is the padded square, sampled to S by S pixels; rgb and xyz go through the same
square, so they stay registered for every aspect ratio. What a preset decides here is a record,
`Choices`; docs/decisions/presets.md lists what differs.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from PIL import Image
from torch import Tensor

from cmad import ops
from cmad.checks import at, checked
from cmad.types import Frame, Sample, Window

PLANE_DISTANCE = 0.005
"""Metres; a point nearer to the background plane is background (CFM, section 4)."""
BORDER = 10
"""Pixels along the image border that the background plane is fitted to."""
BACKGROUND_SHARE = 0.3
"""Of the border's pixels, that must lie on a plane for it to be the background."""
CLUSTER_EPS = 0.006
"""Metres between neighbours of a cluster."""
CLUSTER_POINTS = 30
CONSTANTS = {
    "plane_distance": PLANE_DISTANCE,
    "border": BORDER,
    "background_share": BACKGROUND_SHARE,
    "cluster_eps": CLUSTER_EPS,
    "cluster_points": CLUSTER_POINTS,
}
"""As stored with a model: its threshold means nothing with others."""


@dataclass(frozen=True)
class Choices:
    """Where the paper's text and the published scripts prepare parts differently.

    The defaults are the paper's; `cmad.presets` has the others.
    """

    any_zero_is_missing: bool = False
    """Whether a point with one coordinate of exactly 0 is missing, or only one with three."""
    plane_samples: int = 3
    """Points that each hypothesis of the background plane goes through."""
    plane_support: float = PLANE_DISTANCE
    """Metres; a point nearer to a hypothesis than this supports it."""
    corners_twice: bool = False
    """Whether the strips of the border overlap at the corners."""
    noise_votes: bool = False
    """Whether points outside all clusters may be the part, where they are the most."""
    multiple: int = 1
    """Pixels that both sides are rounded up to a multiple of, before the square is made."""
    upper_left: bool = False
    """Whether xyz is sampled at the upper left corner of a pixel of the grid, or at its centre."""


@dataclass(frozen=True)
class Preprocessing:
    """How samples become frames."""

    image_size: int = 224
    """S, pixels along each side of the working grid."""
    rgb_size: int = 224
    """R, pixels along each side of what the 2D extractors take."""
    choices: Choices = field(default_factory=Choices)
    seed: int = 0
    """Of the background plane's RANSAC."""


def prepare(sample: Sample, how: Preprocessing, *, keep: Tensor | None = None) -> Frame:
    """Make the frame of a sample.

    Args:
        sample: see `Sample`; ``xyz`` in metres.
        how: sizes, choices and seed.
        keep: (H, W) bool, the pixels of the part where they are known; None finds them
            with `part_pixels`.

    Returns:
        The frame, on the CPU.

    Raises:
        TypeError, ValueError: the sample is not what `cmad.checks.checked` asks for.
        ValueError: no valid 3D point, or none left beside the background.

    """
    rgb, xyz = checked(sample)
    height, width = (rgb if xyz is None else xyz).shape[:2]  # type: ignore[union-attr]
    window = square(height, width, how.choices)
    resized = None if rgb is None else _resize_rgb(rgb, window, how.rgb_size)
    if xyz is None:
        return Frame(resized, None, None, window, sample.name)
    present = xyz != 0
    valid = present.all(-1) if how.choices.any_zero_is_missing else present.any(-1)
    if not valid.any():
        raise ValueError(at(sample, "xyz has no valid point: all are 0, NaN, infinite or marks"))
    if keep is None:
        keep = part_pixels(xyz, valid, how)
    valid = valid & keep
    if not valid.any():
        raise ValueError(
            at(sample, "no part in view: every valid point lies on the background plane")
        )
    rows = _samples(window, how, window.top, window.height)
    columns = _samples(window, how, window.left, window.width)
    inside = (rows >= 0)[:, None] & (columns >= 0)[None]
    pixel = rows.clamp(min=0)[:, None], columns.clamp(min=0)[None]
    valid = valid[pixel] & inside
    if not valid.any():
        raise ValueError(at(sample, f"no 3D point of the part is left at {how.image_size} pixels"))
    placed = torch.where(valid[..., None], xyz[pixel], 0.0).contiguous()
    return Frame(resized, placed, valid, window, sample.name)


def part_pixels(xyz: Tensor, valid: Tensor, how: Preprocessing) -> Tensor:
    """Find the pixels of the part: not on the background plane, and of the largest cluster.

    The plane is fitted to the valid points of the image border. Where fewer than three tenths of
    the border's pixels lie on it, the background has been removed already, and nothing counts as
    background. Where most points are noise, too far apart for the constants, all are kept.

    Args:
        xyz: (H, W, 3) float32, metres, finite.
        valid: (H, W) bool, pixels with a 3D point.
        how: choices and seed.

    Returns:
        (H, W) bool, a subset of ``valid``.

    """
    keep = valid.clone()
    plane = _background(xyz, valid, how)
    if plane is not None:
        distance = (xyz.double() @ plane[:3] + plane[3]).abs()
        keep &= distance >= PLANE_DISTANCE
    label = ops.clusters(xyz[keep], CLUSTER_EPS, CLUSTER_POINTS, check=False)
    voters = label if how.choices.noise_votes else label[label >= 0]
    # Points so far apart that most are noise say nothing of what belongs together; where noise has
    # a vote, it has been counted.
    if 2 * len(voters) > len(label):
        keep[keep.clone()] = label == voters.mode().values
    return keep


def square(height: int, width: int, choices: Choices) -> Window:
    """Place an input in its square: centred, side the longer one, rounded up as chosen."""
    side = max(-(-length // choices.multiple) * choices.multiple for length in (height, width))
    return Window(side, (side - height) // 2, (side - width) // 2, height, width)


def to_input(maps: Tensor, window: Window) -> Tensor:
    """Bring maps from the working grid to the input's own pixels, bilinearly.

    Args:
        maps: (B, S, S) float32.
        window: where the input lies in the square.

    Returns:
        (B, H, W) float32.

    """
    full = functional.interpolate(
        maps[:, None], size=(window.side, window.side), mode="bilinear", align_corners=False
    )[:, 0]
    rows = slice(window.top, window.top + window.height)
    return full[:, rows, window.left : window.left + window.width].contiguous()


def mask_to_grid(mask: npt.NDArray[np.bool_], how: Preprocessing) -> npt.NDArray[np.bool_]:
    """Sample a ground-truth mask to the working grid: the nearest pixel centre.

    Args:
        mask: (H, W) bool.
        how: image size and choices.

    Returns:
        (S, S) bool, false beside the input.

    """
    window = square(mask.shape[0], mask.shape[1], how.choices)
    rows = _nearest(window, how.image_size, window.top, window.height)
    columns = _nearest(window, how.image_size, window.left, window.width)
    inside = (rows >= 0)[:, None] & (columns >= 0)[None]
    at = rows.clamp(min=0)[:, None], columns.clamp(min=0)[None]
    return (torch.from_numpy(mask)[at] & inside).numpy()


def _samples(window: Window, how: Preprocessing, offset: int, length: int) -> Tensor:
    """Input row (or column) that each grid row samples for xyz, -1 in the padding."""
    if not how.choices.upper_left:
        return _nearest(window, how.image_size, offset, length)
    # torch's nearest: the pixel at the sample's upper left corner.
    at = torch.arange(how.image_size) * window.side // how.image_size - offset
    return torch.where((at >= 0) & (at < length), at, -1)


def _nearest(window: Window, size: int, offset: int, length: int) -> Tensor:
    at = (2 * torch.arange(size) + 1) * window.side // (2 * size) - offset
    return torch.where((at >= 0) & (at < length), at, -1)


def _background(xyz: Tensor, valid: Tensor, how: Preprocessing) -> Tensor | None:
    """Fit the background plane to the border; None where the border shows no such plane."""
    rows, columns = torch.zeros_like(valid), torch.zeros_like(valid)
    rows[:BORDER] = rows[-BORDER:] = True
    columns[:, :BORDER] = columns[:, -BORDER:] = True
    if how.choices.corners_twice:
        points = torch.cat([xyz[rows & valid], xyz[columns & valid]])
    else:
        points = xyz[(rows | columns) & valid]
    if len(points) < 3:
        return None
    try:
        plane, support = ops.plane(
            points,
            how.choices.plane_support,
            samples=how.choices.plane_samples,
            seed=how.seed,
            check=False,
        )
    except ValueError:  # the points lie on a line
        return None
    # Where the background has been removed already, a part that reaches the border is no plane.
    return plane if support >= BACKGROUND_SHARE * int((rows | columns).sum()) else None


def _resize_rgb(rgb: Tensor, window: Window, size: int) -> Tensor:
    bottom = window.side - window.top - window.height
    right = window.side - window.left - window.width
    padded = np.pad(rgb.numpy(), ((window.top, bottom), (window.left, right), (0, 0)), mode="edge")
    resized = Image.fromarray(padded).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()
