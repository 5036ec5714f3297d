"""Parts like training's give no warning; each planted fault is named."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cmad.datasets import Synthetic
from cmad.preprocess import Preprocessing, prepare
from cmad.presets import PRESETS
from cmad.ranges import LITTLE_SEEN, NO_BACKGROUND, Ranges, look, suspicions

HOW = Preprocessing(96, 96, PRESETS["paper"].preparation, 0)
SIZE = (144, 144)


def frame(rgb, xyz, sample):
    rgb, xyz = np.ascontiguousarray(rgb), np.ascontiguousarray(xyz, dtype=np.float32)
    return prepare(replace(sample, rgb=rgb, xyz=xyz, mask=None), HOW)


@pytest.fixture(scope="module")
def ranges():
    parts = Synthetic("train", good=8, size=SIZE, seed=3)
    return Ranges.of([look(prepare(part, HOW)) for part in parts])


@pytest.fixture(scope="module")
def part():
    return next(iter(Synthetic("test", good=1, size=SIZE, seed=3)))


@pytest.mark.parametrize("count", [1, 5, 12])
@pytest.mark.filterwarnings("ignore")
def test_good_and_defective_parts_of_the_same_kind_are_not_suspected(count):
    for seed in (0, 1):
        train = Synthetic("train", good=count, size=SIZE, seed=seed)
        known = Ranges.of([look(prepare(part, HOW)) for part in train])
        for part in Synthetic("test", good=8, defective=4, size=SIZE, seed=seed):
            assert suspicions(prepare(part, HOW), known) == (), part.name


FAULTS = {
    "BGR": (lambda c, p: (c[..., ::-1], p), "look like BGR for RGB"),
    "mirrored": (lambda c, p: (c[:, ::-1], p[:, ::-1]), "the arrays are mirrored left-right"),
    "upside down": (lambda c, p: (c[::-1], p[::-1]), "the arrays are mirrored top-bottom"),
    "transposed": (lambda c, p: (c.swapaxes(0, 1), p.swapaxes(0, 1)), "arrays are transposed"),
    "turned": (lambda c, p: (np.rot90(c), np.rot90(p)), "the arrays are turned by 90 degrees"),
    "xyz mirrored": (lambda c, p: (c, p[:, ::-1]), "xyz alone is mirrored left-right"),
    "rgb turned": (lambda c, p: (c[::-1, ::-1], p), "rgb alone is turned by 180 degrees"),
    "zyx": (lambda c, p: (c, p[..., ::-1]), "x, y, z are written as z, y, x"),
    "yxz": (lambda c, p: (c, p[..., [1, 0, 2]]), "x, y, z are written as y, x, z"),
    "x negated": (lambda c, p: (c, p * [-1, 1, 1]), "x is negated"),
    "y, z negated": (lambda c, p: (c, p * [1, -1, -1]), "y and z are negated"),
    "cropped": (lambda c, p: (c[36:-36, 36:-36], p[36:-36, 36:-36]), "another camera pose"),
    "farther": (lambda c, p: (c, p + (p != 0) * [0, 0, 0.3]), "another camera pose"),
    "dark": (lambda c, p: (c // 5, p), "far darker than in training"),
    "bright": (lambda c, p: (np.maximum(c, 235), p), "far brighter than in training"),
    "flat": (lambda c, p: (c // 5 + int(c.mean() * 0.8), p), "far less contrast"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.filterwarnings("ignore")
def test_a_planted_fault_is_named(ranges, part, fault):
    change, said = FAULTS[fault]
    found = suspicions(frame(*change(part.rgb, part.xyz), part), ranges)
    assert any(said in note.text for note in found), [note.text for note in found]
    assert all(note.kind.startswith("unlike training: ") for note in found)


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1000.0, "1000 times as large as in training: millimetres for metres"),
        (0.001, "0.001 times as large as in training: metres passed as unit"),
    ],
)
def test_another_unit_is_named_and_nothing_else_is_said(ranges, part, factor, said):
    seen = prepare(part, HOW)
    plane = tuple(seen.plane[:3]), seen.plane[3] * factor
    scaled = replace(seen, xyz=seen.xyz * factor, plane=(*plane[0], plane[1]))
    (note,) = suspicions(scaled, ranges)
    assert said in note.text


def test_a_part_of_which_a_third_is_seen_is_told(ranges, part):
    seen = prepare(part, HOW)
    columns = np.nonzero(seen.valid.numpy())[1]
    valid = seen.valid.clone()
    valid[:, int(np.quantile(columns, 0.3)) :] = False
    found = suspicions(replace(seen, valid=valid), ranges)
    assert LITTLE_SEEN in [note.kind for note in found]
    assert "too little of the part is seen: its points are on" in found[0].text


@pytest.mark.parametrize("count", [4, 5])
def test_a_part_without_the_background_that_training_had_is_told(ranges, part, count):
    few = replace(ranges, parts=count)
    found = suspicions(replace(prepare(part, HOW), plane=None), few)
    assert [note.kind for note in found] == [NO_BACKGROUND] * (count >= 5)


def test_ranges_are_those_of_the_parts_and_survive_a_file(ranges):
    parts = Synthetic("train", good=8, size=SIZE, seed=3)
    light = [prepare(part, HOW).rgb.float().mean() for part in parts]
    assert ranges.parts == 8
    np.testing.assert_allclose(ranges.spans["brightness"], (min(light), max(light)), rtol=1e-4)
    again = Ranges.from_file(json.loads(json.dumps(ranges.to_file())))
    assert again == ranges
    assert ranges.describe().startswith("8 parts, 0.")
    assert "of 255" in ranges.describe()
