"""Parts like training's give no warning; each planted fault is named."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from cmad.background import Background
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


def tilted(xyz, degrees):
    """The points as a camera sees them that is turned by some degrees around its x axis."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return xyz @ np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])


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
    "cropped": (lambda c, p: (c[36:-36, 36:-36], p[36:-36, 36:-36]), "from pixel to pixel it is"),
    "tilted": (lambda c, p: (c, tilted(p, 15)), "the background plane is tilted by 1"),
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
    if "axes" in found[0].text:
        assert len(found) == 1  # what is undone is not told once more as a pose


def test_too_few_training_parts_do_not_tell_how_the_camera_varies(ranges, part):
    for change in (FAULTS["tilted"][0], FAULTS["farther"][0]):
        seen = frame(*change(part.rgb, part.xyz), part)
        assert suspicions(seen, ranges) != ()
        assert suspicions(seen, replace(ranges, parts=4)) == ()


def test_more_than_the_part_is_told(ranges, part):
    seen = prepare(part, replace(HOW, background=Background.of("none")))
    kinds = [note.kind for note in suspicions(seen, ranges)]
    assert kinds == ["unlike training: more seen", NO_BACKGROUND]


def test_grey_parts_and_training_of_both_orders_cannot_show_bgr(ranges, part):
    seen = frame(part.rgb[..., ::-1], part.xyz, part)
    assert suspicions(seen, ranges) != ()
    assert suspicions(seen, replace(ranges, chroma={"apart": (90.0, -10.0, -0.5)})) == ()
    grey = np.repeat(part.rgb.mean(2, keepdims=True).astype(np.uint8), 3, 2)
    looks = [look(frame(grey + np.uint8([d, 0, 1]), part.xyz, part)) for d in range(3)]
    assert Ranges.of(looks).chroma == {}


def test_a_cloud_around_its_own_middle_has_a_unit_but_no_distance(part):
    seen = prepare(part, HOW)
    own = seen.xyz[seen.valid].mean(0)

    def centred(offset, factor=1.0):
        xyz = torch.where(seen.valid[..., None], (seen.xyz - own + offset) * factor, 0)
        return replace(seen, xyz=xyz)

    known = Ranges.of([look(centred(offset)) for offset in (1e-3, 1.1e-3, 1.2e-3, 1e-3, 1e-3)])
    assert suspicions(centred(4e-3), known) == ()
    found = suspicions(centred(4e-3, 1000.0), known)
    assert any("1000 times as large" in note.text for note in found)


@pytest.mark.filterwarnings("ignore")
def test_spans_and_spreads_are_of_all_parts_without_each_itself():
    parts = Synthetic("train", good=6, size=SIZE, seed=5)
    looks = [look(prepare(p, HOW)) for p in parts]
    known = Ranges.of(looks)
    for name, (low, high) in known.spans.items():
        values = [one.numbers[name] for one in looks]
        assert (low, high) == (min(values), max(values))
    normals = np.stack([one.directions["plane"] for one in looks])
    others = [np.delete(normals, i, 0).mean(0) for i in range(6)]
    cosines = [n @ o / np.linalg.norm(o) for n, o in zip(normals, others, strict=True)]
    assert known.directions["plane"].spread == pytest.approx(np.degrees(np.arccos(min(cosines))))
    alone = [Ranges.of([p for p in looks if p is not one]).pictures["rgb"] for one in looks]
    like = [
        np.corrcoef(one.pictures["rgb"].ravel(), mean)[0, 1]
        for one, mean in zip(looks, alone, strict=True)
    ]
    assert known.likes["rgb"] == pytest.approx(min(like), abs=1e-3)
    each = np.stack([one.chroma["apart"] for one in looks])
    mean = each.mean(0)
    np.testing.assert_allclose(known.chroma["apart"], [*mean, (each @ mean).min() / (mean @ mean)])


@pytest.mark.parametrize("way", ["no image", "no points"])
def test_of_one_modality_only_that_is_compared(way, ranges, part):
    lacking = {"no image": {"rgb": None}, "no points": {"xyz": None}}[way]
    few = [prepare(replace(p, **lacking), HOW) for p in Synthetic("train", good=5, size=SIZE)]
    known = Ranges.of([look(one) for one in few])
    for kept in (ranges, known):
        assert suspicions(prepare(replace(part, **lacking), HOW), kept) == ()
    assert suspicions(prepare(part, HOW), known) == ()
    if way == "no points":
        bgr = frame(part.rgb[..., ::-1], part.xyz, part)
        (note,) = suspicions(replace(bgr, xyz=None, valid=None, plane=None), known)
        assert "red minus blue is -10" in note.text
        assert "in the image, where the 5 training parts had 10" in note.text
    assert ("brightness" in known.spans) is (way == "no points")
    assert ("pitch" in known.spans) is (way == "no image")


def test_a_look_at_one_point_or_none_is_no_error(ranges, part):
    seen = prepare(part, HOW)
    for count in (0, 1, 20):
        valid = torch.zeros_like(seen.valid)
        valid.view(-1)[3000 : 3000 + count] = True
        xyz = torch.where(valid[..., None], torch.tensor([0.0, 0.0, 0.5]), 0)
        hardly = replace(seen, valid=valid, xyz=xyz)
        assert LITTLE_SEEN in [note.kind for note in suspicions(hardly, ranges)]
        assert Ranges.of([look(hardly)] * 5).parts == 5


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
