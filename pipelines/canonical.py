"""Canonical forms: one value, one text, one digest (RFC 8785). Pure."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import rfc8785


def canonical(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value. Raises ValueError for what JSON cannot hold exactly."""
    return rfc8785.dumps(value)


def digest(data: bytes) -> str:
    """`sha256:` and the hex digest of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: one moment, one text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True, order=True)
class ManifestFile:
    """What a manifest says of one file: its bytes, its size in bytes, and whether it may run."""

    path: str
    sha256: str
    size: int
    executable: bool = False


def files_manifest(files: Iterable[ManifestFile]) -> bytes:
    """The canonical manifest of a set of files: its digest is their identity."""
    return canonical(
        {
            "files": [
                {
                    "executable": file.executable,
                    "path": file.path,
                    "sha256": file.sha256,
                    "size": file.size,
                }
                for file in sorted(files)
            ],
            "kind": "files",
        }
    )


def image_manifest(image_digest: str) -> bytes:
    """The canonical manifest of an image: the digest that its registry knows it by."""
    return canonical({"digest": image_digest, "kind": "image"})
