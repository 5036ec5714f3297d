import numpy as np
import pytest
import tifffile
from PIL import Image

from cmad.datasets import Folder, Pairs

MARKED = np.eye(4, 6, dtype=np.uint8)


def test_pairs_are_found_at_any_depth_and_named_by_path(tmp_path, write_part):
    write_part(tmp_path / "test" / "good", "001", value=1)
    write_part(tmp_path / "test" / "bent", "000", value=2, gt=True, mask=MARKED)
    write_part(tmp_path / "a" / "b" / "c" / "good", "x", value=3)
    samples = Folder(tmp_path)
    assert len(samples) == 3
    assert [s.name for s in samples] == ["a/b/c/good/x", "test/bent/000", "test/good/001"]
    assert [s.defect for s in samples] == ["good", "bent", "good"]
    assert [s.label for s in samples] == [0, 1, 0]
    assert [int(s.mask.sum()) for s in samples] == [0, 4, 0]
    assert [int(s.rgb[0, 0, 0]) for s in samples] == [3, 2, 1]
    assert [s.name for s in samples[1:]] == ["test/bent/000", "test/good/001"]


def test_without_masks_nothing_is_known_of_pairs_in_the_folder_itself(tmp_path, write_part):
    write_part(tmp_path / "lot", "a")
    sample = Folder(tmp_path / "lot")[0]
    assert (sample.name, sample.defect, sample.label, sample.mask) == ("a", None, None, None)


def test_masks_tell_which_pairs_in_the_folder_itself_are_good(tmp_path, write_part):
    write_part(tmp_path, "a", gt=True)
    write_part(tmp_path, "b", gt=True, mask=MARKED)
    samples = Folder(tmp_path)
    assert [s.defect for s in samples] == ["good", "defect"]
    assert [int(s.mask.sum()) for s in samples] == [0, 4]


def test_a_defect_below_the_folder_needs_no_masks(tmp_path, write_part):
    write_part(tmp_path / "bent")
    sample = Folder(tmp_path)[0]
    assert (sample.defect, sample.label, sample.mask) == ("bent", 1, None)


def test_one_mask_missing_among_others_is_named(tmp_path, write_part):
    write_part(tmp_path / "bent", "000", gt=True, mask=MARKED)
    write_part(tmp_path / "bent", "001")
    with pytest.raises(ValueError, match=r"rgb.001\.png: has no mask, .*gt.001\.png is missing"):
        Folder(tmp_path)
    (tmp_path / "bent").rename(tmp_path / "good")
    (tmp_path / "good" / "gt" / "000.png").unlink()
    assert not Folder(tmp_path)[1].mask.any()


def test_linked_folders_are_searched_and_hidden_ones_are_not(tmp_path, write_part):
    write_part(tmp_path / "elsewhere" / "good")
    write_part(tmp_path / "data" / ".cache" / "good")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert [s.name for s in Folder(tmp_path / "data")] == ["link/good/000"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such file or folder$"):
        Folder(tmp_path / "nowhere")


def test_a_folder_without_pairs_is_named(tmp_path):
    (tmp_path / "empty" / "rgb").mkdir(parents=True)
    (tmp_path / "empty" / "xyz").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no pairs"):
        Folder(tmp_path / "empty")


@pytest.mark.parametrize(("there", "missing"), [("rgb", "xyz"), ("xyz", "rgb")])
def test_a_folder_without_its_partner_is_named(tmp_path, there, missing):
    (tmp_path / "bent" / there).mkdir(parents=True)
    with pytest.raises(ValueError, match=rf"bent has {there}/ but no {missing}/ beside it"):
        Folder(tmp_path)


@pytest.fixture
def pair(tmp_path):
    """Write NAME.png and NAME.tiff and return their paths."""

    def write(name, image_suffix=".png"):
        rgb, xyz = tmp_path / f"{name}{image_suffix}", tmp_path / f"{name}.tiff"
        rgb.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 6, 3), len(name), np.uint8)).save(rgb)
        tifffile.imwrite(xyz, np.full((4, 6, 3), len(name), np.float32), photometric="rgb")
        return [rgb, xyz]

    return write


def test_files_of_a_pair_may_come_in_either_order(pair):
    samples = Pairs([*pair("a"), *reversed(pair("bb"))])
    assert [s.name for s in samples] == ["a", "bb"]
    assert [s.rgb[0, 0, 0] for s in samples] == [1, 2]
    assert [s.xyz[0, 0, 0] for s in samples] == [1, 2]
    assert [(s.defect, s.mask) for s in samples] == [(None, None)] * 2


def test_pairs_in_several_folders_are_named_below_the_shared_one(pair, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    pair("x/000")
    pair("y/000")
    paths = ["x/000.png", "x/000.tiff", str(tmp_path / "y" / "000.png"), "y/000.tiff"]
    assert [s.name for s in Pairs(paths)] == ["x/000", "y/000"]
    assert Pairs(paths[:2])[0].name == "000"


def test_of_two_tiff_files_the_one_with_floats_is_the_points(pair):
    rgb, xyz = pair("colours", ".tif")
    for paths in ([rgb, xyz], [xyz, rgb]):
        sample = Pairs(paths)[0]
        assert (sample.rgb.dtype, sample.xyz.dtype) == (np.uint8, np.float32)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_files_that_make_no_pairs_are_counted(pair, count):
    paths = [*pair("a"), *pair("b")][:count]
    with pytest.raises(ValueError, match=rf"paths must be pairs .* got {count} files?"):
        Pairs(paths)


def test_two_files_of_one_kind_are_named(pair):
    (a, points_a), (b, points_b) = pair("a"), pair("b")
    with pytest.raises(ValueError, match=r"got an image .*a\.png.* and an image .*b\.png"):
        Pairs([a, b, points_a, points_b])
    with pytest.raises(ValueError, match=r"got points .*a\.tiff.* and points .*b\.tiff"):
        Pairs([points_a, points_b, a, b])


def test_a_missing_or_unknown_or_broken_file_is_named(pair, tmp_path):
    rgb, xyz = pair("a")
    with pytest.raises(FileNotFoundError, match=r"none\.png: no such file or folder"):
        Pairs([tmp_path / "none.png", xyz])
    (tmp_path / "a.obj").touch()
    with pytest.raises(ValueError, match=r"a\.obj must be one of \.png, .*\.tiff, \.ply"):
        Pairs([rgb, tmp_path / "a.obj"])
    xyz.write_bytes(b"II*\0")
    with pytest.raises(ValueError, match=r"a\.tiff: cannot be read"):
        Pairs([rgb, xyz])


def test_two_images_of_the_same_name_are_refused(pair):
    png, points = pair("a")
    bmp, _ = pair("a", ".bmp")
    with pytest.raises(ValueError, match=r"names of their own, got .*a\.png and .*a\.bmp"):
        Pairs([png, points, bmp, points])
