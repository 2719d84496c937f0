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

# Processes that test side by side give their jobs users of their own: one that is taken would be
# passed over, and the next job of the same pipeline could not write where the last one did.
_first, _last = map(int, os.environ.get("SLUICE_STEP_USERS", "60100-60899").split("-"))
_share = (_last - _first + 1) // 4
_mine = _first + _share * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 4)
os.environ["SLUICE_STEP_USERS"] = f"{_mine}-{_mine + _share - 1}"


def pytest_unconfigure() -> None:
    for folder in (DATA, WORKSPACES):
        shutil.rmtree(folder, ignore_errors=True)
