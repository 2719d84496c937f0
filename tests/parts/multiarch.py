"""Images for several platforms, with what refers to them, pushed to a registry by plain HTTP."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.parts.registry import PASSWORD, USER

OCI = "application/vnd.oci.image"
MANIFEST, INDEX = f"{OCI}.manifest.v1+json", f"{OCI}.index.v1+json"
CONFIG, LAYER = f"{OCI}.config.v1+json", f"{OCI}.layer.v1.tar+gzip"
PLATFORMS = ("linux/amd64", "linux/arm64/v8")


@dataclass
class Pushed:
    """An image in a registry: its digest, and all that it consists of by digest."""

    name: str
    digest: str = ""
    #: The digest of each platform's manifest.
    platforms: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, int] = field(default_factory=dict)


class Pusher:
    """Pushes to one repository."""

    def __init__(self, address: str, repository: str, *, login: bool = False) -> None:
        self.name = f"{address}/{repository}"
        self._path = f"/v2/{repository}"
        self._base = f"http://{address}"
        self._auth = (USER, PASSWORD) if login else None

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        with httpx.Client(base_url=self._base, auth=self._auth, trust_env=False) as client:
            return client.request(method, path, **more)

    def blob(self, data: bytes, media_type: str = LAYER) -> dict[str, Any]:
        begun = self.ask("POST", f"{self._path}/blobs/uploads/").raise_for_status()
        where = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": sha256(data)})
        self.ask("PUT", str(where), content=data).raise_for_status()
        return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}

    def manifest(self, content: dict[str, Any], *tags: str) -> dict[str, Any]:
        """Push it by its digest and under `tags`; how others name it."""
        body = json.dumps(content).encode()
        headers = {"Content-Type": content["mediaType"]}
        for reference in (sha256(body), *tags):
            url = f"{self._path}/manifests/{reference}"
            self.ask("PUT", url, content=body, headers=headers).raise_for_status()
        return {"mediaType": content["mediaType"], "digest": sha256(body), "size": len(body)}

    def image(self, platform: str, layers: Sequence[dict[str, Any]], *tags: str) -> dict[str, Any]:
        system, architecture, *variant = platform.split("/")
        built = {"os": system, "architecture": architecture, "rootfs": {"type": "layers"}}
        config = self.blob(json.dumps(built | {"x": os.urandom(4).hex()}).encode(), CONFIG)
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": list(layers),
        }
        named = {"os": system, "architecture": architecture}
        if variant:
            named["variant"] = variant[0]
        return {**self.manifest(content, *tags), "platform": named}

    def index(self, listed: Sequence[dict[str, Any]], *tags: str) -> dict[str, Any]:
        content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(listed)}
        return self.manifest(content, *tags)

    def multiarch(self, *tags: str, size: int = 2000) -> Pushed:
        """An index of PLATFORMS, whose images share a layer and have one of their own."""
        pushed = Pushed(self.name)
        shared = self.blob(tar_gz(os.urandom(size)))
        listed = []
        for platform in PLATFORMS:
            own = self.blob(tar_gz(os.urandom(size)))
            made = self.image(platform, [shared, own])
            pushed.platforms[platform] = made["digest"]
            pushed.blobs |= {each["digest"]: each["size"] for each in (shared, own)}
            listed.append(made)
        pushed.digest = self.index(listed, *tags)["digest"]
        return pushed

    def referrer(self, subject: str, kind: str, data: bytes = b"signed") -> str:
        """Push something that refers to `subject`, and name it in the tag that lists such."""
        body, media_type = self.get(subject)
        refers = {"mediaType": media_type, "digest": subject, "size": len(body)}
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": self.blob(b"{}", "application/vnd.oci.empty.v1+json"),
            "layers": [self.blob(data, kind)],
            "subject": refers,
        }
        made = self.manifest(content)
        tag = subject.replace(":", "-")
        there = self.ask("GET", f"{self._path}/manifests/{tag}", headers={"Accept": INDEX})
        listed = there.json()["manifests"] if there.status_code == 200 else []
        self.index([*listed, {**made, "artifactType": kind}], tag)
        return str(made["digest"])

    def cosign(self, subject: str, kind: str = "sig", data: bytes = b"simple signing") -> str:
        """What cosign pushes: an image under a tag that is made of the digest it speaks of."""
        tag = f"{subject.replace(':', '-')}.{kind}"
        layer = self.blob(data, "application/vnd.dev.cosign.simplesigning.v1+json")
        return str(self.image("linux/amd64", [layer], tag)["digest"])

    def get(self, reference: str) -> tuple[bytes, str]:
        url = f"{self._path}/manifests/{reference}"
        got = self.ask("GET", url, headers={"Accept": f"{INDEX}, {MANIFEST}"}).raise_for_status()
        return got.content, got.headers["Content-Type"]

    def has(self, what: str) -> bool:
        headers = {"Accept": f"{INDEX}, {MANIFEST}"}
        return self.ask("HEAD", f"{self._path}/{what}", headers=headers).status_code == 200

    def remove(self, digest: str) -> None:
        self.ask("DELETE", f"{self._path}/manifests/{digest}").raise_for_status()


def tar_gz(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
