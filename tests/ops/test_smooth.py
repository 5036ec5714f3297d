import math

import numpy as np
import pytest
import torch

from cmad.ops import smooth
from cmad.testing import reference


def maps(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).random(shape).astype(np.float32))


def test_an_impulse_in_a_row_of_three_spreads_by_three_taps():
    side = math.exp(-8)  # exp(-1 / (2 * 0.25^2)); the cut at 4 sigma is one pixel
    centre, side = 1 / (1 + 2 * side), side / (1 + 2 * side)
    got = smooth(torch.tensor([[[0.0, 1, 0]], [[1, 0, 0]]]), 0.25)
    # The single row is its own mirror image; at the edge so is the impulse.
    want = [[[side, centre, side]], [[centre + side, side, 0]]]
    np.testing.assert_allclose(got, want, atol=1e-7)


def test_a_constant_map_stays():
    for sigma in (0.3, 1, 4, 30):
        got = smooth(torch.full((2, 9, 14), 0.7), sigma)
        np.testing.assert_allclose(got, 0.7, rtol=2e-6)  # up to 241 float32 products, twice


def test_the_mean_stays_as_edges_are_mirrored():
    x = maps(0, 3, 21, 34)
    mean = smooth(x).double().mean((1, 2))
    np.testing.assert_allclose(mean, x.double().mean((1, 2)), rtol=1e-6)


def test_transposing_the_map_transposes_the_result():
    x = maps(1, 1, 21, 34)
    np.testing.assert_allclose(smooth(x.mT), smooth(x).mT, atol=5e-7)


def test_maps_of_a_batch_do_not_mix():
    x = maps(2, 3, 21, 34)
    assert torch.equal(smooth(x), torch.cat([smooth(one[None]) for one in x]))


def test_sigma_is_four_pixels_unless_said():
    x = maps(3, 1, 30, 30)
    assert torch.equal(smooth(x), smooth(x, 4.0))


def test_random_sizes_agree_with_the_reference():
    rng = np.random.default_rng(4)
    for seed in range(100):
        b, h, w = (int(rng.integers(1, high)) for high in (3, 30, 30))
        sigma = float(rng.uniform(0.05, 9))
        x = maps(seed, b, h, w)
        want = reference.smooth(x.numpy(), sigma)
        np.testing.assert_allclose(smooth(x, sigma), want, atol=1e-6)


def test_agrees_with_scipy():
    ndimage = pytest.importorskip("scipy.ndimage", reason="needs SciPy, of the test extra")
    for sigma in (0.6, 1.7, 4.0, 11.0):
        x = maps(5, 70, 31)
        want = ndimage.gaussian_filter(x.double().numpy(), sigma, mode="reflect", truncate=4.0)
        np.testing.assert_allclose(smooth(x[None], sigma)[0], want, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"maps": torch.zeros(4, 3)}, ValueError, r"smooth: maps must be \(B, H, W\), got \(4, 3"),
        ({"maps": torch.zeros(1, 4, 3).half()}, TypeError, "smooth: maps must be torch.float32"),
        ({"maps": torch.zeros(1, 0, 3)}, ValueError, r"smooth: maps must not be empty, got \(1, 0"),
        ({"sigma": 0.0}, ValueError, "smooth: sigma must be positive and finite, got 0.0"),
        ({"sigma": -1.0}, ValueError, "smooth: sigma must be positive and finite, got -1.0"),
        ({"sigma": float("nan")}, ValueError, "smooth: sigma must be positive and finite, got nan"),
        ({"sigma": float("inf")}, ValueError, "smooth: sigma must be positive and finite, got inf"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    with pytest.raises(error, match=message):
        smooth(**{"maps": torch.zeros(1, 4, 3), "sigma": 4.0, **change})
