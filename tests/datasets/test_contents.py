"""What files hold is told by their headers; images and points in each other's folder are named."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from cmad import datasets
from cmad.datasets.contents import DEPTH, IMAGE, POINTS, content_of, holding
from cmad.datasets.files import read_rgb, read_xyz

COLOURS = np.full((6, 8, 3), 90, np.uint8)
CLOUD = np.full((6, 8, 3), 0.5, np.float32)


@pytest.fixture
def make(tmp_path):
    """Writes a file that holds an image, points or depths, of the type that its name says."""

    def write(name, held):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        array = {IMAGE: COLOURS, POINTS: CLOUD, DEPTH: np.full((6, 8), 500, np.uint16)}[held]
        if path.suffix == ".npz":
            np.savez(path, xyz=array)
        elif path.suffix == ".tiff":
            kind = "minisblack" if held == DEPTH else "rgb"
            tifffile.imwrite(path, array, photometric=kind)
        else:
            Image.fromarray(array).save(path)
        return path

    return write


def test_contents_are_told_by_names_and_headers(make):
    for name, held in (
        ("a.png", IMAGE),
        ("d.png", DEPTH),
        ("a.tiff", IMAGE),
        ("p.tiff", POINTS),
        ("d.tiff", DEPTH),
        ("p.npz", POINTS),
    ):
        assert content_of(make(name, held)) == held, name
    assert holding([make("b.png", IMAGE), make("b.tiff", IMAGE)]) == "images only"
    assert holding([make("b.png", IMAGE), make("p.npz", POINTS)]) == ""


@pytest.mark.parametrize(
    ("rgb", "xyz", "intrinsics", "said"),
    [
        (("000.tiff", POINTS), ("000.png", IMAGE), None, "rgb/000.tiff holds points"),
        (("000.npz", POINTS), ("000.png", IMAGE), None, "rgb/000.npz holds points"),
        (("000.tiff", POINTS), ("000.tiff", IMAGE), None, "xyz/000.tiff an image"),
        (("000.png", DEPTH), ("000.png", IMAGE), (9, 9, 4, 3), "rgb/000.png holds a depth image"),
    ],
)
def test_swapped_folders_are_named(make, tmp_path, rgb, xyz, intrinsics, said):
    for split in ("train", "test"):
        make(f"part/{split}/good/rgb/{rgb[0]}", rgb[1])
        make(f"part/{split}/good/xyz/{xyz[0]}", xyz[1])
    match = rf"good: rgb/ and xyz/ are swapped: .*{said}.*exchange the names of the two folders"
    with pytest.raises(ValueError, match=match):
        datasets.Folder(tmp_path, intrinsics=intrinsics)
    with pytest.raises(ValueError, match=match):
        datasets.MVTec3D(tmp_path, "part", "train", intrinsics=intrinsics)


def test_swapped_folders_paired_by_order_are_named(make, tmp_path):
    make("part/train/good/rgb/000.tiff", POINTS)
    make("part/train/good/xyz/000.png", IMAGE)
    with pytest.raises(ValueError, match="rgb/ and xyz/ are swapped"):
        datasets.RealIADD3(tmp_path, "part", "train")


def test_folders_as_they_should_be_are_read(make, tmp_path):
    for name, held in (("000.png", IMAGE), ("001.tiff", IMAGE)):
        make(f"rgb/{name}", held)
    for name in ("000.tiff", "001.npz"):
        make(f"xyz/{name}", POINTS)
    assert len(datasets.Folder(tmp_path)) == 2


def test_an_image_read_as_points_and_points_read_as_an_image_are_told(make):
    with pytest.raises(ValueError, match=r"got .* float32; it holds points$"):
        read_rgb(make("p.tiff", POINTS))
    with pytest.raises(ValueError, match=r"got .* uint8; it is an image$"):
        read_xyz(make("a.tiff", IMAGE))


def test_a_folder_without_pairs_says_what_it_holds_instead(make, tmp_path):
    make("images/000.png", IMAGE)
    make("both/000.png", IMAGE)
    make("both/000.tiff", POINTS)
    make("part/rgb/000.png", IMAGE)
    make("part/xyz/000.tiff", POINTS)
    (tmp_path / "empty").mkdir()
    for name, said in (
        ("images", "it holds images only: images belong in rgb/"),
        ("both", "it holds images and points side by side"),
        ("part/rgb", "pass the folder that holds rgb/ and xyz/, .*part$"),
        ("empty", "it is empty$"),
    ):
        with pytest.raises(ValueError, match=f"holds no pairs .*; {said}"):
            datasets.Folder(tmp_path / name)


def test_names_that_do_not_fit_are_said_of_both_folders(make, tmp_path):
    make("rgb/000.png", IMAGE)
    for name in ("1.tiff", "2.tiff", "3.tiff"):
        make(f"xyz/{name}", POINTS)
    with pytest.raises(
        ValueError,
        match=r"000\.png: has no points, .*; in xyz/ 1\.tiff, 2\.tiff and 1 more have no image",
    ):
        datasets.Folder(tmp_path)
