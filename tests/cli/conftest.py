from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import cmad
from cmad.cli import app
from cmad.datasets import MVTec3D, Synthetic
from cmad.datasets.writing import write_part


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


@pytest.fixture(scope="session")
def bagels(tmp_path_factory):
    """One category of MVTec 3D-AD, of synthetic covers."""
    root = tmp_path_factory.mktemp("mvtec")
    counts = (("train", 3, 0), ("validation", 1, 0), ("test", 2, 4))
    for split, good, defective in counts:
        for s in Synthetic(split, good=good, defective=defective, size=(160, 160)):
            write_part(s, root / "bagel" / s.name.rsplit("/", 1)[0], s.name.rsplit("/", 1)[1])
    return root
