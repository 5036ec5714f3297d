"""From a sample to a frame: the part's pixels, square padding, resizing.

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

from cmad import notices, surface
from cmad.background import Background
from cmad.checks import at, checked
from cmad.foreground import Part, Rule, find_part
from cmad.types import Frame, Sample, Window


@dataclass(frozen=True)
class Choices:
    """Where the paper's text and the published scripts prepare parts differently.

    The defaults are the paper's; `cmad.presets` has the others.
    """

    any_zero_is_missing: bool = False
    """Whether a point with one coordinate of exactly 0 is missing, or only one with three."""
    rule: Rule = field(default_factory=Rule)
    """Of finding the part."""
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
    background: Background = field(default_factory=Background)
    """What is not the part."""
    fill: bool = False
    """Whether pixels without a point that lie inside the part's closed outline get one."""


def prepare(sample: Sample, how: Preprocessing, *, keep: Tensor | None = None) -> Frame:
    """Make the frame of a sample.

    Args:
        sample: see `Sample`; ``xyz`` in metres.
        how: sizes, choices and seed.
        keep: (H, W) bool, the pixels of the part where they are known; None finds them
            with `cmad.foreground.find_part`.

    Returns:
        The frame, on the CPU. Its notes are given as warnings, too.

    Raises:
        TypeError, ValueError: the sample is not what `cmad.checks.checked` asks for.
        ValueError: no valid 3D point, or none left beside the background.

    """
    rgb, xyz = checked(sample)
    height, width = (rgb if xyz is None else xyz).shape[:2]  # type: ignore[union-attr]
    window = square(height, width, how.choices)
    resized = None if rgb is None else _resize_rgb(rgb, window, how.rgb_size)
    rows = _samples(window, how, window.top, window.height)
    columns = _samples(window, how, window.left, window.width)
    inside = (rows >= 0)[:, None] & (columns >= 0)[None]
    pixel = rows.clamp(min=0)[:, None], columns.clamp(min=0)[None]
    region = _region(sample, how, height, width)
    region = None if region is None else region[pixel] & inside
    if xyz is None:
        if region is not None and not region.any():
            small = f"no pixel of the region of interest is left at {how.image_size} pixels"
            raise ValueError(at(sample, small))
        return Frame(resized, None, None, window, sample.name, region=region)
    has, part = look(sample, xyz, how) if keep is None else (_valid(xyz, how), Part(keep))
    valid = has & part.keep
    if not valid.any():
        raise ValueError(at(sample, nothing(how.background)))
    valid = valid[pixel] & inside
    if not valid.any():
        raise ValueError(at(sample, f"no 3D point of the part is left at {how.image_size} pixels"))
    placed = torch.where(valid[..., None], xyz[pixel], 0.0).contiguous()
    filled = None
    if how.fill:
        free = inside & ~has[pixel] if region is None else region & ~has[pixel]
        filled = surface.outline(valid) & free
        valid = valid | filled
        placed = surface.completed(placed, valid & ~filled, valid)
    about = sample.name, part.plane, part.notes, region, filled
    frame = Frame(resized, placed, valid, window, *about)
    tell(frame)
    return frame


def tell(frame: Frame) -> None:
    """Give a frame's notes as warnings, once a run and kind."""
    for note in frame.notes:
        notices.warn(note.kind, f"{frame.name}: {note.text}" if frame.name else note.text)


def look(sample: Sample, xyz: Tensor, how: Preprocessing) -> tuple[Tensor, Part]:
    """Find the part of a sample on the input's own pixels.

    Args:
        sample: for messages.
        xyz: (H, W, 3) float32, its checked points, see `cmad.checks.checked`.
        how: choices, background and seed.

    Returns:
        (H, W) bool, the pixels with a point, and the part, a subset of them, maybe empty.

    Raises:
        ValueError: no valid 3D point, or a region of interest that does not fit.

    """
    valid = _valid(xyz, how)
    if not valid.any():
        raise ValueError(at(sample, "xyz has no valid point: all are 0, NaN, infinite or marks"))
    try:
        return valid, find_part(xyz, valid, how.background, how.choices.rule, how.seed)
    except ValueError as error:
        raise ValueError(at(sample, str(error))) from None


def _region(sample: Sample, how: Preprocessing, height: int, width: int) -> Tensor | None:
    if not how.background.is_region:
        return None
    try:
        return how.background.region(height, width)
    except ValueError as error:
        raise ValueError(at(sample, str(error))) from None


def _valid(xyz: Tensor, how: Preprocessing) -> Tensor:
    x, y, z = (axis != 0 for axis in xyz.unbind(-1))
    return x & y & z if how.choices.any_zero_is_missing else x | y | z


def nothing(background: Background) -> str:
    """Say why there is no part."""
    if background.is_region:
        return "no part in view: no valid point lies in the region of interest"
    return (
        f"no part in view: every valid point lies within {1e3 * background.distance:g} mm of the "
        "background plane; for a thinner part, or one that fills the image, pass background: a "
        'smaller distance in metres such as 0.001, a plane, a region of interest, or "none"'
    )


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


def _resize_rgb(rgb: Tensor, window: Window, size: int) -> Tensor:
    bottom = window.side - window.top - window.height
    right = window.side - window.left - window.width
    padded = np.pad(rgb.numpy(), ((window.top, bottom), (window.left, right), (0, 0)), mode="edge")
    resized = Image.fromarray(padded).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()
