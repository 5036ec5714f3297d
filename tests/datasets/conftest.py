"""Writes small data sets for the tests of the readers."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image


@pytest.fixture
def write_part():
    """Write one part to FOLDER/{rgb,xyz,gt}: the image holds ``value``, the points a thousandth."""

    def write(folder: Path, stem="000", *, value=7, size=(4, 6), mask=None, gt=False):
        for name in ("rgb", "xyz", *(["gt"] if gt else [])):
            (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*size, 3), value, np.uint8)).save(folder / "rgb" / f"{stem}.png")
        points = np.full((*size, 3), value / 1000, np.float32)
        tifffile.imwrite(folder / "xyz" / f"{stem}.tiff", points, photometric="rgb")
        if gt:
            marked = np.zeros(size, np.uint8) if mask is None else mask
            Image.fromarray(marked).save(folder / "gt" / f"{stem}.png")

    return write
