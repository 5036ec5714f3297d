"""A detector on a GPU gives what it gives on the CPU, within what its precision leaves."""

import numpy as np
import pytest

import cmad
from cmad import gpu
from cmad.testing.devices import DEVICES

pytestmark = pytest.mark.skipif("cuda" not in DEVICES, reason="no GPU, or no kernels for it here")

# psi is a difference of unit vectors; float16 has 11 bits, bfloat16 8.
ALLOWED = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 5e-2}


@pytest.fixture
def there(trained, tmp_path):
    """Load the trained detector for the GPU."""
    path = tmp_path / "part.cmad"

    def load(precision):
        trained.save(path)
        detector = cmad.load(path, **trained.pipeline.extractors)
        made = cmad.CFM(**{**detector.get_params(), "device": "cuda", "precision": precision})
        made._accept(trained.tensors())
        return made

    return load


@pytest.mark.parametrize("precision", ALLOWED)
def test_maps_are_those_of_the_cpu(trained, there, parts, precision):
    for want, got in zip(trained.grids(parts), there(precision).grids(parts), strict=True):
        for name, values in want.maps.items():
            assert np.abs(got.maps[name] - values).max() < ALLOWED[precision], name
        # A product of two psi of some tenths: ten times what each is off by, relative to it.
        assert got.score == pytest.approx(want.score, rel=10 * ALLOWED[precision])


def test_a_batch_gives_what_each_part_gives_alone(there, parts):
    detector = there("fp32")
    alone = [detector.grids([part])[0] for part in parts[:3]]
    for one, other in zip(alone, detector.grids(parts[:3]), strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-4)


@pytest.mark.filterwarnings("error")  # a graph that is given up
def test_graphs_give_the_same(there, parts):
    detector = there("fp16")
    want = detector.grids(parts[:2])
    detector.compile()
    for _ in range(gpu.WARM + 3):
        got = detector.grids(parts[:2])
    for one, other in zip(want, got, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_training_gives_the_losses_of_the_cpu_and_the_same_ones_twice(make, parts, precision):
    def losses(device):
        detector = cmad.CFM(
            rgb=make["vit"](),
            xyz=make["point_mae"](),
            image_size=48,
            device=device,
            precision=precision,
        )
        detector.fit(parts, epochs=20, pixels_per_image=100)
        return np.array(detector.losses)

    of_gpu = losses("cuda")
    np.testing.assert_array_equal(of_gpu, losses("cuda"))
    tolerance = {"fp32": 1e-2, "fp16": 5e-2}[precision]  # steps of Adam part from each other
    np.testing.assert_allclose(of_gpu, losses("cpu"), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("method", [cmad.PatchCore, cmad.G2SF])
def test_methods_with_banks_judge_as_on_the_cpu(make, parts, method):
    quick = {"cells": 12} if method is cmad.G2SF else {"cells_2d": 12, "cells_3d": 12}
    training = {"epochs": 2, "synthetic_parts": 4} if method is cmad.G2SF else {}

    def made(device):
        return method(
            rgb=make["vit"](),
            xyz=make["point_mae"](),
            image_size=48,
            device=device,
            precision="fp32",
            **quick,
        )

    of_cpu = made("cpu").fit(parts, **training)
    of_gpu = made("cuda")
    of_gpu._accept(of_cpu.tensors())
    of_gpu.pipeline = of_gpu.pipeline.with_statistics([of_cpu.pipeline.frame(p) for p in parts])[0]
    for want, got in zip(of_cpu.grids(parts), of_gpu.grids(parts), strict=True):
        assert got.score == pytest.approx(want.score, rel=1e-2)
