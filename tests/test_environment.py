"""What is told of the machine, and how memory is measured."""

import json
import subprocess
import sys

import pytest

from cmad.environment import environment


def test_the_environment_is_fit_for_json_and_names_what_matters():
    about = environment()
    assert json.loads(json.dumps(about)) == about
    assert about["versions"]["torch"]
    assert about["cores"] >= 1
    assert 0.1 < about["memory GB"] < 1e5


PEAKS = """
import numpy as np
from cmad.environment import forget_peak, peak_memory

np.ones(4)
forget_peak()
peaks = [peak_memory()]
held = np.ones(200 << 17)  # 200 MB
peaks.append(peak_memory())
del held
peaks.append(peak_memory())
forget_peak()
print(*peaks, peak_memory())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can forget a peak")
def test_the_peak_of_memory_grows_with_what_is_held_and_is_forgotten():
    # In a process of its own: what other tests leave behind is freed at any time.
    ran = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    before, with_it, without_it, forgotten = map(float, ran.stdout.split())
    assert with_it - before == pytest.approx(200, abs=10)
    assert without_it == pytest.approx(with_it, abs=1)
    assert forgotten < with_it - 150
