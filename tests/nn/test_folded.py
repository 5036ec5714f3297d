"""CFM's folded mappings against the plain networks, and several extractors of a modality."""

import warnings

import pytest
import torch

import cmad.nn.folded
from cmad.nn import Mappings
from cmad.nn.folded import (
    FoldedMappings,
    PlainMappings,
    channel_sums,
    discrepancies_of,
)
from cmad.rasters import Raster, foreground, interpolated, rows, spread
from cmad.types import Features, Points, Window


def features(extractors, size=20):
    """Tokens and points of several extractors, of several widths and grids."""
    g = torch.Generator().manual_seed(0)
    valid = torch.rand(size, size, generator=g) < 0.5
    n = int(valid.sum())
    points = {
        f"xyz{i}": Points(
            torch.randn(30 + i, 12 + 5 * i, generator=g),
            torch.randint(0, 30, (n, 3), generator=g),
            torch.rand(n, 3, generator=g) / 3,
        )
        for i in range(extractors)
    }
    tokens = {f"rgb{i}": torch.randn(4 + i, 5, 16 + i, generator=g) for i in range(extractors)}
    return Features(tokens, points, valid, size, Window(size, 0, 0, size, size), "part")


@pytest.mark.parametrize("extractors", [1, 2, 3])
def test_folded_and_plain_agree_on_a_frame(extractors):
    made, raster = features(extractors), Raster(20)
    cell = foreground(made, raster)
    e = spread(made, raster, cell)
    for modality, plain in rows(made, raster, cell).items():
        # Sums of up to a dozen float32 products of size 1, in the same order but for zeros between.
        torch.testing.assert_close(interpolated(e[modality]), plain, rtol=0, atol=1e-6)
    mappings = Mappings(e["2d"].features.shape[1], e["3d"].features.shape[1], seed=1).eval()
    want = PlainMappings(mappings)(e["2d"], e["3d"])
    for precision, limit in (
        (torch.float32, 2e-6),  # multiplied out in another order
        (torch.float16, 2e-6),  # computed in float32
        (torch.bfloat16, 6e-3),  # weights and activations with eight binary digits
    ):
        measure = discrepancies_of(mappings, precision)
        assert isinstance(measure, FoldedMappings)
        for w, got in zip(want, measure(e["2d"], e["3d"]), strict=True):
            assert float(w.min()) > 0.1
            torch.testing.assert_close(got, w, rtol=0, atol=limit)


def test_directions_are_not_exchanged():
    """The 2D map changes with the network that predicts 2D features, the 3D map with the other."""
    made, raster = features(1), Raster(20)
    cell = foreground(made, raster)
    e = spread(made, raster, cell)
    mappings = Mappings(16, 12, seed=1)
    before = FoldedMappings(mappings, torch.float32)(e["2d"], e["3d"])
    with torch.no_grad():
        mappings.CFM_3Dto2D.output.bias += 1
    after = FoldedMappings(mappings, torch.float32)(e["2d"], e["3d"])
    assert float((after[0] - before[0]).abs().min()) > 1e-3
    assert torch.equal(after[1], before[1])


def test_no_pixel_gives_empty_maps():
    made, raster = features(1), Raster(20)
    e = spread(made, raster, torch.zeros(0, dtype=torch.int64))
    mappings = Mappings(16, 12, seed=1)
    for form in (FoldedMappings(mappings, torch.float32), PlainMappings(mappings)):
        assert [len(psi) for psi in form(e["2d"], e["3d"])] == [0, 0]


def test_plain_form_maps_chunk_by_chunk(monkeypatch):
    made, raster = features(2), Raster(20)
    e = spread(made, raster, foreground(made, raster))
    mappings = Mappings(e["2d"].features.shape[1], e["3d"].features.shape[1], seed=1)
    whole = PlainMappings(mappings)(e["2d"], e["3d"])
    monkeypatch.setattr(cmad.nn.folded, "CHUNK", 37)
    for w, got in zip(whole, PlainMappings(mappings)(e["2d"], e["3d"]), strict=True):
        # Products of another number of rows may add in another order.
        torch.testing.assert_close(got, w, rtol=0, atol=1e-6)


def test_networks_that_do_not_fold_are_measured_plainly_with_a_word():
    """A last layer whose outputs cancel in float32, wherever they are added up differently."""
    mappings = Mappings(16, 12, seed=1)
    with torch.no_grad():
        last = mappings.CFM_2Dto3D.output
        last.weight[:] = 3e5 * torch.ones(12, 1) + last.weight * 1e-3
        h = mappings.CFM_2Dto3D.projection
        h.weight.zero_()
        h.bias[:] = torch.linspace(0.5, 1.5, 14)
        gelu = torch.nn.functional.gelu(h.bias)
        last.bias[:] = -(last.weight.double() @ gelu.double()).float()
    with pytest.warns(UserWarning, match="the mapping networks do not fold without loss of accur"):
        measure = discrepancies_of(mappings, torch.float32)
    assert isinstance(measure, PlainMappings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        discrepancies_of(Mappings(16, 12, seed=1), torch.float32)


def test_channel_sums_are_those_of_the_rows():
    made, raster = features(2), Raster(20)
    cell = foreground(made, raster)
    want = rows(made, raster, cell)["3d"].sum(1, keepdim=True)
    # Some thirty float32 channels of size 1, added before or after the interpolation.
    torch.testing.assert_close(
        channel_sums(spread(made, raster, cell)["3d"]), want, rtol=0, atol=1e-5
    )
