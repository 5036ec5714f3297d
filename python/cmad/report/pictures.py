"""Pictures of parts and anomaly maps: arrays in, Pillow images out."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Rgb = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating]

# Evenly spaced along the scale. Luminance rises all the way and blue gives way to yellow, so that
# the order survives in grey and for readers who do not tell red from green.
ANCHORS = np.array(
    [
        [6, 8, 46],
        [58, 22, 112],
        [136, 32, 122],
        [206, 56, 92],
        [243, 112, 48],
        [252, 184, 56],
        [255, 250, 196],
    ],
    np.float64,
)
_OPACITY = 0.9
_LINE = (0, 255, 213)
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)


def colour(map_: Floats, low: float, high: float) -> Image.Image:
    """Draw a map in colours from dark blue (``low``) over red to pale yellow (``high``).

    Args:
        map_: (H, W); values beyond the scale take its end's colour, NaN is black.
        low: start of the scale.
        high: end of the scale, above ``low``.

    Returns:
        RGB, W x H.

    """
    at = _share(map_, low, high)
    rgb = _colours(np.nan_to_num(at))
    rgb[np.isnan(at)] = 0
    return _image(rgb)


def overlay(rgb: Rgb, map_: Floats, low: float, high: float) -> Image.Image:
    """Lay a map over the image it belongs to.

    Where the map is at ``low`` or below, or NaN, the image is left as it is; the colours gain
    opacity over the first half of the scale.

    Args:
        rgb: (H, W, 3) uint8.
        map_: (H, W).
        low: start of the scale, transparent.
        high: end of the scale, above ``low``.

    Returns:
        RGB, W x H.

    """
    if rgb.shape != (*map_.shape, 3):
        raise ValueError(f"overlay: rgb must be {(*map_.shape, 3)} as the map, got {rgb.shape}")
    at = np.nan_to_num(_share(map_, low, high))
    opacity = (_OPACITY * np.minimum(2 * at, 1))[..., None]
    return _image(rgb + opacity * (_colours(at) - rgb))


def depth(xyz: Floats) -> Image.Image:
    """Draw organised points as a shaded relief: nearer is brighter, lit from the upper left.

    Args:
        xyz: (H, W, 3), any unit; black where a coordinate is not finite or all three are 0.

    Returns:
        RGB, all channels equal, W x H.

    """
    if xyz.ndim != 3 or xyz.shape[2] != 3:
        raise ValueError(f"depth: xyz must be (H, W, 3), got {xyz.shape}")
    points = np.asarray(xyz, np.float64)
    valid = np.isfinite(points).all(-1) & (np.where(np.isfinite(points), points, 0) != 0).any(-1)
    if not valid.any():
        return Image.new("RGB", (xyz.shape[1], xyz.shape[0]))
    z = np.where(valid, points[..., 2], 0)
    # A mean over 3 x 3 valid pixels calms the sensor's noise, which slopes would amplify.
    near = _around(z) / np.maximum(_around(valid.astype(np.float64)), 1)
    near = np.where(valid, near, near[valid].mean())
    low, high = np.quantile(near[valid], [0.01, 0.99])
    height = np.clip((high - near) / max(high - low, 1e-12), 0, 1)
    pitch = _pitch(points, valid)
    down, across = _slope(near, valid, 0) / pitch, _slope(near, valid, 1) / pitch
    light = np.array([-0.5, -0.5, -0.7071])  # towards the lamp; x right, y down, z away
    shade = across * light[0] + down * light[1] - light[2]
    shade = np.clip(shade / np.sqrt(1 + across**2 + down**2), 0, 1)
    grey = np.where(valid, 255 * (0.12 + 0.40 * height + 0.48 * shade**1.5), 0)
    return _image(np.repeat(grey[..., None], 3, 2))


def outline(
    image: Image.Image | Rgb,
    mask: npt.NDArray[np.bool_],
    line: tuple[int, int, int] = _LINE,
    width: int = 2,
) -> Image.Image:
    """Draw a line around the marked pixels, which stay as they are.

    Args:
        image: RGB, H x W.
        mask: (H, W) bool.
        line: colour, 0 to 255.
        width: pixels, at least 1.

    Returns:
        A copy with the line.

    """
    drawn = np.array(image)
    if drawn.shape != (*mask.shape, 3):
        raise ValueError(
            f"outline: image must be {(*mask.shape, 3)} as the mask, got {drawn.shape}"
        )
    grown = mask.astype(np.float64)
    for _ in range(width):
        grown = (_around(grown) > 0).astype(np.float64)
    drawn[(grown > 0) & ~mask] = line
    return Image.fromarray(drawn)


def captioned(image: Image.Image, text: str, size: int = 12) -> Image.Image:
    """Put lines of text below an image, which keeps its pixels; words wrap at its width."""
    font = ImageFont.load_default(size)
    lines = _wrapped(text, font, image.width - 8)
    step = round(1.35 * size)
    out = Image.new("RGB", (image.width, image.height + step * len(lines) + 6), _PAPER)
    out.paste(image)
    pen = ImageDraw.Draw(out)
    for i, said in enumerate(lines):
        pen.text((4, image.height + 2 + i * step), said, _INK, font)
    return out


def sheet(
    rows: Sequence[Sequence[Image.Image]],
    titles: Sequence[str],
    captions: Sequence[str] = (),
    *,
    cell: int = 260,
    foot: str = "",
) -> Image.Image:
    """Arrange images in a table.

    Args:
        rows: images of each row, one per title, in order; scaled to the width of a column.
        titles: above the columns.
        captions: above the rows, one each, or none at all.
        cell: width of a column in pixels.
        foot: text below the table.

    Returns:
        RGB; as wide as the columns with a small gap between them.

    """
    if not rows or any(len(row) != len(titles) for row in rows):
        raise ValueError(
            f"sheet: each row must have {len(titles)} images as there are titles, got "
            f"{[len(row) for row in rows]}"
        )
    if captions and len(captions) != len(rows):
        raise ValueError(
            f"sheet: needs a caption for each of {len(rows)} rows, got {len(captions)}"
        )
    head, small, gap = ImageFont.load_default(17), ImageFont.load_default(14), 8
    scaled = [[_scaled(image, cell) for image in row] for row in rows]
    width = gap + (cell + gap) * len(titles)
    lines = [_wrapped(text, small, width - 2 * gap) for text in captions] or [[] for _ in rows]
    below = _wrapped(foot, small, width - 2 * gap) if foot else []
    heights = [
        20 * len(t) + max(i.height for i in r) + 2 * gap for t, r in zip(lines, scaled, strict=True)
    ]
    out = Image.new("RGB", (width, 34 + sum(heights) + 20 * len(below) + gap), _PAPER)
    pen = ImageDraw.Draw(out)
    for i, title in enumerate(titles):
        pen.text((gap + i * (cell + gap), 8), title, _INK, head)
    top = 34
    for text, images, height in zip(lines, scaled, heights, strict=True):
        for i, said in enumerate(text):
            pen.text((gap, top + 20 * i), said, _INK, small)
        for i, image in enumerate(images):
            out.paste(image, (gap + i * (cell + gap), top + 20 * len(text)))
        top += height
    for i, said in enumerate(below):
        pen.text((gap, top + 20 * i), said, _FAINT, small)
    return out


def _share(map_: Floats, low: float, high: float) -> npt.NDArray[np.float64]:
    """Place values on the scale: 0 at its start, 1 at its end."""
    if map_.ndim != 2:
        raise ValueError(f"map must be (H, W), got {map_.shape}")
    if not low < high:
        raise ValueError(f"scale must go upwards, got low {low:.4g} and high {high:.4g}")
    share: npt.NDArray[np.float64] = ((np.asarray(map_, np.float64) - low) / (high - low)).clip(
        0, 1
    )
    return share


def _colours(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    stops = np.linspace(0, 1, len(ANCHORS))
    return np.stack([np.interp(share, stops, channel) for channel in ANCHORS.T], -1)


def _image(values: npt.NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.round(values).astype(np.uint8))


def _around(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sum over the 3 x 3 pixels around each, zeros beyond the border."""
    padded = np.pad(values, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    total: npt.NDArray[np.float64] = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return total


def _slope(
    values: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_], axis: int
) -> npt.NDArray[np.float64]:
    """Difference per pixel along an axis, 0 where a neighbour is invalid."""
    whole = np.pad(valid, 1)
    after, before = (np.roll(whole, shift, axis)[1:-1, 1:-1] for shift in (-1, 1))
    if values.shape[axis] < 2:
        return np.zeros_like(values)
    return np.where(valid & after & before, np.gradient(values, axis=axis), 0)


def _pitch(points: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_]) -> float:
    """Distance between neighbouring pixels on the part, the median of those known."""
    both = valid[:, 1:] & valid[:, :-1]
    step = np.abs(points[:, 1:, 0] - points[:, :-1, 0])[both]
    step = step[step > 0]
    return float(np.median(step)) if len(step) else 1.0


def _scaled(image: Image.Image, width: int) -> Image.Image:
    height = max(1, round(image.height * width / image.width))
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[str]:
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines
