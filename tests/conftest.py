import importlib
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fixtures_dir():
    """Arrays that the published implementations produced."""
    if not os.environ.get("CMAD_FIXTURES"):
        pytest.skip("CMAD_FIXTURES names no directory of published arrays")
    return Path(os.environ["CMAD_FIXTURES"])


@pytest.fixture(scope="session")
def open3d():
    """The module, an extra that also needs system libraries."""
    try:
        return importlib.import_module("open3d")
    except (ImportError, OSError) as error:
        pytest.skip(f"open3d, an extra, cannot be imported: {error}")
