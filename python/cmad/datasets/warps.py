"""Images and masks onto the pixels of points with another size: by a homography, or stretched."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from cmad.registration import bilinear

Size = tuple[int, int]
Warp = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def expect_homography(what: str, warp: npt.ArrayLike) -> Warp:
    """Return a (3, 3) homography as doubles; raise ValueError for what is none."""
    matrix = np.asarray(warp, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise ValueError(f"{what}: warp must be a (3, 3) homography, got {matrix.tolist()}")
    if np.linalg.matrix_rank(matrix) < 3:
        raise ValueError(f"{what}: warp must be invertible, got {matrix.tolist()}")
    return matrix


def image_onto(
    size: Size, image: npt.NDArray[np.uint8], warp: Warp | None
) -> npt.NDArray[np.uint8]:
    """Bring an image (H2, W2, 3) onto a raster of H x W pixels.

    Args:
        size: (H, W).
        image: uint8.
        warp: homography from pixels (column, row, 1) of the raster to those of the image, whose
            values are interpolated, 0 outside; None to stretch the whole image, where the raster
            is coarser with a weighted mean of what falls into a pixel.

    Returns:
        (H, W, 3) uint8.

    """
    if warp is None:
        to = size[1], size[0]
        return np.asarray(Image.fromarray(image).resize(to, Image.Resampling.BILINEAR))
    u, v, seen = _places(size, image.shape, warp)
    result = np.zeros((*size, 3), np.uint8)
    result[seen] = np.rint(bilinear(image, u, v)).astype(np.uint8)
    return result


def mask_onto(size: Size, mask: Flags, warp: Warp | None) -> Flags:
    """Bring a mask (H2, W2) onto a raster of H x W pixels, see `image_onto`.

    With a homography the nearest pixel of the mask counts, and outside nothing is marked. Of a
    stretched mask a pixel is marked where any of what falls into it is, so that no defect is lost.
    """
    if warp is None:
        covered = Image.fromarray(mask.astype(np.float32))
        share = covered.resize((size[1], size[0]), Image.Resampling.BOX)
        return np.asarray(np.asarray(share) > 0)
    u, v, seen = _places(size, mask.shape, warp)
    result = np.zeros(size, np.bool_)
    row, column = (np.floor(n + 0.5).astype(np.intp) for n in (v, u))
    result[seen] = mask[row, column]
    return result


def _places(size: Size, shape: tuple[int, ...], warp: Warp) -> tuple[Warp, Warp, Flags]:
    """Return columns and rows (N,) in the image, and which pixels of the raster they are of."""
    row, column = np.indices(size).astype(np.float64)
    there = np.stack([column, row, np.ones(size)], -1) @ warp.T
    # A homography has no sign of its own: the middle of the raster is before the camera.
    ahead = there[..., 2] * np.sign(there[size[0] // 2, size[1] // 2, 2]) > 0
    w = np.where(ahead, there[..., 2], np.nan)
    u, v = there[..., 0] / w, there[..., 1] / w
    seen = (u >= -0.5) & (u < shape[1] - 0.5) & (v >= -0.5) & (v < shape[0] - 0.5)
    return u[seen], v[seen], np.asarray(seen)
