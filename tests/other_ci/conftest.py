"""Sluice on a real port, and a build that knows where it is."""

from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from tests.cast import Site, token_of
from tests.other_ci.building import Build


@pytest.fixture
def build(live_server: LiveServer, site: Site, tmp_path: Path) -> Build:
    """ada's, who may report runs."""
    return Build(tmp_path, live_server.url, token_of(site.cast.ada))
