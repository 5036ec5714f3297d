"""What anomalies are pasted on and cut from: the arrays of a part, with what of it is looked at."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from cmad.types import Frame

Bools = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float32]

SAMPLED = 4096
"""Points that the lines of sight are judged by, at most."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A part; its arrays are not changed."""

    name: str
    rgb: npt.NDArray[np.uint8] | None
    """(h, w, 3); None where there is no image."""
    xyz: Points | None
    """(H, W, 3) metres, 0 where the sensor saw no point; None without points."""
    valid: Bools
    """(H, W), pixels of the part that have a point; without points, all that are looked at."""
    part: Bools
    """(H, W), ``valid`` with its small holes filled."""
    plane: tuple[float, ...] | None = None
    """The background plane, see `Frame`."""
    empty: str = ""
    """Why nothing of it is valid, where it is known."""

    @property
    def share(self) -> float:
        """Of the pixels of the square around the image, those of the part with a point."""
        return float(self.valid.sum() / max(self.valid.shape) ** 2)


@dataclass(frozen=True, eq=False)
class Limits:
    """Where the points of a scene may be."""

    near: float
    """Smallest z, metres."""
    far: npt.NDArray[np.float32]
    """(H, W), largest z of each pixel, metres."""
    rays: bool
    """Whether the pixels' lines of sight go through the camera, or all along z."""


def scene_of(frame: Frame) -> Scene:
    """Return the scene of a prepared frame.

    Raises:
        ValueError: it has neither image nor points.

    """
    rgb = None if frame.rgb is None else frame.rgb.permute(1, 2, 0).numpy()
    if frame.xyz is not None and frame.valid is not None:
        valid = frame.valid.numpy()
        return Scene(frame.name, rgb, frame.xyz.numpy(), valid, closed(valid), frame.plane)
    if rgb is None:
        raise ValueError(f"{frame.name or 'a frame'}: has neither image nor points")
    # Without points all of the image is looked at, and not what the square adds to it.
    window, size = frame.window, len(rgb)
    valid = np.zeros(rgb.shape[:2], np.bool_)
    top, left, bottom, right = (
        round(length * size / window.side)
        for length in (
            window.top,
            window.left,
            window.top + window.height,
            window.left + window.width,
        )
    )
    valid[top:bottom, left:right] = True
    return Scene(frame.name, rgb, None, valid, valid)


def resized(scene: Scene, like: Scene) -> Scene:
    """Bring a scene to the size of another: the image bicubically, points by the nearest pixel."""
    if scene.rgb is not None and like.rgb is not None and scene.rgb.shape != like.rgb.shape:
        size = (like.rgb.shape[1], like.rgb.shape[0])
        image = Image.fromarray(scene.rgb).resize(size, Image.Resampling.BICUBIC)
        scene = replace(scene, rgb=np.array(image))
    if scene.valid.shape == like.valid.shape:
        return scene
    pixel = np.ix_(*map(nearest, scene.valid.shape, like.valid.shape))
    xyz = None if scene.xyz is None else scene.xyz[pixel]
    return replace(scene, xyz=xyz, valid=scene.valid[pixel], part=scene.part[pixel])


def nearest(length: int, wanted: int) -> npt.NDArray[np.int64]:
    """Return which of ``length`` pixels is nearest to each of ``wanted`` along the same line."""
    return (2 * np.arange(wanted) + 1) * length // (2 * wanted)


def closed(valid: Bools) -> Bools:
    """Fill holes of a pixel or two: what is dilated and then eroded, and all that was there."""
    radius = max(1, round(max(valid.shape) / 224))
    grown = _around(np.pad(valid, radius), radius)
    shrunk = ~_around(~np.pad(grown, radius, constant_values=True), radius)
    inner = slice(2 * radius, -2 * radius)
    return np.asarray(shrunk[inner, inner] | valid)


def limits(scene: Scene, depth_range: tuple[float, float] | None) -> Limits:
    """Find where a scene's points may be moved to.

    Args:
        scene: with points.
        depth_range: smallest and largest z in metres; None for those of the part and, where a
            background plane was found, of the plane behind the part. No limit is nearer than a
            point that lies there already, nor behind the plane.

    Raises:
        ValueError: the part has a point outside of ``depth_range``.

    """
    assert scene.xyz is not None  # asked for with points only
    xyz, valid = scene.xyz, scene.valid
    z = xyz[..., 2]
    on_part = z[valid]
    near, far = float(on_part.min()), float(on_part.max())
    if depth_range is not None:
        if not (depth_range[0] <= near and far <= depth_range[1]):
            raise ValueError(
                f"{scene.name or 'a part'}: depth_range must hold the part, whose z is {near:.6g} "
                f"to {far:.6g} m, got {depth_range[0]:g} to {depth_range[1]:g}"
            )
        near, far = depth_range
    rays = _through_the_camera(xyz, valid)
    farthest = np.full(valid.shape, np.float32(far))
    if scene.plane is not None:
        behind = _plane_depth(xyz, valid, scene.plane, rays)
        if depth_range is not None:
            behind = np.minimum(behind, far)
        farthest[valid] = np.maximum(behind, on_part)
    return Limits(near, farthest, rays)


def _plane_depth(
    xyz: Points, valid: Bools, plane: tuple[float, ...], rays: bool
) -> npt.NDArray[np.float64]:
    """Return z where the line of sight of each valid pixel meets the plane; itself if nowhere."""
    points = xyz[valid].astype(np.float64)
    normal, distance = np.array(plane[:3]), plane[3]
    z = points[:, 2]
    if rays:
        slope, start = (points / z[:, None]) @ normal, np.full(len(z), -distance)
    else:
        slope, start = np.full(len(z), normal[2]), -distance - points[:, :2] @ normal[:2]
    meets = np.abs(slope) > 1e-6
    met: npt.NDArray[np.float64] = np.divide(start, slope, out=z.copy(), where=meets)
    return met


def _through_the_camera(xyz: Points, valid: Bools) -> bool:
    """Tell whether x/z and y/z are linear in column and row, rather than x and y themselves.

    Cameras see along rays, line scanners and height maps along z.
    """
    row, column = np.nonzero(valid)
    step = -(-len(row) // SAMPLED)
    row, column = row[::step], column[::step]
    points = xyz[row, column].astype(np.float64)
    z = points[:, 2]
    if not (z > 0).all() and not (z < 0).all():
        return False
    grid = np.stack([np.ones(len(row)), row, column], 1)
    along_z, along_rays = points[:, :2], points[:, :2] / z[:, None] * np.median(z)
    left = [np.abs(v - grid @ np.linalg.lstsq(grid, v)[0]).sum() for v in (along_rays, along_z)]
    return bool(left[0] <= left[1])


def _around(mask: Bools, radius: int) -> Bools:
    """Tell which pixels have a marked one in the square around them."""
    for axis in (0, 1):
        grown = mask.copy()
        for step in range(1, radius + 1):
            there = [slice(None)] * 2
            here = [slice(None)] * 2
            there[axis], here[axis] = slice(step, None), slice(None, -step)
            grown[tuple(here)] |= mask[tuple(there)]
            grown[tuple(there)] |= mask[tuple(here)]
        mask = grown
    return mask
