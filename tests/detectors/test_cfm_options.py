"""CFM's options: networks, within the modalities, aggregation, discrepancy."""

import copy

import numpy as np
import pytest
import torch

import cmad
import cmad.nn.folded
from cmad.nn.folded import FoldedMappings, PlainMappings
from cmad.nn.on_maps import OnMaps
from cmad.ops import discrepancy
from cmad.rasters import foreground, rows

KINDS = ("mlp", "encoder_decoder", "conv")


def features_of(detector, part):
    return detector.pipeline.features([detector.pipeline.frame(part)])[0]


@pytest.mark.parametrize("intramodal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_network_learns_and_a_planted_dent_scores_highest(
    kind, intramodal, untrained, parts, make
):
    detector = untrained(mapping=kind, intramodal=intramodal)
    how = {"epochs": 30, "batch_size": 1, "pixels_per_image": 200, "progress": False}
    detector.fit(parts[:3], **how)
    assert sum(detector.losses[-1]) < 0.5 * sum(detector.losses[0])
    good = [float(detector.predict(p.rgb, p.xyz)) for p in (make["part"](s) for s in range(20, 24))]
    dented = [make["part"](s, "dent") for s in range(30, 33)]
    assert min(float(detector.predict(p.rgb, p.xyz)) for p in dented) > max(good)
    names = {name.split(".")[0] for name in detector.tensors()}
    want = ("CFM_2Dto2D", "CFM_3Dto3D") if intramodal else ("CFM_2Dto3D", "CFM_3Dto2D")
    assert names == set(want)


@pytest.mark.parametrize("intramodal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_discrepancies_are_those_of_the_networks(kind, intramodal, untrained, parts):
    detector = untrained(mapping=kind, intramodal=intramodal)
    detector.fit(parts[:2], epochs=2, pixels_per_image=100, progress=False)
    features, size = features_of(detector, parts[3]), detector.raster.size
    cell = foreground(features, detector.raster)
    every = torch.arange(size * size)
    e = rows(features, detector.raster, every)
    given = {m: r.T.reshape(1, -1, size, size) if kind == "conv" else r for m, r in e.items()}
    with torch.no_grad():
        predicted = detector.mappings(given["2d"], given["3d"])
    for m, f in zip(("2d", "3d"), predicted, strict=True):
        of_rows = (f[0].flatten(1).T if kind == "conv" else f)[cell].contiguous()
        want = discrepancy(of_rows, e[m][cell])[0]
        alone = detector.measured(features, (m,))
        assert set(alone) == {m}
        for psi in (detector.discrepancies(features)[("2d", "3d").index(m)], alone[m]):
            # float32, multiplied out in another order.
            torch.testing.assert_close(psi.flatten()[cell], want, rtol=0, atol=5e-6)
            assert not psi.flatten()[torch.isin(every, cell, invert=True)].any()


@pytest.mark.parametrize("aggregation", ["product", "sum", "max", "2d", "3d"])
@pytest.mark.parametrize("how", ["euclidean", "cosine"])
def test_a_map_is_the_aggregated_discrepancies(aggregation, how, trained, untrained, parts):
    detector = untrained(aggregation=aggregation, discrepancy=how)
    detector.mappings, detector.pipeline = trained.mappings, trained.pipeline
    features = features_of(trained, parts[0])
    psi = {m: v.clone() for m, v in trained.measured(features, ("2d", "3d")).items()}
    if how == "cosine":
        e = rows(features, trained.raster)
        cell = foreground(features, trained.raster)
        with torch.no_grad():
            predicted = trained.mappings(e["2d"], e["3d"])
        for m, f in zip(("2d", "3d"), predicted, strict=True):
            psi[m].view(-1)[cell] = discrepancy(f, e[m])[1]
    fused = {
        "product": psi["2d"] * psi["3d"],
        "sum": psi["2d"] + psi["3d"],
        "max": torch.maximum(psi["2d"], psi["3d"]),
        **psi,
    }[aggregation]
    grid = detector.maps(features)
    want = cmad.ops.smooth(fused[None])[0].numpy()
    # 1 - a.b cancels, half the squared distance does not: 1e-7 of 1.
    np.testing.assert_allclose(grid.map, want, rtol=1e-5, atol=2e-6)
    assert grid.score == pytest.approx(float(want.max()), rel=1e-5, abs=2e-6)
    assert set(grid.maps) == ({aggregation} if aggregation in psi else {"2d", "3d"})


@pytest.mark.parametrize("alone", ["2d", "3d"])
def test_the_direction_that_is_not_aggregated_is_not_computed(
    alone, trained, untrained, parts, monkeypatch
):
    applied = []
    inner = cmad.nn.folded.apply
    monkeypatch.setattr(
        cmad.nn.folded, "apply", lambda *args: applied.append(args[0].dims) or inner(*args)
    )
    detector = untrained(aggregation=alone)
    detector.mappings, detector.pipeline = trained.mappings, trained.pipeline
    dims = detector.pipeline.dims()
    features = features_of(trained, parts[0])
    form = detector._form(detector.mappings)
    detector._measure, applied[:] = form, []
    detector.maps(features)
    other = "3d" if alone == "2d" else "2d"
    assert applied == [(dims[other], dims[alone])]
    without = copy.deepcopy(detector.mappings)
    delattr(without, f"CFM_{alone.upper()}to{other.upper()}")
    detector._measure = PlainMappings(without)
    detector.maps(features)


def test_the_folded_form_is_taken_where_it_applies(untrained):
    forms = {
        (kind, intramodal): type(d._form(d._untrained().eval()))
        for kind in KINDS
        for intramodal in (False, True)
        for d in [untrained(mapping=kind, intramodal=intramodal)]
    }
    assert [k for k, form in forms.items() if form is FoldedMappings] == [("mlp", False)]
    assert {form for (kind, _), form in forms.items() if kind == "conv"} == {OnMaps}


@pytest.mark.parametrize("alone", ["2d", "3d"])
def test_a_detector_by_one_map_decides_and_finds_regions(alone, untrained, parts, make, tmp_path):
    detector = untrained(aggregation=alone)
    detector.fit(parts, epochs=40, pixels_per_image=200, progress=False)
    detector.calibrate([make["part"](s) for s in range(40, 49)], 0.1, progress=False)
    assert set(detector.calibration.map_thresholds) == {alone}
    dent = make["part"](50, "dent")
    got = detector.predict(dent.rgb, dent.xyz)
    assert got.rejected is True
    assert got.regions
    detector.save(tmp_path / "a.cmad")
    loaded = cmad.load(tmp_path / "a.cmad", **detector.pipeline.extractors)
    again = loaded.predict(dent.rgb, dent.xyz)
    assert (again.score, again.regions) == (got.score, got.regions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mapping": "cnn"}, "mapping must be one of 'mlp', 'encoder_decoder', 'conv', got 'cnn'"),
        ({"intramodal": "yes"}, "intramodal must be one of False, True, got 'yes'"),
        (
            {"aggregation": "min"},
            "aggregation must be one of 'product', 'sum', 'max', '2d', '3d', got 'min'",
        ),
        (
            {"discrepancy": "l1"},
            "discrepancy must be one of 'euclidean', 'cosine', got 'l1'",
        ),
    ],
)
def test_wrong_values_are_named_with_the_choices(options, message, untrained):
    with pytest.raises(ValueError, match=f"CFM: {message}"):
        untrained(**options)


def test_weights_of_other_networks_do_not_fit(untrained, parts):
    fitted = untrained(mapping="encoder_decoder").fit(parts[:1], epochs=1, pixels_per_image=10)
    other = untrained()
    with pytest.raises(ValueError, match="CFM: mapping weights must fit features 32 and 12 wide"):
        other.take(fitted.tensors())
