"""What is told of the machine, and how memory is measured."""

import json
import sys

import numpy as np
import pytest

from cmad.environment import environment, forget_peak, peak_memory


def test_the_environment_is_fit_for_json_and_names_what_matters():
    about = environment()
    assert json.loads(json.dumps(about)) == about
    assert about["versions"]["torch"]
    assert about["cores"] >= 1
    assert 0.1 < about["memory GB"] < 1e5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can forget a peak")
def test_the_peak_of_memory_grows_with_what_is_held_and_is_forgotten():
    forget_peak()
    before = peak_memory()
    held = np.ones(200 << 17)  # 200 MB
    with_it = peak_memory()
    assert with_it - before == pytest.approx(200, abs=10)
    del held
    assert peak_memory() == pytest.approx(with_it, abs=1)
    forget_peak()
    assert peak_memory() < with_it - 150
