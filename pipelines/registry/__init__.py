"""Registries of images: what a name stands for right now, after the OCI distribution protocol, and
copies of whole images from one to another.

    image = registry.parse("registry.example.com/team/app:1.0")
    registry.digest_of(image, credentials)        # sha256:…, as the registry reports it
    registry.tags(image, credentials)             # every tag of the repository
    registry.copy(image, target, source_login=…, target_login=…, tags=["1.0"])

What was asked for is compared with what came back, always: nothing is taken on a registry's word.
"""

from pipelines.registry.copying import Copied, copy
from pipelines.registry.gathering import Gathered, gather
from pipelines.registry.manifests import Descriptor, Manifest
from pipelines.registry.naming import (
    EXAMPLE,
    HUB,
    Credentials,
    CredentialsRefused,
    ImageName,
    has_host,
    host_of,
    is_plain,
    parse,
)
from pipelines.registry.reading import check_login, digest_of, manifest_of, platform_of, tags

__all__ = [
    "EXAMPLE",
    "HUB",
    "Copied",
    "Credentials",
    "CredentialsRefused",
    "Descriptor",
    "Gathered",
    "ImageName",
    "Manifest",
    "check_login",
    "copy",
    "digest_of",
    "gather",
    "has_host",
    "host_of",
    "is_plain",
    "manifest_of",
    "parse",
    "platform_of",
    "tags",
]
