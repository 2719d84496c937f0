"""A real registry of images on loopback: `docker-registry serve`, out of Debian's package.

It lets everybody in, or asks for user and password, or sends its clients for a token. The tokens
come from a small server of our own here, because the registry only checks them.
"""

import base64
import contextlib
import hashlib
import json
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.parts import certificates
from tests.parts.children import free_port, started
from tests.parts.programs import Program
from tests.parts.web import Asked, Handler, Served, answer, serve

REGISTRY = Program("docker-registry", "docker-registry", "DOCKER_REGISTRY", ("--version",))
USER, PASSWORD = "ada", "ada's registry password"
# The bcrypt hash of PASSWORD, written down so that nothing must be installed to compute it.
HTPASSWD = "ada:$2b$05$zc2lqRFvau.lme6J/R7ybe2hUSSbcdQcGpU8SWqhVjE3oJSZpUERq\n"
SERVICE, ISSUER = "the registry", "the tests"


def find() -> str | None:
    return REGISTRY.find()


def install() -> None:
    REGISTRY.install()


@contextlib.contextmanager
def server(*, password: bool = False) -> Iterator[str]:
    """A registry at the answered host:port; with `password`, only for USER and PASSWORD."""
    with tempfile.TemporaryDirectory(prefix="sluice-registry-") as name:
        folder = Path(name)
        auth: dict[str, Any] = {}
        if password:
            (folder / "htpasswd").write_text(HTPASSWD)
            auth = {"htpasswd": {"realm": "the tests", "path": str(folder / "htpasswd")}}
        with _started(folder, auth) as address:
            yield address


@dataclass
class TokenServer:
    """Where clients are sent for a token, and what it was asked."""

    address: str
    served: Served
    #: Which scopes were asked for.
    scopes: list[str] = field(default_factory=list)


@contextlib.contextmanager
def server_with_tokens() -> Iterator[TokenServer]:
    """A registry that takes only tokens, and the server that gives them to USER alone."""
    with tempfile.TemporaryDirectory(prefix="sluice-registry-") as name:
        folder = Path(name)
        certificate, key = certificates.make(folder, "tokens.test")
        scopes: list[str] = []

        def give(handler: Handler, asked: Asked) -> None:
            pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            if asked.headers.get("authorization") != f"Basic {pair}":
                return answer(handler, 401, b"{}")
            wanted = parse_qs(urlsplit(asked.path).query).get("scope", [""])
            scopes.extend(wanted)
            token = _token(certificate, key, *wanted)
            return answer(handler, 200, json.dumps({"token": token}).encode())

        with serve(give, host="127.0.0.2") as tokens:
            auth = {
                "token": {
                    "realm": f"{tokens.url}/token",
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": str(certificate),
                }
            }
            with _started(folder, auth) as address:
                yield TokenServer(address, tokens, scopes)


@contextlib.contextmanager
def _started(folder: Path, auth: dict[str, Any]) -> Iterator[str]:
    settings: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "data")},
            "delete": {"enabled": True},
        },
        "http": {"addr": "127.0.0.1:0"},
    }
    if auth:
        settings["auth"] = auth
    # It does not say which port it took, so one that was free just now is named. Another program
    # may have been faster; then it ends at once, and the next try takes another port.
    log = folder / "log"
    for _ in range(5):
        address = f"127.0.0.1:{free_port()}"
        settings["http"]["addr"] = address
        (folder / "config.yml").write_text(yaml.safe_dump(settings))
        with started([REGISTRY.path(), "serve", str(folder / "config.yml")], log) as process:
            if _is_ready(process, address):
                yield address
                return
    raise RuntimeError(f"docker-registry did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _is_ready(process: "subprocess.Popen[bytes]", address: str) -> bool:
    for _ in range(300):
        if process.poll() is not None:
            return False
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://{address}/v2/", trust_env=False).status_code in {200, 401}
        time.sleep(0.05)
    return False


# ---- Tokens --------------------------------------------------------------------------------------
def _token(certificate: Path, key: Path, *scopes: str) -> str:
    """A JSON Web Token that lets its bearer do what `scopes` name, signed as the registry asks."""
    access = []
    for scope in filter(None, scopes):
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": USER,
        "aud": SERVICE,
        "exp": now + 300,
        "nbf": now - 10,
        "iat": now,
        "jti": secrets.token_hex(8),
        "access": access,
    }
    public = x509.load_pem_x509_certificate(certificate.read_bytes())
    chain = [base64.b64encode(public.public_bytes(serialization.Encoding.DER)).decode()]
    signed = f"{_part({'typ': 'JWT', 'alg': 'ES256', 'x5c': chain})}.{_part(claims)}"
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    numbers = decode_dss_signature(private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_text(b''.join(each.to_bytes(32, 'big') for each in numbers))}"


def _part(value: Any) -> str:
    return _text(json.dumps(value).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# ---- Images --------------------------------------------------------------------------------------
def push_image(
    address: str, repository: str, *tags: str, content: bytes = b"", password: bool = False
) -> str:
    """Push an image without layers under each tag, by plain HTTP; its digest."""
    with _client(address, password) as client:
        config = json.dumps({"architecture": "amd64", "os": "linux", "x": content.hex()}).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": _push_blob(client, repository, config),
                "size": len(config),
            },
            "layers": [],
        }
        digests = {_put(client, repository, tag, manifest) for tag in tags}
        return digests.pop()


def push_index(address: str, repository: str, tag: str, digest: str) -> str:
    """Push a list with one image for one platform; the digest of the list."""
    with _client(address) as client:
        kind = "application/vnd.oci.image.manifest.v1+json"
        url = f"/v2/{repository}/manifests/{digest}"
        size = len(client.get(url, headers={"Accept": kind}).raise_for_status().content)
        platform = {"architecture": "amd64", "os": "linux"}
        entry = {"mediaType": kind, "digest": digest, "size": size, "platform": platform}
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry],
        }
        return _put(client, repository, tag, index)


def _client(address: str, password: bool = False) -> httpx.Client:
    auth = (USER, PASSWORD) if password else None
    return httpx.Client(base_url=f"http://{address}", auth=auth, trust_env=False)


def _put(client: httpx.Client, repository: str, tag: str, manifest: dict[str, Any]) -> str:
    body = json.dumps(manifest).encode()
    url, kind = f"/v2/{repository}/manifests/{tag}", manifest["mediaType"]
    client.put(url, content=body, headers={"Content-Type": kind}).raise_for_status()
    return _digest(body)


def _push_blob(client: httpx.Client, repository: str, data: bytes) -> str:
    begun = client.post(f"/v2/{repository}/blobs/uploads/")
    begun.raise_for_status()
    where = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": _digest(data)})
    client.put(where, content=data).raise_for_status()
    return _digest(data)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
