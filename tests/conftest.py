# ruff: noqa: E402
import os

# One thread, also in the processes that tests start: the products are so small here that threads
# wait for each other, which on a busy machine makes the tests several times slower. Read when the
# libraries load, so before they are imported.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import importlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from cmad.datasets import Synthetic

torch.set_num_threads(1)  # where something had imported it before


@pytest.fixture(autouse=True)
def one_thread():
    """A test that needs more threads sets them itself, and back."""
    yield
    assert torch.get_num_threads() == 1, "this test leaves torch with another number of threads"


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
