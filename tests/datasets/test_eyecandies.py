"""Eyecandies, on candies that the tests render themselves."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from cmad.background import Background
from cmad.datasets import Eyecandies
from cmad.datasets.eyecandies import points_of
from cmad.foreground import Rule, find_part
from cmad.preprocess import Preprocessing, prepare
from cmad.testing import eyecandies


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("eyecandies")
    eyecandies.write(root, "Candy", train=11, validation=2, good=2, size=96)
    return root


@pytest.fixture
def own(root, tmp_path):
    """A copy to spoil: the category's ``test_public/data``."""
    shutil.copytree(root / "Candy", tmp_path / "Candy")
    return tmp_path / "Candy" / "test_public" / "data"


def test_splits_are_the_folders_train_val_and_test_public(root):
    train, validation, test = (
        Eyecandies(root, "Candy", split) for split in ("train", "validation", "test")
    )
    assert [len(s) for s in (train, validation, test)] == [11, 2, 5]
    assert train.names[:3] == ("train/00", "train/01", "train/02")
    assert train.names[10] == "train/10"
    assert validation.names == ("val/0", "val/1")
    assert [s.name for s in test] == list(test.names)
    assert [s.defect for s in test] == ["good", "good", "bump", "dent", "colour"]
    assert [s.label for s in test] == [0, 0, 1, 1, 1]
    assert [bool(s.mask.any()) for s in test] == [False, False, True, True, True]
    sample = train[0]
    assert (sample.rgb.shape, sample.rgb.dtype) == ((96, 96, 3), np.uint8)
    assert (sample.xyz.shape, sample.xyz.dtype) == ((96, 96, 3), np.float32)


def published(depth, low, high, pose):
    """The published conversion and background removal, point by point, in float64."""
    height, width = depth.shape
    focal = 711.11 / 512 * width
    camera = np.array(
        [[focal, 0, width / 2, 0], [0, focal, height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    back = np.linalg.inv(camera @ pose)
    points = []
    for row in range(height):
        for column in range(width):
            z = depth[row, column] / 65535 * (high - low) + low
            points.append(z * (back @ [column, row, 1, 1 / z])[:3])
    first, last = points[width // 2], points[-(width // 2)]
    rise, run = first[1] - last[1], first[2] - last[2]
    cos, sin = run / np.hypot(rise, run), rise / np.hypot(rise, run)
    result = []
    for point in points:
        x, y, z = point - [0, last[1], last[2]]
        level, ahead = cos * y - sin * z, sin * y + cos * z
        removed = level > -0.02 or ahead > 1.8 or abs(x) > 1
        result.append([0, 0, 0] if removed else 0.1 * point[[0, 2, 1]] * [1, -1, 1])
    return np.reshape(result, (height, width, 3))


def test_points_and_background_are_those_of_the_published_conversion():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    other = np.eye(4)
    other[:3, :3], other[:3, 3] = turn * np.linalg.det(turn), rng.normal(size=3)
    depth, _, _ = eyecandies.render(rng, "bump", 64)
    low, high = depth.min(), depth.max()
    scene = np.round((depth - low) / (high - low) * 65535).astype(np.uint16)
    clutter = scene.copy()  # points above the belt all over, beside it and beyond its end too
    clutter[1:-1] -= rng.integers(0, 1 + scene[1:-1] // 4, dtype=np.uint16)
    for steps in (scene, clutter):
        for pose in (eyecandies.pose(), np.eye(4), other):
            want = published(steps, low, high, pose)
            points, candy = points_of(steps, low, high, pose)
            got = np.where(candy[..., None], points, 0)
            near = (got == 0).all(-1) != (want == 0).all(-1)  # float32 at a threshold
            assert near.sum() <= 2
            # Metres, in float32 where the reference has doubles.
            np.testing.assert_allclose(got[~near], want[~near], rtol=0, atol=3e-7)
            assert (points[..., 0] != 0).any()


def test_a_pixel_without_depth_is_no_point():
    depth, _, _ = eyecandies.render(np.random.default_rng(0), "good", 64)
    steps = np.round(depth / 4 * 65535).astype(np.uint16)
    steps[30, 30] = 0
    _, candy = points_of(steps, 0.0, 4.0, eyecandies.pose())
    assert not candy[30, 30]
    assert candy[30, 32]


def test_written_depths_come_back_within_their_quantisation():
    depth, _, _ = eyecandies.render(np.random.default_rng(1), "good", 64)
    low, high = depth.min(), depth.max()
    steps = np.round((depth - low) / (high - low) * 65535).astype(np.uint16)
    pose = eyecandies.pose()
    points, _ = points_of(steps, low, high, pose)
    # Back into the camera: undo (x, -z, y), the tenth and the inverse pose.
    world = points.astype(float)[..., [0, 2, 1]] * [10, 10, -10]
    camera = world @ pose[:3, :3].T + pose[:3, 3]
    assert np.abs(camera[..., 2] - depth).max() <= 0.5 * (high - low) / 65535 + 2e-6
    focal = 711.11 / 512 * 64
    column, row = np.arange(64), np.arange(64)[:, None]
    # Pixels; the depth of the file is rounded to its 65536 steps.
    np.testing.assert_allclose(focal * camera[..., 0] / depth + 32, column + 0 * row, atol=1e-2)
    np.testing.assert_allclose(focal * camera[..., 1] / depth + 32, row + 0 * column, atol=1e-2)


def test_background_is_removed_and_the_candy_is_kept(root):
    for sample in Eyecandies(root, "Candy", "test"):
        valid = (sample.xyz != 0).any(-1)
        rows, columns = np.nonzero(valid)
        assert 0.05 < valid.mean() < 0.2
        assert (rows.min(), columns.min()) > (10, 10)
        assert (rows.max(), columns.max()) < (80, 80)
        extent = np.ptp(sample.xyz[valid], axis=0)
        assert 0.07 < extent[0] < 0.1  # metres: a candy about 9 cm wide
        if sample.mask.any():
            assert (sample.mask & valid).sum() >= 0.9 * sample.mask.sum()


def test_the_preprocessing_keeps_the_candy_whole_only_without_the_belt():
    rng = np.random.default_rng(2)
    depth, _, _ = eyecandies.render(rng, "good", 256)
    low, high = depth.min(), depth.max()
    steps = np.round((depth - low) / (high - low) * 65535).astype(np.uint16)
    points, candy = points_of(steps, low, high, eyecandies.pose())
    everywhere = torch.ones(candy.shape, dtype=bool)
    with_belt = find_part(torch.from_numpy(points), everywhere, Background(), Rule()).keep
    lost = (candy & ~with_belt.numpy()).sum() / candy.sum()
    assert 0.05 < lost < 0.2
    points[~candy] = 0
    part = find_part(torch.from_numpy(points), torch.from_numpy(candy), Background(), Rule())
    kept = part.keep
    # A few points on the far rim, seen at a grazing angle, lie too far apart for a cluster.
    assert (candy & ~kept.numpy()).sum() < 0.005 * candy.sum()


def test_a_sample_can_be_prepared(root):
    frame = prepare(Eyecandies(root, "Candy", "train")[0], Preprocessing(image_size=48))
    assert frame.valid.any()


def test_parts_are_in_the_order_of_their_numbers(own):
    for file in own.glob("1_*"):
        file.rename(own / file.name.replace("1_", "10_", 1))
    names = Eyecandies(own.parents[2], "Candy", "test").names
    assert names == tuple(f"test_public/{n}" for n in (0, 2, 3, 4, 10))


def test_parts_of_unequal_size_keep_their_own(own):
    shutil.rmtree(own)
    eyecandies.write(own.parents[2], "Other", train=1, validation=1, good=1, kinds=(), size=64)
    data = own.parents[2] / "Other" / "test_public" / "data"
    shutil.copytree(own.parents[1] / "train" / "data", own)
    for file in data.iterdir():
        shutil.copy(file, own / file.name.replace("0_", "99_", 1))
    test = Eyecandies(own.parents[2], "Candy", "test")
    assert [test[0].xyz.shape, test[-1].xyz.shape] == [(96, 96, 3), (64, 64, 3)]


@pytest.mark.parametrize(
    "kind", ["image_4.png", "depth.png", "info_depth.yaml", "pose.txt", "mask.png"]
)
def test_a_missing_file_is_named(own, kind):
    (own / f"1_{kind}").unlink()
    with pytest.raises(ValueError, match=rf"part 1 of .*data has no file 1_{kind}"):
        Eyecandies(own.parents[2], "Candy", "test")


def test_training_parts_need_neither_mask_nor_metadata(own):
    train = own.parents[1] / "train" / "data"
    for file in [*train.glob("*mask.png"), *train.glob("*metadata.yaml")]:
        file.unlink()
    sample = Eyecandies(own.parents[2], "Candy", "train")[0]
    assert (sample.defect, sample.mask.any()) == ("good", False)


def test_kinds_of_defect_follow_the_label_and_the_masks(own):
    test = Eyecandies(own.parents[2], "Candy", "test")
    shutil.copy(own / "2_bumps_mask.png", own / "2_normals_mask.png")
    assert test[2].defect == "combined"
    (own / "3_dents_mask.png").unlink()
    assert test[3].defect == "anomalous"
    (own / "4_metadata.yaml").unlink()
    assert test[4].defect == "colour"
    (own / "0_metadata.yaml").unlink()
    assert test[0].defect == "good"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (
            "info_depth.yaml",
            "min: 1",
            r"info_depth\.yaml: must hold the numbers normalization: min",
        ),
        ("info_depth.yaml", "normalization: {min: 1}", "must hold the numbers normalization"),
        ("info_depth.yaml", "normalization: {min: a, max: b}", "must hold the numbers"),
        ("info_depth.yaml", "normalization: {min: 2, max: 1}", "min must be less .* 2.0 and 1.0"),
        ("info_depth.yaml", "normalization: {min: 1, max: .inf}", "min must be less than max"),
        ("info_depth.yaml", "a: [", r"info_depth\.yaml: is not YAML: .*"),
        ("info_depth.yaml", "", "must hold keys and values, got NoneType"),
        ("metadata.yaml", "anomalous: 2", r"metadata\.yaml: anomalous must be 0 or 1, got 2"),
        ("metadata.yaml", "anomalous: [0]", r"anomalous must be 0 or 1, got \[0\]"),
        ("metadata.yaml", "anomalous: 0", r"2_mask\.png: the mask of a good part must be zero"),
        ("pose.txt", "1 0 0\n0 1 0\n0 0 1\n", r"pose\.txt: the pose must be 4x4 .*got \(3, 3\)"),
        ("pose.txt", "one", r"pose\.txt: must hold a matrix of numbers"),
        ("pose.txt", "0 0 0 0\n" * 4, "data/2: the pose has no inverse"),
    ],
)
def test_a_text_file_that_cannot_be_used_is_named(own, kind, text, message):
    (own / f"2_{kind}").write_text(text)
    test = Eyecandies(own.parents[2], "Candy", "test")
    assert test[1].label == 0
    with pytest.raises(ValueError, match=message):
        test[2]


@pytest.mark.parametrize(
    ("kind", "image", "message"),
    [
        ("depth", np.zeros((96, 96), np.uint8), r"1_depth\.png: depth must be .*16 bits.* uint8"),
        (
            "depth",
            np.zeros((90, 96), np.uint16),
            r"depth .*1_depth\.png must be as .* 90x96 and 96",
        ),
        ("depth", np.zeros((1, 96), np.uint16), r"must be as high"),
        ("mask", np.zeros((90, 96), np.uint8), r"mask .*1_mask\.png must be as .* 90x96 and 96x96"),
        ("image_4", np.zeros((96, 96), np.uint8), r"1_image_4\.png: rgb must be an 8-bit RGB"),
        ("image_4", np.zeros((96, 96, 4), np.uint8), r"1_image_4\.png: rgb must be an 8-bit RGB"),
    ],
)
def test_an_image_that_does_not_fit_is_named(own, kind, image, message):
    Image.fromarray(image).save(own / f"1_{kind}.png")
    with pytest.raises(ValueError, match=message):
        Eyecandies(own.parents[2], "Candy", "test")[1]


def test_a_folder_or_split_that_is_not_there_is_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Toffee.*: no such file or folder$"):
        Eyecandies(root, "Toffee", "train")
    with pytest.raises(ValueError, match="split must be one of train, validation, test, got 'val'"):
        Eyecandies(root, "Candy", "val")
    (tmp_path / "Candy" / "train" / "data").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"data holds no parts \(NN_image_4\.png"):
        Eyecandies(tmp_path, "Candy", "train")


def test_a_scene_without_belt_is_named():
    with pytest.raises(ValueError, match="the depth shows no belt"):
        points_of(np.zeros((1, 8), np.uint16), 1.0, 2.0, np.eye(4))


def test_a_defect_that_the_camera_does_not_see_brings_a_warning(own):
    Image.fromarray(np.zeros((96, 96), np.uint8)).save(own / "2_mask.png")
    sample_of = Eyecandies(own.parents[2], own.parents[1].name, "test")
    with pytest.warns(RuntimeWarning, match=r"2_mask\.png: marks no pixel of a part .* defective"):
        sample = sample_of[2]
    assert (sample.label, sample.mask.any()) == (1, False)
