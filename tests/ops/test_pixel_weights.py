import numpy as np
import pytest
import torch

from cmad.ops import interpolate, pixel_weights
from cmad.ops.pixel_weights import with_room
from cmad.testing import reference
from cmad.testing.devices import DEVICES, has, running_on
from cmad.testing.inputs import footprint


def image(rng, side, taps, share, raster=None, centres=9):
    """Points at a share of the pixels, a random footprint, all pixels of the raster."""
    raster = raster or side
    seen = rng.random((side, side)) < share
    weight = rng.random((int(seen.sum()), 3)) * (rng.random((int(seen.sum()), 3)) < 0.8)
    return {
        "neighbour": torch.from_numpy(rng.integers(0, centres, weight.shape)),
        "neighbour_weight": torch.from_numpy(weight.astype(np.float32)),
        "point": torch.from_numpy(np.where(seen, seen.cumsum().reshape(seen.shape) - 1, -1)),
        "first": torch.from_numpy(rng.integers(-taps, side + 1, raster)),
        "tap": torch.from_numpy(rng.standard_normal((raster, taps)).astype(np.float32)),
        "pixel": torch.arange(raster * raster),
        "centres": centres,
    }


def dense(args, feature):
    """The smoothed feature map (R, R, D), built in full."""
    side = len(args["point"])
    at_point = (args["neighbour_weight"].double()[..., None] * feature[args["neighbour"]]).sum(1)
    full = torch.zeros(side, side, feature.shape[1], dtype=torch.float64)
    full[args["point"] >= 0] = at_point[args["point"][args["point"] >= 0]]
    matrix = torch.zeros(len(args["tap"]), side, dtype=torch.float64)
    for out, first in enumerate(args["first"].tolist()):
        for i, weight in enumerate(args["tap"][out].tolist()):
            if 0 <= first + i < side:
                matrix[out, first + i] += weight
    return torch.einsum("ry,cx,yxd->rcd", matrix, matrix, full)


def test_two_points_in_a_row_of_three_pixels_share_their_centres():
    start, index, weight = pixel_weights(
        neighbour=torch.tensor([[4, 2], [2, 7]]),
        neighbour_weight=torch.tensor([[0.75, 0.25], [0.5, 0.5]]),
        point=torch.tensor([[0, -1, 1], [-1, -1, -1], [-1, -1, -1]]),
        first=torch.tensor([-1, 0, 1]),
        tap=torch.tensor([[0.25, 0.5, 0.25]] * 3),
        pixel=torch.tensor([1, 0, 8]),
        centres=8,
    )
    # Pixel (0, 1) reads both points at 0.5 * 0.25, (0, 0) the first at 0.5 * 0.5, (2, 2) none.
    assert start.tolist() == [0, 3, 5, 5]
    assert index.tolist() == [2, 4, 7, 2, 4]
    np.testing.assert_allclose(weight, np.array([3, 3, 2, 2, 6]) / 32)


def test_weights_of_zero_are_left_out():
    start, index, _ = pixel_weights(
        neighbour=torch.tensor([[3, 0, 0]]),
        neighbour_weight=torch.tensor([[1.0, 0, 0]]),
        point=torch.tensor([[0]]),
        first=torch.tensor([0]),
        tap=torch.tensor([[1.0, 0]]),
        pixel=torch.tensor([0]),
        centres=4,
    )
    assert (start.tolist(), index.tolist()) == ([0, 1], [3])


def test_four_pixels_in_a_row_make_two_patches():
    start, index, weight = pixel_weights(
        neighbour=torch.tensor([[0], [1], [0]]),
        neighbour_weight=torch.ones(3, 1),
        point=torch.tensor([[0, 1, -1, 2], *[[-1] * 4] * 3]),
        first=torch.tensor([0, 2]),
        tap=torch.tensor([[0.5, 0.5]] * 2),
        pixel=torch.arange(4),
        centres=2,
    )
    # The upper patches hold centres 0 and 1, and centre 0; pixels are numbered on the raster.
    assert (start.tolist(), index.tolist()) == ([0, 2, 3, 3, 3], [0, 1, 0])
    assert weight.tolist() == [0.25, 0.25, 0.25]


@pytest.mark.parametrize("raster", [13, 5, 1, 20])
def test_rows_times_features_are_the_smoothed_feature_map(raster):
    rng = np.random.default_rng(0)
    args = image(rng, 13, 4, 0.6, raster)
    feature = torch.from_numpy(rng.standard_normal((9, 5)).astype(np.float32))
    got = interpolate(feature, *pixel_weights(**args))
    want = dense(args, feature.double()).reshape(-1, 5)
    np.testing.assert_allclose(got, want, atol=1e-5)  # some 100 products of size 3


@pytest.mark.parametrize(
    ("side", "raster"), [(3, 3), (12, 12), (17, 17), (224, 224), (224, 28), (224, 56), (30, 7)]
)
def test_published_footprint_is_average_pooling_and_adaptive_pooling(side, raster):
    pixels = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    pooled = torch.nn.functional.avg_pool2d(pixels.double(), 3, 1)
    want = torch.nn.functional.adaptive_avg_pool2d(pooled, raster)
    first, tap = (torch.from_numpy(a) for a in footprint(side, raster))
    # One point a pixel, its own centre the pixel's value.
    weights = pixel_weights(
        neighbour=torch.zeros(side * side, 1, dtype=torch.int64),
        neighbour_weight=pixels.reshape(-1, 1),
        point=torch.arange(side * side).reshape(side, side),
        first=first,
        tap=tap,
        pixel=torch.arange(raster * raster),
        centres=1,
    )
    got = interpolate(torch.ones(1, 1), *weights)
    np.testing.assert_allclose(got.reshape(raster, raster), want[0, 0], atol=2e-7)


@pytest.mark.parametrize("device", [device for device in DEVICES if has(device, "pixel_weights")])
def test_more_pixels_and_centres_than_a_gpu_takes_at_once_agree_with_the_reference(device):
    many_centres = image(np.random.default_rng(5), 5, 3, 0.9, centres=5000)
    many_pixels = image(np.random.default_rng(6), 4, 1, 0.7)
    many_pixels["pixel"] = torch.arange(1040) % 16
    where = "cpu" if device == "emulated" else device
    for args in (many_centres, many_pixels):
        arrays = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in args.items()}
        want = reference.pixel_weights(**arrays)
        with running_on(device):
            got = pixel_weights(
                **{k: v.to(where) if isinstance(v, torch.Tensor) else v for k, v in args.items()}
            )
        for w, g in zip(want, got, strict=True):
            np.testing.assert_array_equal(g.cpu(), w)


def test_asking_for_some_pixels_gives_their_rows():
    args = image(np.random.default_rng(1), 11, 3, 0.5)
    start, index, weight = pixel_weights(**args)
    some = torch.tensor([120, 3, 3, 60])
    got = pixel_weights(**{**args, "pixel": some})
    assert got[0].diff().tolist() == start.diff()[some].tolist()
    rows = [slice(int(start[p]), int(start[p + 1])) for p in some]
    assert torch.equal(got[1], torch.cat([index[row] for row in rows]))
    assert torch.equal(got[2], torch.cat([weight[row] for row in rows]))


def test_no_pixel_gives_no_row():
    args = image(np.random.default_rng(2), 5, 3, 0.5)
    start, index, weight = pixel_weights(**{**args, "pixel": torch.zeros(0, dtype=torch.int64)})
    assert (start.tolist(), len(index), len(weight)) == ([0], 0, 0)


def test_random_images_agree_with_the_reference():
    rng = np.random.default_rng(3)
    for _ in range(80):
        side, taps = int(rng.integers(1, 9)), int(rng.integers(1, 6))
        args = image(rng, side, taps, float(rng.random()), int(rng.integers(1, 9)))
        arrays = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in args.items()}
        want = reference.pixel_weights(**arrays)
        start, index, weight = pixel_weights(**args)
        np.testing.assert_array_equal(start, want[0])
        np.testing.assert_array_equal(index, want[1])
        np.testing.assert_allclose(weight, want[2], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"neighbour": torch.zeros(2, 3)}, TypeError, "neighbour must be torch.int64, got"),
        ({"neighbour_weight": torch.zeros(2, 2)}, ValueError, r"must be \(N=2, J=3\), got \(2, 2"),
        ({"point": torch.zeros(3, 4).long()}, ValueError, r"point must be \(S, S\), got \(3, 4\)"),
        ({"first": torch.zeros(2, 3).long()}, ValueError, r"first must be \(R\), got \(2, 3\)"),
        ({"tap": torch.zeros(3, 3)}, ValueError, r"tap must be \(R=2, T\), got \(3, 3\)"),
        ({"neighbour": torch.full((2, 3), 5)}, ValueError, r"must be in \[0, centres=5\)"),
        ({"neighbour": torch.full((2, 3), -1)}, ValueError, r"must be in \[0, centres=5\)"),
        ({"neighbour": torch.full((2, 3), 2**32)}, ValueError, r"must be in \[0, centres=5\)"),
        ({"centres": 2**31}, ValueError, r"centres must be in \[0, 2\*\*31\), got 2147483648"),
        ({"point": torch.full((4, 4), 2)}, ValueError, r"point must be in \[-1, N=2\)"),
        ({"point": torch.full((4, 4), -2)}, ValueError, r"point must be in \[-1, N=2\)"),
        ({"pixel": torch.tensor([4])}, ValueError, r"pixel_weights: pixel must be in \[0, 4\)"),
        ({"pixel": torch.tensor([-1])}, ValueError, r"pixel_weights: pixel must be in \[0, 4\)"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    args = {
        "neighbour": torch.zeros(2, 3, dtype=torch.int64),
        "neighbour_weight": torch.ones(2, 3),
        "point": torch.zeros(4, 4, dtype=torch.int64),
        "first": torch.zeros(2, dtype=torch.int64),
        "tap": torch.ones(2, 3),
        "pixel": torch.arange(4),
        "centres": 5,
    }
    with pytest.raises(error, match=message):
        pixel_weights(**{**args, **change})


@pytest.mark.parametrize(("taps", "centres"), [(2, 9), (5, 9), (3, 2)])
def test_with_room_there_are_the_same_entries_and_zeros_behind_them(taps, centres):
    args = image(np.random.default_rng(taps), 11, taps, 0.6, centres=centres)
    want, got = pixel_weights(**args), with_room(**args)
    entries = len(want[1])
    assert torch.equal(got[0], want[0])
    for g, w in zip(got[1:], want[1:], strict=True):
        assert torch.equal(g[:entries], w)
        assert not g[entries:].any()
    assert len(got[1]) == 11**2 * min(3 * taps**2, centres) >= entries
