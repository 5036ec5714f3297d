import time

import pytest


@pytest.fixture
def fastest():
    """Seconds of the fastest of several interleaved runs of each function."""

    def measure(*functions, runs=5):
        seconds = [[] for _ in functions]
        for _ in range(runs):
            for function, taken in zip(functions, seconds, strict=True):
                start = time.perf_counter()
                function()
                taken.append(time.perf_counter() - start)
        return [min(taken) for taken in seconds]

    return measure
