"""The presets: each choice is the one that docs/decisions/presets.md gives a source for."""

from dataclasses import asdict

import pytest

from cmad.presets import PRESETS

PAPER = {
    "preparation": {
        "any_zero_is_missing": False,
        "rule": {"plane_samples": 3, "plane_support": 0.005, "published": False},
        "multiple": 1,
        "upper_left": False,
    },
    "grouping": {"size": 32, "groups": 1024, "published": False},
    "smoothing": {"padding": 1, "rim": False, "zero_sum_is_missing": False},
    "scaling": {"by_mean": False, "eight_bits": False},
    "published_banks": False,
    "published_metric": False,
    "published_ast": False,
    "grid_thresholds": False,
}
OFFICIAL = {
    "preparation": {
        "any_zero_is_missing": True,
        "rule": {"plane_samples": 50, "plane_support": 0.004, "published": True},
        "multiple": 100,
        "upper_left": True,
    },
    "grouping": {"size": 128, "groups": 1024, "published": True},
    "smoothing": {"padding": 0, "rim": True, "zero_sum_is_missing": True},
    "scaling": {"by_mean": True, "eight_bits": True},
    "published_banks": True,
    "published_metric": True,
    "published_ast": True,
    "grid_thresholds": True,
}


@pytest.mark.parametrize(("name", "choices"), [("paper", PAPER), ("official", OFFICIAL)])
def test_every_choice_of_a_preset_is_the_documented_one(name, choices):
    assert asdict(PRESETS[name]) == choices


def test_there_are_no_other_presets():
    assert set(PRESETS) == {"paper", "official"}
