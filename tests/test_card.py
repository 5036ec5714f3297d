"""Model cards: what comes back from a file, and what older and newer files have."""

import json
import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest

from cmad.card import POINTS, Card, Course, Seen, Timing, courses
from cmad.datasets import Folder, Loader, MVTec3D, Synthetic
from cmad.datasets import open as open_data
from cmad.environment import machine

FULL = Card(
    trained=Seen(244, "MVTec 3D-AD, bagel, train", "2026-01-31 12:05"),
    training={"epochs": 250, "pixels_per_image": None},
    calibrated=Seen(22, "MVTec 3D-AD, bagel, validation", "2026-02-01 08:00"),
    timing=Timing(0.84, 22, "a processor, 2 threads, AVX2"),
    licences={"rgb": "apache-2.0"},
    losses={"2d": Course.of([0.5, 0.25, 0.3]), "2d held out": Course.of([0.5])},
)


@pytest.mark.parametrize("card", [FULL, Card(), Card(trained=Seen(3))], ids=["full", "none", "few"])
def test_a_card_comes_back_from_json_as_it_was(card):
    assert Card.from_file(json.loads(json.dumps(card.to_file()))) == card


@pytest.mark.parametrize("stored", [None, "card", [], {}, {"trained": None}, {"trained": {}}])
def test_what_is_not_there_is_not_known(stored):
    assert Card.from_file(stored) == Card()


def test_what_a_newer_version_knows_is_passed_over():
    stored = FULL.to_file()
    newer = {**stored, "price": 3, "trained": {**stored["trained"], "colour": "red"}}
    assert Card.from_file(newer) == FULL


def test_it_is_said_in_a_line_each():
    assert str(FULL.trained) == (
        "244 good parts of MVTec 3D-AD, bagel, train, 2026-01-31 12:05 UTC"
    )
    assert str(Seen(1, "", "2026-01-31 12:05")).startswith("1 good part of a source that is not kn")
    assert str(FULL.timing) == "0.84 s (median of 22) on a processor, 2 threads, AVX2"


def test_a_course_has_the_last_value_the_lowest_and_its_epoch():
    course = Course.of([0.5, 0.25, 0.25, 0.3])
    assert course == Course(4, 0.3, 0.25, 2, ((1, 0.5), (2, 0.25), (3, 0.25), (4, 0.3)))
    assert str(course) == "0.3 (lowest 0.25 in epoch 2 of 4)"
    assert str(Course.of([0.5, 0.25])) == "0.25"
    assert Course.of([0.1234567]).points == ((1, 0.123457),)


@pytest.mark.parametrize("epochs", [1, 2, 31, 32, 33, 250, 5000])
def test_a_course_keeps_few_points_first_and_last_among_them(epochs):
    values = [1 / (epoch + 1) for epoch in range(epochs)]
    points = Course.of(values).points
    assert len(points) <= POINTS
    assert [points[0][0], points[-1][0]] == [1, epochs]
    assert sorted(set(points)) == list(points)
    # Points are kept with six digits.
    assert all(v == pytest.approx(values[e - 1], rel=1e-5) for e, v in points)
    gaps = [b / a for (a, _), (b, _) in pairwise(points) if a > 15]
    assert max(gaps, default=1) < 1.5, "steps of the logarithm are even"


def test_values_that_are_not_finite_are_left_out_so_that_a_card_is_json():
    course = Course.of([math.nan, 0.5, 0.7, math.inf])
    assert course == Course(4, 0.7, 0.5, 2, ((2, 0.5), (3, 0.7)))
    assert Course.of([math.nan]) is None
    assert Course.of([]) is None
    found = courses({"b": [0.5], "a": [math.nan], "aa": [0.25]})
    assert list(found) == ["aa", "b"]
    json.dumps(Card(losses=found).to_file(), allow_nan=False)


@pytest.mark.parametrize(
    "stored", [None, [], {"2d": None}, {"2d": {"last": 0.5}}, {"2d": [0.5, 0.25]}]
)
def test_losses_that_are_not_there_are_not_known(stored):
    whole = FULL.to_file()
    assert Card.from_file({**whole, "losses": stored}) == replace(FULL, losses={})
    del whole["losses"]
    assert Card.from_file(whole) == replace(FULL, losses={})


def test_the_time_is_the_median_on_this_machine():
    assert Timing.of([9.0, 1.0, 2.0]) == Timing(2.0, 3, machine())
    assert re.match(r".+, 1 thread, \w+", machine())


def test_the_date_is_that_of_now_in_utc():
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d", Seen.now(2, []).date)


def test_parts_say_where_they_are_from(data):
    good = data / "cover" / "train" / "good"
    name = data.name
    found = open_data(data)
    for parts, want in (
        (MVTec3D(data, "cover", "train"), "MVTec 3D-AD, cover, train"),
        (found.split("cover", "validation"), "MVTec 3D-AD, cover, validation"),
        (found.split("cover", "test")[:1], "MVTec 3D-AD, cover, test"),
        (found.split("cover", "test").few_shot(2), "MVTec 3D-AD, cover, test"),
        (Loader(found.split("cover", "train")), "MVTec 3D-AD, cover, train"),
        (Folder(good), "folder good"),
        (Synthetic("train", good=2, size=(64, 64)), "synthetic parts, train"),
        (Loader([]), ""),
        ([], ""),
    ):
        assert Seen.now(3, parts).source == want
    assert name not in want  # no path of the machine


def test_plain_folders_are_named_with_their_category(data, tmp_path):
    for number in range(4):
        source = data / "cover" / "validation" / "good"
        for kind, end in (("rgb", "png"), ("xyz", "tiff")):
            there = tmp_path / "plant" / "lid" / "good" / kind
            there.mkdir(parents=True, exist_ok=True)
            (there / f"{number}.{end}").write_bytes((source / kind / f"000.{end}").read_bytes())
    parts = open_data(tmp_path / "plant").split("lid", "train")
    assert parts.source == "folder plant, lid, train"
