"""A whole part judged by the CUDA kernels, which the emulator runs on the CPU's tensors."""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest

import cmad
from cmad.ops import _call
from cmad.testing.devices import EMULATED

pytestmark = pytest.mark.skipif(
    find_spec(EMULATED) is None, reason="the emulator is not built (cmake -DCMAD_EMULATE=ON)"
)


@pytest.fixture
def by_kernels(monkeypatch):
    """Send ops to their kernels. Returns who was called."""
    emulated = import_module(EMULATED)
    emulated._seed(0)
    called, module = [], ModuleType("by_kernels")

    def named(name):
        called.append(name)
        return getattr(emulated, name)

    vars(module)["__getattr__"] = named
    monkeypatch.setitem(sys.modules, "by_kernels", module)
    return lambda: monkeypatch.setitem(_call.MODULES, "cpu", "by_kernels") or called


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_a_part_is_judged_by_the_kernels_as_by_the_cpu(by_kernels, make, preset):
    def judged():
        detector = cmad.CFM(
            rgb=make["vit"](),
            xyz=cmad.extractors.PointMAE(
                groups=24, group_size=8, dim=12, heads=2, blocks=1, weights="random"
            ),
            image_size=32,
            rgb_size=None,
            preset=preset,
        )
        frame = detector.pipeline.frame(make["part"](0))
        detector.pipeline, _ = detector.pipeline.with_statistics([frame])
        detector._accept(detector._untrained().state_dict())
        return detector.judge(detector.pipeline.features([frame])[0])

    want = judged()
    called = by_kernels()
    got = judged()
    wanted = {"fps", "group", "three_nn", "pixel_weights", "mapping_discrepancy", "smooth"}
    assert wanted <= {*called}
    assert np.array_equal(got.map > 0, want.map > 0)
    # Sums of float32 in another order, and for small psi differences of nearly equal numbers.
    assert got.score == pytest.approx(want.score, rel=1e-4)
    for name, values in want.maps.items():
        # Sums in another order; psi is a difference of unit vectors.
        np.testing.assert_allclose(got.maps[name], values, rtol=1e-4, atol=2e-6)
