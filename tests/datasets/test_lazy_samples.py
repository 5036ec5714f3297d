from pathlib import Path

import pytest

from cmad.datasets import Folder, MVTec3D, Pairs, Synthetic
from cmad.datasets.files import LazySamples, drawn
from cmad.types import Sample

NAMES = [f"good/{i:03d}" for i in range(60)]


def unread():
    raise AssertionError("a sample was read")


@pytest.fixture
def samples():
    return LazySamples([unread] * 60, NAMES)


def test_names_are_known_without_reading_and_a_slice_keeps_its_own(samples):
    assert samples.names == tuple(NAMES)
    assert samples[10:20:3].names == ("good/010", "good/013", "good/016", "good/019")
    assert samples[::-1].names == tuple(NAMES[::-1])
    assert LazySamples([unread] * 2).names == ("part-1", "part-2")


def test_names_must_be_as_many_as_samples():
    with pytest.raises(ValueError, match="names must be as many as samples, got 1 and 2"):
        LazySamples([unread] * 2, ["a"])


def test_every_data_set_names_its_samples_as_the_samples_are_named(tmp_path, write_part):
    write_part(tmp_path / "bagel" / "train" / "good", "001")
    write_part(tmp_path / "bagel" / "train" / "good", "000")
    part = tmp_path / "bagel" / "train" / "good"
    pair = [part / "rgb" / "000.png", part / "xyz" / "000.tiff"]
    for samples in (
        MVTec3D(tmp_path, "bagel", "train"),
        Folder(tmp_path),
        Pairs(pair),
        Synthetic("test", good=1, defective=2, size=(64, 64)),
    ):
        assert samples.names == tuple(sample.name for sample in samples)


def test_few_shots_are_drawn_once_each_and_keep_their_order(samples):
    shots = samples.few_shot(10, seed=3)
    assert len(set(shots.names)) == 10
    assert list(shots.names) == sorted(shots.names)
    assert samples.few_shot(60).names == samples.names


def test_few_shots_of_one_seed_are_nested_and_other_seeds_differ(samples):
    for seed in range(3):
        five, ten, fifty = (set(samples.few_shot(n, seed).names) for n in (5, 10, 50))
        assert five < ten < fifty
    assert len({samples.few_shot(5, seed).names for seed in range(20)}) == 20


def test_the_draw_is_the_documented_one_on_every_machine():
    # The hashes of "0/a", "0/b" and "0/c" begin with d321, 7d9a and 2881.
    assert drawn(["a", "b", "c"], 0) == [2, 1, 0]
    assert drawn(["a", "c", "b", "c"], 0) == [1, 3, 2, 0]
    assert drawn(["a", "b"], 0) == [1, 0]


def test_each_sample_is_drawn_about_as_often(samples):
    counts = dict.fromkeys(NAMES, 0)
    for seed in range(600):
        for name in samples.few_shot(10, seed).names:
            counts[name] += 1
    # Binomial with mean 100 and deviation 9.1.
    assert max(abs(count - 100) for count in counts.values()) < 40


@pytest.mark.parametrize("count", [0, 61])
def test_more_shots_than_samples_or_none_are_refused(samples, count):
    with pytest.raises(ValueError, match=rf"few_shot: count must be in \[1, 60\], got {count}"):
        samples.few_shot(count)


def test_what_is_drawn_can_be_read():
    made = [lambda i=i: Sample(None, None, name=str(i)) for i in range(9)]
    shots = LazySamples(made, [str(i) for i in range(9)]).few_shot(4, seed=1)
    assert tuple(sample.name for sample in shots) == shots.names


def test_files_go_with_their_samples():
    files = [(Path(f"{i}.png"), Path(f"{i}.tiff")) for i in range(60)]
    samples = LazySamples([unread] * 60, NAMES, files)
    assert samples.files == tuple(files)
    assert samples[50:].files == tuple(files[50:])
    assert samples.take([7, 3]).files == (files[7], files[3])
    shots = samples.few_shot(5)
    assert shots.files == tuple(files[NAMES.index(name)] for name in shots.names)
    assert LazySamples([unread] * 2).files == (None, None)
    with pytest.raises(ValueError, match="files must be as many as samples, got 1 and 2"):
        LazySamples([unread] * 2, files=files[:1])


def test_folders_and_pairs_know_their_files(data):
    folder = data / "cover" / "test"
    files = folder / "good" / "rgb" / "001.png", folder / "good" / "xyz" / "001.tiff"
    parts = Folder(folder)
    assert parts.files[parts.names.index("good/001")] == files
    assert Pairs(files[::-1]).files == (files,)
