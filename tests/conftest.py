import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fixtures_dir():
    """Arrays that the published implementations produced."""
    if not os.environ.get("CMAD_FIXTURES"):
        pytest.skip("CMAD_FIXTURES names no directory of published arrays")
    return Path(os.environ["CMAD_FIXTURES"])
