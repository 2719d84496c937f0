"""What is stored, looked at and harmed past the code that keeps it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from django.conf import settings

from pipelines.models import Blob
from tests.parts.s3 import Server
from tests.world import stored_files


class Place(Protocol):
    def names(self) -> list[str]: ...

    def read(self, blob: Blob) -> bytes: ...

    def overwrite(self, blob: Blob, data: bytes) -> None: ...

    def lose(self, blob: Blob) -> None: ...


class Folder:
    top = Path(settings.DATA_DIR) / "blobs"

    def names(self) -> list[str]:
        return [name for name, _ in stored_files()]

    def read(self, blob: Blob) -> bytes:
        return (self.top / blob.storage_name).read_bytes()

    def overwrite(self, blob: Blob, data: bytes) -> None:
        (self.top / blob.storage_name).write_bytes(data)

    def lose(self, blob: Blob) -> None:
        (self.top / blob.storage_name).unlink()


@dataclass(frozen=True)
class Bucket:
    server: Server
    name: str
    prefix: str = "blobs"

    def names(self) -> list[str]:
        pages = self.server.client().get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def unfinished(self) -> list[str]:
        listed = self.server.client().list_multipart_uploads(Bucket=self.name)
        return [each["Key"] for each in listed.get("Uploads", ())]

    def read(self, blob: Blob) -> bytes:
        got = self.server.client().get_object(Bucket=self.name, Key=self._key(blob))
        data: bytes = got["Body"].read()
        return data

    def overwrite(self, blob: Blob, data: bytes) -> None:
        self.server.client().put_object(Bucket=self.name, Key=self._key(blob), Body=data)

    def lose(self, blob: Blob) -> None:
        self.server.client().delete_object(Bucket=self.name, Key=self._key(blob))

    def _key(self, blob: Blob) -> str:
        return f"{self.prefix}/{blob.storage_name}"
