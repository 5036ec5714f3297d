"""A detector's work on a GPU, on one that is not there: see `cmad.testing.pretended`.

Every tensor is made where it belongs, and from the second batch on nothing waits for the GPU but
the one download at the end.
"""

import pytest
import torch

import cmad
from cmad import gpu, rasters
from cmad.detectors._training import train
from cmad.ops import smooth as smoothing
from cmad.store import FeatureStore
from cmad.testing.pretended import DEVICE, WaitedError, pretended

KEPT = (rasters.smoothing_taps, rasters.token_taps, gpu._side_stream)


@pytest.fixture
def machine():
    """A GPU that is not there; what functions keep for it is forgotten afterwards."""
    kept = [*KEPT, smoothing.__globals__["_on_device"]]
    with pretended() as found:
        yield found
    for function in kept:
        function.cache_clear()


def on_gpu(make, method=cmad.CFM, **options):
    """A detector there, with what it learns drawn."""
    return method(
        rgb=make["vit"](), xyz=make["point_mae"](), image_size=48, device="cuda", **options
    )


def drawn(detector):
    shapes = {name: t.shape for name, t in detector._untrained().state_dict().items()}
    detector._accept({name: torch.zeros(shape) for name, shape in shapes.items()})
    return detector


@pytest.mark.parametrize(
    ("preset", "precision"),
    [("paper", "auto"), ("paper", "fp32"), ("paper", "bf16"), ("official", "auto")],
)
def test_a_batch_goes_up_and_down_once_and_nothing_else_waits(
    machine, make, parts, precision, preset
):
    detector = drawn(on_gpu(make, precision=precision, preset=preset))
    detector.grids(parts[:1])  # the first makes what is kept
    with machine.strict():
        grids = detector.grids(parts[:2])
    assert [grid.name for grid in grids] == [part.name for part in parts[:2]]
    assert grids[0].map.shape == (48, 48)
    assert len(machine.downloads) == 1
    # Images and clouds; where each cloud begins; for each part its cells and valid pixels.
    assert machine.uploads == [4, 1, *[1, 1] * 2]
    each = ["pixel_weights_start", "pixel_weights", "interpolate", *["mapping_discrepancy"] * 2]
    smoothed = ["smooth"] * (1 if preset == "paper" else 8)
    assert machine.launches == ["fps", "group", "three_nn", *[*each, *smoothed] * 2]


def test_clouds_of_different_sizes_go_together(machine, make, parts):
    detector = drawn(on_gpu(make))
    other = parts[1]
    xyz = other.xyz.copy()
    xyz[20:26] = 0
    mixed = [parts[0], cmad.Sample(other.rgb, xyz, name="fewer")]
    detector.grids(mixed)
    with machine.strict():
        frames = [detector.pipeline.frame(sample) for sample in mixed]
        features = detector.pipeline.features(frames)
    counts = [len(one.points["xyz"].neighbour) for one in features]
    assert counts == [int(frame.valid.sum()) for frame in frames]
    assert counts[0] != counts[1]
    assert machine.launches == ["fps", "group", "three_nn"]


@pytest.mark.parametrize(("precision", "want"), [("auto", torch.float16), ("fp32", torch.float32)])
def test_both_extractors_compute_in_the_precision_that_is_asked_for(
    machine, make, parts, monkeypatch, precision, want
):
    seen = []

    def linear(x, weight, bias):
        with torch.no_grad():
            made = torch.nn.functional.linear(x, weight, bias)
        seen.append(made.dtype)
        return made

    for module in ("vit_network", "point_mae_network"):
        monkeypatch.setattr(f"cmad.extractors.{module}.linear", linear)
    detector = on_gpu(make, precision=precision)
    found = detector.pipeline.features([detector.pipeline.frame(parts[0])])[0]
    in_full = seen.count(torch.float32)
    # In full: what takes the points' coordinates in the encoder's first layer.
    assert in_full == (1 if want == torch.float16 else len(seen))
    assert {seen[-1], want} == {want}
    assert found.tokens["rgb"].dtype == found.points["xyz"].features.dtype == torch.float32
    assert found.tokens["rgb"].device == found.points["xyz"].weight.device == DEVICE
    assert found.valid.device.type == "cpu"


@pytest.mark.parametrize("method", [cmad.PatchCore, cmad.G2SF])
@pytest.mark.parametrize("preset", ["paper", "official"])
def test_methods_with_banks_make_every_tensor_where_it_belongs(
    machine, make, parts, method, preset
):
    """These wait: for the rows that a search has to measure again, and for 8 bits."""
    of_cpu = method(
        rgb=make["vit"](), xyz=make["point_mae"](), image_size=48, preset=preset, **quick(method)
    )
    detector = on_gpu(make, method, preset=preset, **quick(method))
    detector._accept(banks(of_cpu))
    grid = detector.grids(parts[:1])[0]
    assert grid.map.shape == (48, 48)
    assert "knn" in machine.launches


def quick(method):
    return {"cells": 12} if method is cmad.G2SF else {"cells_2d": 12, "cells_3d": 12}


def banks(detector):
    """What it learns, drawn on the CPU."""
    dims = detector.pipeline.dims()
    found = {}
    for name, dim in dims.items():
        found[f"{name}.rows"] = torch.randn(70, dim)
        numbers = 3 if detector.who == "G2SF" else 2
        found[f"{name}.scale"] = torch.ones(numbers, dtype=torch.float64)
    if detector.who == "G2SF":
        nets = zip(("lspn", "scales"), detector._untrained(), strict=True)
        found |= {f"{n}.{k}": t.detach() for n, net in nets for k, t in net.state_dict().items()}
    return found


@pytest.mark.parametrize("precision", [torch.float32, torch.float16, torch.bfloat16])
def test_a_training_step_waits_for_nothing(machine, make, parts, precision):
    detector = on_gpu(make)
    frames = [detector.pipeline.frame(part) for part in parts[:3]]
    with FeatureStore(torch.float16, device=DEVICE) as store:
        for features in detector.pipeline.features(frames):
            store.append(features)
        assert store.on_device > 0
        assert store.nbytes == 0

        def run():
            losses, _ = train(
                detector._untrained(),
                store,
                detector.raster,
                epochs=1,
                pixels_per_image=20,
                batch_size=2,
                shuffle=True,
                seed=0,
                precision=precision,
                device=DEVICE,
                step=lambda _: None,
            )
            assert len(losses) == 2

        run()
        mappings = detector._untrained()
        monkeypatched = pytest.MonkeyPatch()
        monkeypatched.setattr(detector, "_untrained", lambda: mappings)
        with machine.strict():
            run()
        monkeypatched.undo()
    assert machine.downloads == [1]


def test_features_beyond_the_gpus_memory_go_to_the_cpu_and_come_back(machine, make, parts):
    detector = on_gpu(make)
    features = detector.pipeline.features([detector.pipeline.frame(parts[0])])[0]
    with FeatureStore(torch.float16, device=DEVICE) as store:
        store._room = 0
        store.append(features)
        assert store.on_device == 0
        assert store.nbytes > 0
        assert store[0].device == DEVICE
        assert store[0].points["xyz"].neighbour.shape == features.points["xyz"].neighbour.shape


def test_the_pretended_gpu_finds_what_waits(machine):
    """What the tests above rest on."""
    x = machine.there(torch.zeros(3))
    with machine.strict():
        for wait in (
            lambda: x.sum().item(),
            lambda: float(x.sum()),
            lambda: bool((x > 0).all()),
            lambda: x.cpu(),
            lambda: x.to("cpu"),
            lambda: x.tolist(),
            lambda: x[x > 0],
            lambda: torch.ones(3).to(DEVICE),
            lambda: torch.tensor([1.0, 2.0], device=DEVICE),
            lambda: x.copy_(torch.ones(3)),
        ):
            with pytest.raises(WaitedError):
                wait()
        with pytest.raises(Exception, match="nonzero"):
            x.nonzero()
    with pytest.raises(Exception, match=r"device|Fake"):
        x + torch.ones(3)


def test_a_users_own_extractor_stays_where_it_is(machine, make):
    vit = make["vit"]()
    detector = cmad.CFM(rgb=vit, xyz=make["point_mae"](), image_size=48, device="cuda")
    assert next(vit._net.parameters()).device.type == "cpu"
    assert next(detector.pipeline.extractors["rgb"]._net.parameters()).device == DEVICE


def test_compile_makes_graphs_of_both_extractors_on_a_gpu_alone(machine, make, parts):
    detector = on_gpu(make)
    assert detector.compile() is detector
    assert all(e._forward is not None for e in detector.pipeline.extractors.values())
    own = drawn(detector)
    own.grids(parts[:1])  # before there is a graph
    on_cpu = cmad.CFM(rgb=make["vit"](), xyz=make["point_mae"](), image_size=48).compile()
    assert all(e._forward is None for e in on_cpu.pipeline.extractors.values())
