"""From samples to files, in the layout of MVTec 3D-AD."""

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from cmad.types import Sample


def write_part(sample: Sample, folder: Path, number: str) -> None:
    """Write a part as ``folder/{rgb,xyz,gt}/number.{png,tiff,png}``; without a mask no ``gt``.

    Args:
        sample: rgb (H, W, 3) uint8, and xyz (H, W, 3), which is written as float32.
        folder: of its split and kind; made where it is missing.
        number: the files' name without extension.

    Raises:
        OSError: they cannot be written.

    """
    for name in ("rgb", "xyz", *(["gt"] if sample.mask is not None else [])):
        (folder / name).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(sample.rgb)).save(folder / "rgb" / f"{number}.png")
    points = np.asarray(sample.xyz, np.float32)
    tifffile.imwrite(folder / "xyz" / f"{number}.tiff", points, photometric="rgb")
    if sample.mask is not None:
        mask = Image.fromarray(255 * sample.mask.astype(np.uint8))
        mask.save(folder / "gt" / f"{number}.png")
