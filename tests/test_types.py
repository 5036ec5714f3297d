"""Dataclasses that hold arrays are compared by identity: equal arrays have no single truth."""

import collections.abc
import dataclasses
import importlib
import pkgutil
import typing

import numpy as np
import pytest
import torch

import cmad
from cmad.types import Prediction, Region, Sample, Window


def dataclasses_of_the_package():
    for module in pkgutil.walk_packages(cmad.__path__, "cmad."):
        if "._native" in module.name or module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if dataclasses.is_dataclass(value) and value.__module__ == module.name:
                yield value


def holds_arrays(annotation):
    """Whether a type is an array or tensor, or a container or union of them."""
    kind = typing.get_origin(annotation) or annotation
    if isinstance(kind, type) and issubclass(kind, (np.ndarray, torch.Tensor)):
        return True
    if kind is collections.abc.Callable:
        return False
    return any(holds_arrays(inside) for inside in typing.get_args(annotation))


CLASSES = sorted(dataclasses_of_the_package(), key=lambda kind: kind.__qualname__)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__qualname__)
def test_what_holds_arrays_is_compared_by_identity(kind):
    hints = typing.get_type_hints(kind)
    if any(holds_arrays(hints[field.name]) for field in dataclasses.fields(kind)):
        assert not kind.__dataclass_params__.eq, "needs @dataclass(eq=False): it holds arrays"


def test_the_walk_finds_what_holds_arrays():
    found = {
        kind.__name__
        for kind in CLASSES
        if any(map(holds_arrays, typing.get_type_hints(kind).values()))
    }
    known = {"Sample", "Frame", "PixelWeights", "Points", "Features", "Prediction", "Pixels"}
    assert known <= found
    assert not {"Region", "Window", "Calibration"} & found


def test_samples_can_be_looked_for_and_counted():
    samples = [Sample(np.zeros((2, 2, 3)), torch.zeros(2, 2, 3)) for _ in range(3)]
    assert samples[1] in samples
    assert samples.index(samples[2]) == 2
    assert samples[0] != Sample(samples[0].rgb, samples[0].xyz)
    assert len({*samples, samples[0]}) == 3


def test_plain_values_are_compared_by_value():
    assert Window(4, 0, 0, 4, 4) == Window(4, 0, 0, 4, 4)
    region = Region((0, 0, 1, 1), 1, None, None, 2.0, (0, 0), None, {})
    assert region == dataclasses.replace(region)


@pytest.mark.parametrize(
    ("score", "threshold", "inspected", "verdict", "rejected"),
    [
        (1.0, 2.0, True, "accepted", False),
        (2.0, 2.0, True, "accepted", False),
        (3.0, 2.0, True, "rejected", True),
        (3.0, 2.0, False, "rejected", True),
        (1.0, 2.0, False, "not inspected", True),
        (float("nan"), 2.0, True, "rejected", True),
        (1.0, None, True, None, None),
        (1.0, None, False, "not inspected", None),
    ],
)
def test_a_part_that_is_not_inspected_never_passes(score, threshold, inspected, verdict, rejected):
    made = Prediction(score, np.zeros((2, 2)), threshold=threshold, inspected=inspected)
    assert made.verdict == verdict
    assert made.rejected is rejected
