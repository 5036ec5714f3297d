"""Model cards: what comes back from a file, and what older and newer files have."""

import json
import re

import pytest

from cmad.card import Card, Seen, Timing
from cmad.datasets import Folder, Loader, MVTec3D, Synthetic
from cmad.datasets import open as open_data
from cmad.environment import machine

FULL = Card(
    trained=Seen(244, "MVTec 3D-AD, bagel, train", "2026-01-31 12:05"),
    training={"epochs": 250, "pixels_per_image": None},
    calibrated=Seen(22, "MVTec 3D-AD, bagel, validation", "2026-02-01 08:00"),
    timing=Timing(0.84, 22, "a processor, 2 threads, AVX2"),
    licences={"rgb": "apache-2.0"},
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
