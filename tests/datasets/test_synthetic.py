import hashlib
import pickle

import numpy as np
import pytest

from cmad.datasets import Synthetic
from cmad.datasets.synthetic import make

KINDS = ["hole", "bump", "stain", "scratch"]
SIZE = (100, 120)


def digest(sample):
    arrays = (sample.rgb, sample.xyz, sample.mask)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def valid(sample):
    return (sample.xyz != 0).any(axis=-1)


@pytest.fixture(scope="module")
def parts():
    """One part of each kind at full size, and the same part without its defect."""
    return {
        kind: (make((5, 7), kind, (400, 400)), make((5, 7), "good", (400, 400))) for kind in KINDS
    }


def test_parts_are_good_first_and_then_each_kind_in_turn():
    samples = Synthetic("test", good=2, defective=5, size=SIZE)
    assert len(samples) == 7
    assert [s.defect for s in samples] == ["good"] * 2 + [*KINDS, "hole"]
    assert [s.label for s in samples] == [0, 0, 1, 1, 1, 1, 1]
    assert [s.name for s in samples] == [
        "test/good/000",
        "test/good/001",
        "test/hole/000",
        "test/bump/000",
        "test/stain/000",
        "test/scratch/000",
        "test/hole/001",
    ]
    assert [s.mask.any() for s in samples] == [s.label == 1 for s in samples]
    assert len(Synthetic()) == 24


@pytest.mark.parametrize("size", [(64, 64), (100, 120), (150, 80), (64, 200)])
def test_arrays_have_the_size_asked_for_and_defects_are_marked(size):
    for sample in Synthetic("test", good=1, defective=4, size=size):
        assert (sample.rgb.shape, sample.rgb.dtype) == ((*size, 3), np.uint8)
        assert (sample.xyz.shape, sample.xyz.dtype) == ((*size, 3), np.float32)
        assert (sample.mask.shape, sample.mask.dtype) == (size, np.bool_)
        assert sample.mask.any() == (sample.defect != "good")


def test_a_part_is_the_same_each_time_and_does_not_depend_on_the_others():
    few = Synthetic("test", good=2, defective=2, size=SIZE, seed=3)
    many = Synthetic("test", good=5, defective=4, size=SIZE, seed=3)
    assert [digest(s) for s in few] == [digest(few[i]) for i in range(4)]
    assert [digest(s) for s in few] == [digest(many[i]) for i in (0, 1, 5, 6)]
    assert digest(pickle.loads(pickle.dumps(few))[3]) == digest(few[3])
    assert digest(few[1:3][1]) == digest(few[2])


def test_no_two_parts_are_the_same():
    parts = [
        digest(s)
        for seed in (0, 1)
        for split in ("train", "validation", "test")
        for s in Synthetic(split, good=2, defective=2, size=SIZE, seed=seed)
    ]
    assert len(set(parts)) == len(parts) == 24
    good, hole = Synthetic("test", good=1, defective=1, size=SIZE)
    assert (good.rgb[:8] != hole.rgb[:8]).mean() > 0.5  # not the same part with a hole


@pytest.mark.parametrize("size", [(100, 120), (151, 81)])
def test_points_lie_on_the_rays_of_their_pixels(size):
    samples = Synthetic("test", good=1, defective=1, size=size)
    (fx, skew, cx), (zero, fy, cy), last = samples.intrinsics
    assert (skew, zero, *last) == (0, 0, 0, 0, 1)
    row, column = np.mgrid[: size[0], : size[1]]
    for sample in samples:
        x, y, z = np.moveaxis(sample.xyz.astype(np.float64), -1, 0)
        seen = valid(sample)
        np.testing.assert_allclose((fx * x + cx * z)[seen], (column * z)[seen], atol=1e-5)
        np.testing.assert_allclose((fy * y + cy * z)[seen], (row * z)[seen], atol=1e-5)
        assert (sample.xyz[seen] != 0).all()  # some codes take one zero for a missing point


def test_most_points_are_there_and_the_others_are_exactly_zero():
    for sample in Synthetic("train", good=4, size=SIZE):
        missing = ~valid(sample)
        assert 0.005 < missing.mean() < 0.10
        assert (sample.xyz[missing] == 0).all()
        assert np.isfinite(sample.xyz).all()
        # More than single pixels: somewhere the four pixels of a square are missing.
        squares = missing[1:, 1:] & missing[:-1, 1:] & missing[1:, :-1] & missing[:-1, :-1]
        assert squares.any()


@pytest.mark.parametrize("size", [(400, 400), (300, 420)])
def test_the_part_lies_on_a_plane_half_a_metre_away_and_takes_a_fifth_of_the_frame(size):
    for sample in Synthetic("test", good=2, size=size):
        seen = valid(sample)
        frame = np.ones(size, bool)
        frame[8:-8, 8:-8] = False
        belt = sample.xyz[frame & seen].astype(np.float64)
        plane, *_ = np.linalg.lstsq(belt, np.ones(len(belt)), rcond=None)
        distance = 1 / np.linalg.norm(plane)
        height = (1 - sample.xyz @ plane) * distance
        assert 0.48 < distance < 0.52
        assert 0.5e-4 < height[frame & seen].std() < 2e-4
        part = (height > 0.003) & seen
        assert 0.15 < part.mean() < 0.25
        assert 0.014 < np.quantile(height[part], 0.999) < 0.022
        extent = np.ptp(sample.xyz[part], axis=0)
        assert 0.05 < extent[1] < extent[0] < 0.09
        assert not part[frame].any()


def test_a_stain_changes_the_colour_only_and_only_where_it_is(parts):
    stained, clean = parts["stain"]
    np.testing.assert_array_equal(stained.xyz, clean.xyz)
    changed = (stained.rgb != clean.rgb).any(axis=-1)
    assert not changed[~stained.mask].any()
    assert changed[stained.mask].mean() > 0.9
    step = abs(stained.rgb[stained.mask].astype(int) - clean.rgb[stained.mask])
    assert step.mean() > 20


@pytest.mark.parametrize(("kind", "sign"), [("hole", 1), ("bump", -1), ("scratch", 1)])
def test_other_defects_move_the_surface_where_they_are(parts, kind, sign):
    broken, clean = parts[kind]
    both = valid(broken) & valid(clean)
    change = sign * (broken.xyz[..., 2] - clean.xyz[..., 2])
    assert (change[both & ~broken.mask] == 0).all()
    deep = change[both & broken.mask]
    assert {"hole": 2e-3, "bump": 1.5e-3, "scratch": 0.6e-3}[kind] < deep.max() < 5e-3
    assert deep.min() >= 0
    assert (
        both & broken.mask
    ).sum() > 0.4 * broken.mask.sum()  # a defect is not all missing points
    step = abs(broken.rgb.astype(int) - clean.rgb).max(axis=-1)
    assert step[broken.mask].max() > 30
    near = np.zeros_like(broken.mask)
    row, column = np.nonzero(broken.mask)
    near[row.min() - 1 : row.max() + 2, column.min() - 1 : column.max() + 2] = True
    assert not step[~near].any()


def test_defects_are_six_to_fifteen_millimetres_long():
    samples = Synthetic("test", good=0, defective=16)
    millimetres = 1e3 * 0.5 / samples.intrinsics[0, 0]
    for sample in samples:
        row, column = np.nonzero(sample.mask)
        points = np.stack([row, column], -1)
        angle = np.linspace(0, np.pi, 36)
        width = np.ptp(points @ np.stack([np.sin(angle), np.cos(angle)]), axis=0)
        assert 6 < width.max() * millimetres < 15.5
        assert width.min() * millimetres > 1.5


def test_colour_follows_relief_the_same_way_on_every_part():
    """The lighter a pixel of the ribs, the higher: a relation that a detector can learn."""
    for sample in Synthetic("train", good=3):
        centre = (slice(150, 250), slice(150, 250))
        light = sample.rgb[centre].astype(float).mean(axis=-1)
        z = sample.xyz[centre][..., 2].astype(float)
        seen = z != 0
        row, column = np.nonzero(seen)
        terms = np.stack([np.ones(len(row)), row, column, row * column, row**2, column**2], -1)
        fit, *_ = np.linalg.lstsq(terms, z[seen], rcond=None)
        height = terms @ fit - z[seen]
        assert np.corrcoef(height, light[seen])[0, 1] > 0.3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": "valid"}, "split must be one of train, validation, test, got 'valid'"),
        ({"good": -1}, r"needs good, defective and seed >= 0, got -1, 0, 0"),
        ({"defective": -2}, r"got 24, -2, 0"),
        ({"seed": -3}, r"got 24, 0, -3"),
        ({"size": (63, 400)}, r"size must be \(H, W\), each at least 64, got \(63, 400\)"),
        ({"size": (400,)}, r"got \(400,\)"),
    ],
)
def test_wrong_arguments_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        Synthetic(**wrong)
