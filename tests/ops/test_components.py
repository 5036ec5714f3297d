import numpy as np
import pytest
import torch

from cmad.ops import components
from cmad.testing.inputs import blobs


def drawn(*rows):
    return torch.tensor([[c == "#" for c in row] for row in rows])


def test_corners_connect_and_numbers_follow_the_first_pixel():
    mask = drawn(
        "..#..#",
        "##...#",
        "....#.",
        "#..#..",
    )
    # Row 0: 0, 1; row 1: 0 0 (by a corner), 1; row 2: 1; row 3: a new one, 1.
    assert components(mask).tolist() == [0, 1, 0, 0, 1, 1, 2, 1]


def test_arms_that_meet_at_the_bottom_are_one():
    mask = drawn("#.#.#", "#.#.#", "#####")
    assert components(mask).unique().tolist() == [0]


def test_bytes_other_than_1_that_are_viewed_as_bool_are_marked():
    mask = np.array([[0, 255, 2], [0, 0, 0], [1, 0, 255]], np.uint8)
    viewed = torch.from_numpy(mask.view(bool))
    assert components(viewed).tolist() == [0, 0, 1, 2]


def test_the_last_column_and_the_next_rows_first_do_not_touch():
    assert components(drawn("...#", "#...")).tolist() == [0, 1]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.45, 0.6])
def test_components_are_those_of_scipy(share):
    ndimage = pytest.importorskip("scipy.ndimage", reason="extra 'test' is not installed")
    rng = np.random.default_rng(0)
    for shape in [(60, 71), (1, 50), (71, 3)]:
        mask = rng.random(shape) < share
        label, count = ndimage.label(mask, np.ones((3, 3)))
        got = components(torch.from_numpy(mask)).numpy()
        # SciPy numbers by first pixel too, from 1.
        np.testing.assert_array_equal(got + 1, label[mask])
        assert len(np.unique(got)) == count


def test_mirroring_and_turning_keep_the_number_and_the_sizes():
    mask = torch.from_numpy(blobs(np.random.default_rng(1), 90, 120, 12))
    want = sorted(components(mask).bincount().tolist())
    for other in (mask.flip(0), mask.flip(1), mask.T.contiguous()):
        assert sorted(components(other).bincount().tolist()) == want
    assert len(want) > 3


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (torch.zeros(3, 4), TypeError, "components: mask must be torch.bool, got torch.float32"),
        (torch.zeros(3, dtype=torch.bool), ValueError, r"components: mask must be \(H, W\)"),
        (np.zeros((3, 4), bool), TypeError, "components: mask must be a torch tensor, got ndarray"),
    ],
)
def test_other_inputs_are_named(mask, error, message):
    with pytest.raises(error, match=message):
        components(mask)


def test_masks_whose_pixels_32_bits_cannot_number_are_named():
    mask = torch.zeros(1, 1, dtype=torch.bool).expand(2**16, 2**15)
    with pytest.raises(ValueError, match="mask must have fewer than 2\\^31 pixels, got 2147483648"):
        components(mask)
