from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

import cmad
from cmad.cli import app
from cmad.datasets import MVTec3D, Synthetic


def write(folder, sample, kind, number):
    for name in ("rgb", "xyz", "gt"):
        (folder / kind / name).mkdir(parents=True, exist_ok=True)
    Image.fromarray(sample.rgb).save(folder / kind / "rgb" / f"{number}.png")
    tifffile.imwrite(folder / kind / "xyz" / f"{number}.tiff", sample.xyz, photometric="rgb")
    mask = Image.fromarray(sample.mask.astype(np.uint8) * 255)
    mask.save(folder / kind / "gt" / f"{number}.png")


@pytest.fixture(scope="session")
def run():
    """Runs a command line; returns its exit code, standard output and error output."""

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return SimpleNamespace(code=result.exit_code, out=result.stdout, err=result.stderr)

    return invoke


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


@pytest.fixture(scope="session")
def detector(data):
    """A calibrated detector that is quick and has random weights."""
    detector = cmad.CFM(
        rgb=cmad.extractors.ViT("test_vit", block=1, image_size=64, weights="random"),
        xyz=cmad.extractors.PointMAE(
            groups=32, group_size=8, dim=24, heads=2, depth=1, weights="random"
        ),
        image_size=64,
    )
    detector.fit(MVTec3D(data, "cover", "train"), epochs=2, pixels_per_image=50)
    detector.calibrate(MVTec3D(data, "cover", "validation"), false_reject_rate=0.4)
    return detector


@pytest.fixture(scope="session")
def model(detector, tmp_path_factory):
    """The detector as a file."""
    path = tmp_path_factory.mktemp("model") / "cover.cmad"
    detector.save(path)
    return path
