"""Gives the test run a data folder of its own. A pytest plugin, because it must be loaded before
pytest-django reads the settings, which is before any conftest.py."""

import os
import shutil
import tempfile
from pathlib import Path

DATA = Path(tempfile.mkdtemp(prefix="sluice-test-"))
os.environ["SLUICE_DATA"] = str(DATA)
os.environ.setdefault("SLUICE_LOG_LEVEL", "CRITICAL")


def pytest_unconfigure() -> None:
    shutil.rmtree(DATA, ignore_errors=True)
