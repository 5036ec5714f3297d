import time

import pytest


@pytest.fixture
def fastest():
    """Processor seconds, which others change little: of the fastest of interleaved runs of each."""

    def measure(*functions, runs=5):
        seconds = [[] for _ in functions]
        for _ in range(runs):
            for function, taken in zip(functions, seconds, strict=True):
                start = time.process_time()
                function()
                taken.append(time.process_time() - start)
        return [min(taken) for taken in seconds]

    return measure
