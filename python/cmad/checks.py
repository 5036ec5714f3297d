"""What comes in, checked once: shapes, dtypes, ranges, and which pixels have a 3D point.

A pixel has no point where the sensor says so, and sensors say it in many ways: with NaN, zeros,
their largest number, or a spot behind the camera. `no_point` knows them by what no surface does.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmad import notices
from cmad.marks import marks
from cmad.types import Sample

REACH = 10.0
"""Metres; a point with a coordinate beyond it, either way, is missing."""
ENDLESS = 1e6
"""Likewise, in any unit that points may have been passed in by mistake."""
WIDE, WIDEST = 2.0, REACH
"""Metres that a cloud may reach across before its unit is doubted, and before it is refused."""
SMALL, SMALLEST = 5e-3, 1e-3
"""Metres below which likewise."""
JUDGED = 1 << 14
"""Points, at most, that the unit is judged by."""
FEW = 100
"""Points of which nothing can be said."""
LIGHT = 255
"""The largest number of an image."""
ROUNDING = 1e-3
"""By which an image of floats may leave [0, 1]."""


def checked(sample: Sample) -> tuple[Tensor | None, Tensor | None]:
    """Check a sample's arrays and return them as tensors on the CPU.

    Args:
        sample: rgb (H, W, 3) uint8 or float in [0, 1]; xyz (H, W, 3) float in metres; one of them
            may be None.

    Returns:
        rgb (H, W, 3) uint8, and xyz (H, W, 3) float32 with zeros where there is no point, see
        `no_point`; None for what the sample lacks.

    Raises:
        TypeError: not an array, or a dtype that is neither of these.
        ValueError: another shape, rgb and xyz of different size, rgb out of range or masked,
            the two swapped, or coordinates that look like those of another unit, see
            `expect_metres`.

    """
    rgb, xyz = _tensor(sample, "rgb"), _tensor(sample, "xyz")
    if rgb is None and xyz is None:
        raise ValueError(at(sample, "needs rgb, xyz or both, got neither"))
    if rgb is not None and xyz is not None:
        _expect_unswapped(sample, rgb, xyz)
    if rgb is not None and xyz is not None and rgb.shape != xyz.shape:
        raise ValueError(
            at(
                sample,
                "rgb and xyz must have the same height and width, got "
                f"{rgb.shape[0]}x{rgb.shape[1]} and {xyz.shape[0]}x{xyz.shape[1]}",
            )
        )
    return _checked_rgb(sample, rgb), _checked_xyz(sample, xyz)


def no_point(xyz: Tensor) -> Tensor:
    """Tell which pixels have no 3D point.

    Those where a coordinate is not finite or beyond `REACH`, or all three are 0; those that share
    one and the same point with many others; and those of a z that no surface has: exactly the
    same for many pixels and at the camera, behind it, or metres behind everything else. The steps
    of a coarse camera are none of these: surfaces lie next to them.

    Args:
        xyz: (H, W, 3) float32, metres; of any values.

    Returns:
        (H, W) bool.

    """
    points = xyz.numpy()
    x, y, z = (points[..., axis] for axis in range(3))
    # One number says it all: NaN where a coordinate is, 0 where all three are.
    largest = np.maximum(np.maximum(np.abs(x), np.abs(y)), np.abs(z))
    present = (largest > 0) & (largest <= ENDLESS)
    marked = marks(points, present)
    if marked is not None:
        present[present] = ~marked
    near = present & (largest <= REACH)
    # Where most points are far, it is the unit that is wrong, which is for others to say.
    if 2 * np.count_nonzero(near) > np.count_nonzero(present):
        present = near
    return torch.from_numpy(~present)


def with_zeros(xyz: Tensor) -> Tensor:
    """Return points (H, W, 3) as float32, with zeros for those that `no_point` tells of."""
    xyz = xyz.to(torch.float32)
    missing = no_point(xyz)
    clean = xyz.clone()
    clean.numpy()[missing.numpy()] = 0  # several times as fast as torch's
    return clean


def tensor_of(array: object, name: str) -> Tensor:
    """Return an array as a tensor on the CPU; masked entries are NaN.

    Raises:
        TypeError: not an array of numbers.
        ValueError: masked entries in an array that has no NaN.

    """
    if isinstance(array, Tensor):
        return array.detach().cpu()
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array or torch tensor, got {type(array).__name__}")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers, got {array.dtype}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # of which torch has none
        array = array.astype(np.float64)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:  # torch has few of these
        array = array.astype(np.int64)
    if isinstance(array, np.ma.MaskedArray):
        if np.ma.is_masked(array) and array.dtype.kind != "f":
            raise ValueError(f"{name} must have no masked entries where it is {array.dtype}")
        array = array.filled(np.nan) if array.dtype.kind == "f" else array.data
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return torch.from_numpy(native if native.flags.writeable else native.copy())


def at(sample: Sample, message: str) -> str:
    """Put a sample's name in front of a message."""
    return f"{sample.name}: {message}" if sample.name else message


def _expect_unswapped(sample: Sample, rgb: Tensor, xyz: Tensor) -> None:
    """Raise where an image was passed for the points, and points for the image."""
    if not rgb.is_floating_point() or _within(rgb, LIGHT):  # also one of 0 to 255
        return
    if xyz.dtype == torch.uint8 or _within(xyz, 1):
        raise ValueError(
            at(
                sample,
                f"rgb and xyz are swapped: rgb ({_dtype(sample.rgb)}) holds numbers that no image "
                f"has, and xyz ({_dtype(sample.xyz)}) those of one; rgb comes first",
            )
        )


def _within(array: Tensor, most: float) -> bool:
    """Tell whether all are finite, from 0 to a largest number, and not all 0."""
    if not array.isfinite().all():
        return False
    return float(array.min()) >= -ROUNDING and 0 < float(array.max()) <= most + ROUNDING


def _checked_rgb(sample: Sample, rgb: Tensor | None) -> Tensor | None:
    if rgb is None or rgb.dtype == torch.uint8:
        return rgb
    if not rgb.is_floating_point():
        kind = _dtype(sample.rgb)
        raise TypeError(at(sample, f"rgb must be uint8, or float in [0, 1], got {kind}"))
    rgb = rgb.float()
    if not rgb.isfinite().all():
        raise ValueError(at(sample, "float rgb must be in [0, 1], got NaN or infinity"))
    low, high = float(rgb.min()), float(rgb.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(at(sample, f"float rgb must be in [0, 1], got {low:.7g} to {high:.7g}"))
    return (rgb.clamp(0, 1) * 255).round().to(torch.uint8)


def _checked_xyz(sample: Sample, xyz: Tensor | None) -> Tensor | None:
    if xyz is None:
        return None
    if not xyz.is_floating_point():
        kind = _dtype(sample.xyz)
        hint = "; images are uint8, and rgb comes first" * (kind == "uint8")
        raise TypeError(at(sample, f"xyz must be float, in metres, got {kind}{hint}"))
    xyz = with_zeros(xyz)
    expect_metres(sample, xyz)
    return xyz


def expect_metres(sample: Sample, xyz: Tensor) -> None:
    """Judge the unit of a sample's points by where they are and how far they reach.

    The reach is the diagonal of the box from the 1st to the 99th percentile along each axis, so
    that a few stray points do not count. Between `SMALL` and `SMALLEST`, and between `WIDE` and
    `WIDEST`, it warns.

    Args:
        sample: for messages, its name.
        xyz: (H, W, 3) float32, zeros where there is no point.

    Raises:
        ValueError: farther than `REACH` from the camera, half of them, or reaching farther than
            `WIDEST` or less than `SMALLEST`.

    """
    points = _some_of(xyz.reshape(-1, 3))
    if len(points) == 0:
        return
    away = float(np.median(np.linalg.norm(points, axis=-1)))
    if away > REACH:
        where = f"its points are {away:.4g} from the camera (median)"
        raise ValueError(at(sample, f"xyz must be in metres, but {where}; {_MILLIMETRES}"))
    if len(points) < FEW:
        return
    low, high = np.percentile(points, (1, 99), axis=0)
    reach = float(np.linalg.norm(high - low))
    if reach > WIDEST:
        where = f"its points reach over {reach:.4g}"
        raise ValueError(at(sample, f"xyz must be in metres, but {where}; {_MILLIMETRES}"))
    if reach < SMALLEST:
        where = f"its points reach over {1000 * reach:.2g} mm, a thousand times too little"
        raise ValueError(at(sample, f"xyz must be in metres, but {where}; {_NO_MILLIMETRES}"))
    # Without numbers, so that Python shows it once where parts are judged one by one.
    if reach > WIDE:
        said = at(sample, f"xyz reaches over {WIDE:g} m, as no part does that is inspected")
        notices.warn("checks: wide", f"{said}; {_MILLIMETRES}")
    if reach < SMALL:
        said = at(sample, f"xyz reaches over less than {1000 * SMALL:g} mm, as few parts do")
        notices.warn("checks: small", f"{said}; {_NO_MILLIMETRES}")


_DEPTHS = "of depth images look at depth_unit and depth_scale too"
_MILLIMETRES = f'for millimetres pass unit="mm"; {_DEPTHS}'
_NO_MILLIMETRES = f'if they were in metres already, pass unit="m"; {_DEPTHS}'


def _some_of(points: Tensor) -> npt.NDArray[np.float32]:
    """Return points (N, 3) that are there, all or some from everywhere."""
    if len(points) > JUDGED:
        # Multiples of the golden ratio: even, and never in step with the rows of an image.
        even = (torch.arange(JUDGED, dtype=torch.float64) * 0.6180339887498949) % 1
        some = points[(even * len(points)).long()]
        some = some[(some != 0).any(-1)]
        if len(some) >= FEW:
            return some.numpy()
    return points[(points != 0).any(-1)].numpy()


def _tensor(sample: Sample, name: str) -> Tensor | None:
    array = getattr(sample, name)
    if array is None:
        return None
    try:
        tensor = tensor_of(array, name)
    except (TypeError, ValueError) as error:
        raise type(error)(at(sample, str(error))) from None
    if tensor.ndim != 3 or tensor.shape[2] != 3 or 0 in tensor.shape:
        raise ValueError(at(sample, f"{name} must be (H, W, 3), got {tuple(tensor.shape)}"))
    return tensor


def _dtype(array: object) -> str:
    return str(getattr(array, "dtype", "")).removeprefix("torch.")
