"""What is known of the background: how it is passed, what is refused, and regions of interest."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from cmad.background import Background

GIVEN = [
    "plane",
    "none",
    0.002,
    (0.1, 0, -1, 0.5),
    [(3, 2), (20.5, 2), (11, 18)],
    np.eye(5, 7, dtype=bool),
]


def test_each_kind_is_known_by_what_is_passed():
    kinds = [Background.of(value).kind for value in GIVEN]
    assert kinds == ["plane", "none", "distance", "fixed", "polygon", "mask"]
    assert Background.of(np.float32(0.25)).distance == 0.25
    assert Background.of(torch.tensor(0.25)).distance == 0.25
    assert Background.of(2) == Background("distance", 2.0)
    assert Background.of(np.array(GIVEN[4])) == Background.of(GIVEN[4])
    own = Background("fixed", distance=0.001, plane=(0.0, 0.0, -1.0, 0.5))
    assert Background.of(own) is own


@pytest.mark.parametrize("value", GIVEN, ids=str)
def test_a_file_gives_back_what_was_passed(value):
    background = Background.of(value)
    assert Background.load(json.loads(json.dumps(asdict(background)))) == background
    assert background.describe()


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("table", ValueError, r'background must be "plane", "none", .*, got \'table\''),
        (None, TypeError, "got None"),
        (True, TypeError, "got True"),
        (0, ValueError, "a distance above 0, got 0"),
        (-0.01, ValueError, "a distance above 0, got -0.01"),
        (np.nan, ValueError, "finite numbers, got NaN"),
        ((0, 0, -1), ValueError, r"got an array of shape \(3,\)"),
        ((0, 0, 0, 1), ValueError, "does not go through the camera, got 0, 0, 0, 1"),
        ((0, 0, 1, 0), ValueError, "does not go through the camera"),
        ([(1, 2), (3, 4)], ValueError, "at least three corners"),
        ([(1, 1), (2, 2), (3, 3)], ValueError, "that are not on a line"),
        ([(1, 1), (2, 2), (3,)], TypeError, "background must be"),
        (np.zeros((4, 5), bool), ValueError, "a mask that has pixels inside, got none"),
        (np.zeros((4, 5, 3)), ValueError, r"got an array of shape \(4, 5, 3\)"),
    ],
)
def test_anything_else_is_refused_with_what_is_wanted(value, error, message):
    with pytest.raises(error, match=message):
        Background.of(value)


def test_a_mask_comes_back_and_fits_its_own_size_only():
    rng = np.random.default_rng(0)
    for mask in (rng.random((7, 9)) < 0.5, np.ones((3, 4), bool), np.eye(4, dtype=np.uint8) * 255):
        background = Background.of(mask)
        assert background.is_region
        np.testing.assert_array_equal(background.region(*mask.shape), mask != 0)
        with pytest.raises(ValueError, match=r"must be as high and wide as the part, got .* 8x8"):
            background.region(8, 8)


def test_a_polygon_holds_the_pixels_whose_centres_it_holds():
    triangle = Background.of([(0.5, 0.5), (4.5, 0.5), (0.5, 4.5)]).region(6, 7).numpy()
    want = np.zeros((6, 7), bool)
    for row, columns in ((1, (1, 2, 3, 4)), (2, (1, 2, 3)), (3, (1, 2)), (4, (1,))):
        want[row, list(columns)] = True
    want[[1, 2, 3, 4], [4, 3, 2, 1]] = False  # the side itself is outside
    np.testing.assert_array_equal(triangle, want)
    with pytest.raises(ValueError, match="holds no pixel of 6x7"):
        Background.of([(10, 1), (20, 1), (10, 9)]).region(6, 7)


def test_a_polygon_agrees_with_a_test_of_each_pixel_by_its_winding():
    rng = np.random.default_rng(1)
    for _ in range(5):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 9))
        radius = rng.uniform(4, 14, 9)
        corners = np.stack([15 + radius * np.cos(angle), 16 + radius * np.sin(angle)], 1)
        region = Background.of(corners).region(32, 30).numpy()
        for row in range(32):
            for column in range(30):
                to = corners - (column, row)
                turn = np.angle(
                    np.exp(1j * np.diff(np.unwrap(np.arctan2(*to[[*range(9), 0]].T[::-1]))))
                )
                assert region[row, column] == (abs(turn.sum()) > 3)
