import importlib
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from cmad.datasets import Synthetic


@pytest.fixture(scope="session")
def fixtures_dir():
    """Arrays that the published implementations produced."""
    if not os.environ.get("CMAD_FIXTURES"):
        pytest.skip("CMAD_FIXTURES names no directory of published arrays")
    return Path(os.environ["CMAD_FIXTURES"])


@pytest.fixture(scope="session")
def open3d():
    """The module, an extra that also needs system libraries."""
    try:
        return importlib.import_module("open3d")
    except (ImportError, OSError) as error:
        pytest.skip(f"open3d, an extra, cannot be imported: {error}")


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A data set of small parts in the layout of MVTec 3D-AD; its one category is ``cover``."""
    root = tmp_path_factory.mktemp("data")
    for split, good, defective in (("train", 1, 0), ("validation", 2, 0), ("test", 2, 2)):
        parts = Synthetic(split, good=good, defective=defective, size=(72, 96), seed=1)
        for sample in parts:
            _, kind, number = sample.name.split("/")
            write(root / "cover" / split, sample, kind, number)
    return root


def write(folder, sample, kind, number):
    for name in ("rgb", "xyz", "gt"):
        (folder / kind / name).mkdir(parents=True, exist_ok=True)
    Image.fromarray(sample.rgb).save(folder / kind / "rgb" / f"{number}.png")
    tifffile.imwrite(folder / kind / "xyz" / f"{number}.tiff", sample.xyz, photometric="rgb")
    mask = Image.fromarray(sample.mask.astype(np.uint8) * 255)
    mask.save(folder / kind / "gt" / f"{number}.png")
