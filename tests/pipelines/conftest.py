"""Where the bytes lie: in a folder, and in a bucket of a real server."""

from collections.abc import Iterator

import pytest

from tests.parts import s3
from tests.pipelines.stored import Bucket, Folder, Place


@pytest.fixture(scope="session")
def s3_server() -> Iterator[s3.Server]:
    with s3.server() as running:
        yield running


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The site's storage of blobs, empty where it is a bucket."""
    if request.param == "folder":
        yield Folder()
        return
    running: s3.Server = request.getfixturevalue("s3_server")
    bucket = Bucket(running, running.bucket())
    with s3.storages_of(blobs=s3.in_settings(running.endpoint, bucket.name)):
        yield bucket
