"""CFM's other mapping networks against their definitions, and what is cut out of a map."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as functional

from cmad.nn import Mappings
from cmad.nn.encoder_decoders import ConvEncoderDecoder, EncoderDecoder
from cmad.nn.on_maps import Box, Cut, OnMaps, window
from cmad.ops import discrepancy
from cmad.rasters import Raster, foreground, rows
from cmad.types import Features, Points, Window


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("dims", [(768, 1152), (1152, 768), (768, 384), (33, 384)])
def test_the_encoder_decoder_has_the_papers_widths(dims):
    net = EncoderDecoder(*dims)
    widths = [dims[0], dims[0] // 2, dims[0] // 4, dims[0] // 4, dims[0] // 2, dims[1]]
    if dims == (768, 1152):
        assert widths == [768, 384, 192, 192, 384, 1152]
    want = sum((a + 1) * b for a, b in pairwise(widths))
    assert count(net) == want


def test_the_encoder_decoder_is_its_layers_with_gelu_after_all_but_the_last():
    torch.manual_seed(0)
    net, x = EncoderDecoder(12, 5), torch.randn(7, 12)
    want = x
    for layer in (*net.encoder, net.bottleneck, net.decoder[0]):
        want = want @ layer.weight.T + layer.bias
        want = want * 0.5 * (1 + torch.erf(want / 2**0.5))
    want = want @ net.decoder[1].weight.T + net.decoder[1].bias
    torch.testing.assert_close(net(x), want)


def test_the_convolutions_keep_the_channels_up_to_the_last_layer():
    net = ConvEncoderDecoder(6, 9)
    convolution = 6 * (9 * 6 + 1)
    assert count(net) == 3 * convolution + 6 * 9 * 4 + 9
    x = torch.randn(2, 6, 8, 10)
    convolutions = net.encoder.conv1, net.encoder.conv2, net.decoder.conv
    first, second, third = (
        lambda y, c=c: functional.relu(functional.conv2d(y, c.weight, c.bias, padding=1))
        for c in convolutions
    )
    up = net.decoder.up
    hidden = third(functional.max_pool2d(second(first(x)), 2))
    want = functional.conv_transpose2d(hidden, up.weight, up.bias, stride=2)
    torch.testing.assert_close(net(x), want)
    assert net(x[..., :7, :9]).shape == (2, 9, 7, 9)


def frame(size, seed=0, tokens=5):
    """Features of a frame with points in a blob that touches the lower border."""
    g = torch.Generator().manual_seed(seed)
    valid = torch.zeros(size, size, dtype=torch.bool)
    valid[size // 3 :, 7:18] = torch.rand(size - size // 3, 11, generator=g) < 0.7
    n = int(valid.sum())
    points = Points(
        torch.randn(20, 8, generator=g),
        torch.randint(0, 20, (n, 3), generator=g),
        torch.rand(n, 3, generator=g) / 3,
    )
    of_image = torch.randn(tokens, tokens, 6, generator=g)
    window_ = Window(size, 0, 0, size, size)
    return Features({"rgb": of_image}, {"xyz": points}, valid, size, window_)


def whole_maps(features, size):
    every = torch.arange(size * size)
    e = rows(features, Raster(size), every)
    return {m: r.T.reshape(1, -1, size, size) for m, r in e.items()}


@pytest.mark.parametrize("size", [30, 31])
@pytest.mark.parametrize("intramodal", [False, True])
def test_what_is_cut_out_is_predicted_as_on_the_whole_map(size, intramodal):
    made, raster = frame(size), Raster(size)
    cell = foreground(made, raster)
    mappings = Mappings(6, 8, 1, "conv", intramodal)
    e = whole_maps(made, size)
    with torch.no_grad():
        whole = dict(zip(("2d", "3d"), mappings(e["2d"], e["3d"]), strict=True))
    cut = Cut.of(made, raster, cell)
    assert cut.box.right - cut.box.left < size, "a share of the map"
    psi = OnMaps(mappings).measured(made, raster, cell, ("2d", "3d"))
    for m, predicted in whole.items():
        want = predicted[0].flatten(1).T[cell].contiguous()
        with torch.no_grad():
            # Convolutions of another size may add in another order.
            torch.testing.assert_close(cut.predicted(mappings, m), want, rtol=0, atol=1e-5)
        observed = e[m][0].flatten(1).T[cell].contiguous()
        torch.testing.assert_close(cut.observed()[m], observed, rtol=0, atol=1e-6)
        # psi of unit vectors, from predictions of length about 1.
        torch.testing.assert_close(psi[m], discrepancy(want, observed)[0], rtol=0, atol=1e-5)


def test_a_prediction_depends_on_no_pixel_beyond_the_reach():
    torch.manual_seed(0)
    net, reach = ConvEncoderDecoder(3, 2), ConvEncoderDecoder.REACH
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    net(x)[0, :, 16:18, 16:18].sum().backward()
    touched = x.grad[0].abs().sum(0).nonzero()
    assert touched.min() == 16 - reach
    assert touched.max() == 17 + reach


def test_a_box_has_the_pixels_in_the_order_of_its_map():
    cell = torch.tensor([13 * 20 + 7, 14 * 20 + 19])
    box = Box.around(cell, 20)
    assert (box.top, box.left, box.bottom, box.right) == (8, 2, 20, 20)
    assert torch.equal(box.cells()[box.places(cell)], cell)
    laid = box.laid_out(box.cells()[:, None].float())
    assert laid[0, 0, 5, 5] == 13 * 20 + 7


def test_no_pixel_gives_empty_maps():
    made, raster = frame(30), Raster(30)
    measured = OnMaps(Mappings(6, 8, 1, "conv")).measured
    assert len(measured(made, raster, torch.zeros(0, dtype=torch.int64), ("2d",))["2d"]) == 0


@pytest.mark.parametrize("pixels", [1, 10, 49, 10_000])
def test_a_window_is_a_square_of_the_foreground_with_at_most_so_many_pixels(pixels):
    size, g = 30, torch.Generator().manual_seed(0)
    cell = foreground(frame(size), Raster(size))
    seen = set()
    for _ in range(60):
        drawn = window(cell, size, pixels, g)
        assert 1 <= len(drawn) <= pixels
        assert set(drawn.tolist()) <= set(cell.tolist())
        row, column = drawn // size, drawn % size
        side = int(pixels**0.5)
        assert max(row.max() - row.min(), column.max() - column.min()) < side
        seen |= set(drawn.tolist())
    if pixels > 1:
        assert len(seen) > 0.8 * len(cell), "every part of the foreground has its turn"
