"""Gives the test run a data folder of its own. A pytest plugin, because it must be loaded before
pytest-django reads the settings, which is before any conftest.py."""

import os
import shutil
import tempfile
from pathlib import Path

DATA = Path(tempfile.mkdtemp(prefix="sluice-test-"))
# Apart from the data, because the users of jobs must get to it where the tests run as root.
WORKSPACES = Path(tempfile.mkdtemp(prefix="sluice-test-jobs-"))
WORKSPACES.chmod(0o711)
os.environ["SLUICE_DATA"] = str(DATA)
os.environ["SLUICE_WORKSPACES"] = str(WORKSPACES)
os.environ.setdefault("SLUICE_LOG_LEVEL", "CRITICAL")


def pytest_unconfigure() -> None:
    for folder in (DATA, WORKSPACES):
        shutil.rmtree(folder, ignore_errors=True)
