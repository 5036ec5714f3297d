"""Writes small data sets in the layout of 3D-ADAM; nothing of the data set is in them."""

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from cmad.testing.plates import KINDS, render


def write(
    root: Path,
    category: str = "1m1",
    *,
    train: int = 6,
    good: int = 2,
    kinds: tuple[str, ...] = KINDS,
    size: int = 64,
    depth_only: bool = False,
    seed: int = 0,
) -> Path:
    """Write one category: ``train/good`` and ``test/<kind>``, each of rgb, xyz and ground_truth.

    Args:
        root: folder that is to hold the category.
        category: name of its folder.
        train: how many good parts for training; with them masks of zeros.
        good: how many good parts in the test.
        kinds: of the defective parts in the test, one part each.
        size: of the images, pixels along each side.
        depth_only: to write what the authors' conversion makes of points, their depth in all three
            channels, from 0 to 1 for the nearest to the farthest, instead of millimetres.
        seed: of all that varies.

    Returns:
        The category's folder.

    """
    rng = np.random.default_rng(seed)
    plan = [("train/good", ["good"] * train), ("test/good", ["good"] * good)]
    plan += [(f"test/{kind}", [kind]) for kind in kinds]
    for below, parts in plan:
        folder = root / category / below
        for name in ("rgb", "xyz", "ground_truth"):
            (folder / name).mkdir(parents=True)
        for i, kind in enumerate(parts):
            part = render(rng, kind, size)
            Image.fromarray(part.rgb).save(folder / "rgb" / f"{i:03d}.png")
            mask = np.where(part.mask, 255, 0).astype(np.uint8)
            Image.fromarray(mask).save(folder / "ground_truth" / f"{i:03d}.png")
            xyz = np.nan_to_num(part.xyz, nan=0.0)
            if depth_only:
                z = part.xyz[..., 2]
                low, high = np.nanmin(z), np.nanmax(z)
                xyz = np.repeat(np.nan_to_num((z - low) / (high - low))[..., None], 3, axis=-1)
            tifffile.imwrite(folder / "xyz" / f"{i:03d}.tiff", xyz, photometric="rgb")
    return root / category
