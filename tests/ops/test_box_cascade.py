import numpy as np
import pytest
import torch

from cmad.ops import box_cascade
from cmad.testing import reference


def maps(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).random(shape).astype(np.float32))


def test_one_pixel_keeps_its_share_of_every_box():
    got = box_cascade(torch.ones(1, 1, 1))
    assert float(got) == pytest.approx(25.0**-5 * 49.0**-3, rel=1e-6)


def test_an_impulse_keeps_its_sum_and_spreads_by_variance_22():
    x = torch.zeros(1, 61, 61)
    x[0, 30, 30] = 1
    got = box_cascade(x)[0].double()
    at = torch.arange(61.0).double() - 30
    assert float(got.sum()) == pytest.approx(1, abs=1e-6)
    # Boxes of 5 have variance 2, boxes of 7 have 4: five and three of them.
    for axis in (0, 1):
        assert float(got.sum(axis) @ at**2) == pytest.approx(22, abs=1e-4)
        assert float(got.sum(axis) @ at) == pytest.approx(0, abs=1e-5)


def test_it_reaches_19_pixels_and_takes_zeros_beyond_the_edge():
    x = torch.zeros(1, 61, 61)
    x[0, 30, 30] = 1
    reached = (box_cascade(x)[0] > 0).nonzero()
    assert (reached.min(0).values.tolist(), reached.max(0).values.tolist()) == ([11, 11], [49, 49])
    got = box_cascade(torch.ones(1, 61, 61))[0]
    assert float(got[30, 30]) == pytest.approx(1, abs=1e-6)
    assert float(got[0, 0]) < 0.5


def test_it_is_eight_average_poolings():
    x = maps(0, 2, 25, 40)
    want = x.double()
    for size in (5, 5, 5, 5, 5, 7, 7, 7):
        want = torch.nn.functional.avg_pool2d(want, size, 1, size // 2)
    np.testing.assert_allclose(box_cascade(x), want, atol=5e-7)


def test_maps_of_a_batch_do_not_mix():
    x = maps(1, 3, 21, 34)
    assert torch.equal(box_cascade(x), torch.cat([box_cascade(one[None]) for one in x]))


def test_random_sizes_agree_with_the_reference():
    rng = np.random.default_rng(2)
    for seed in range(60):
        x = maps(seed, *(int(rng.integers(1, high)) for high in (3, 30, 30)))
        want = reference.box_cascade(x.numpy())
        np.testing.assert_allclose(box_cascade(x), want, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (torch.zeros(4, 3), ValueError, r"box_cascade: maps must be \(B, H, W\), got \(4, 3\)"),
        (torch.zeros(1, 4, 3).double(), TypeError, "box_cascade: maps must be torch.float32, got"),
        (torch.zeros(1, 4, 0), ValueError, r"box_cascade: maps must not be empty, got \(1, 4, 0\)"),
    ],
)
def test_wrong_arguments_are_named(wrong, error, message):
    with pytest.raises(error, match=message):
        box_cascade(wrong)
