"""How long the copy of an image of 1 GiB from one registry to another takes.

python -m bench.copy_image [--size MIB] [--layers N] [--folder DIR]

Makes an index with one image of random layers, pushes it to a docker-registry, and copies it to
another one on the same machine: with Sluice's own client, with `skopeo copy --all`, and, as the
limit, its bytes with `cp` and `sync`. Each copy goes to a repository of its own in the target, so
nothing is there before.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from bench import site

MIB = 1024 * 1024
IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, help="Of all layers, in MiB.")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="On the disk to measure.")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        os.environ |= {
            "SLUICE_DATA": str(folder / "data"),
            "SLUICE_ALLOWED_NETWORKS": "127.0.0.0/8",
            "SLUICE_LOG_LEVEL": "WARNING",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        (folder / "data").mkdir()
        import django

        django.setup()
        source = stack.enter_context(_registry(folder / "source"))
        target = stack.enter_context(_registry(folder / "target"))
        layers = list(_layers(folder, options.size * MIB // options.layers, options.layers))
        digest = _push(source, layers)
        size = sum(layer.stat().st_size for layer in layers) / MIB
        limit = _timed("cp + sync of the bytes", size, lambda: _cp(folder, layers))
        ours = _timed("Sluice", size, lambda: _copy(source, target, digest))
        print(f"    ratio to cp + sync: {ours / limit:.2f}")
        if skopeo := shutil.which("skopeo"):
            theirs = _timed("skopeo", size, lambda: _skopeo(skopeo, source, target, digest))
            print(f"    Sluice to skopeo: {ours / theirs:.2f}")
            _timed("skopeo, again", size, lambda: _skopeo(skopeo, source, target, digest))
        else:
            print("skopeo is not there: nothing is compared with it.")
        _timed("Sluice, again", size, lambda: _copy(source, target, digest))


def _timed(what: str, size: float, act: Callable[[], None]) -> float:
    begin = time.perf_counter()
    act()
    took = time.perf_counter() - begin
    print(f"{what}: {took:.2f} s, {size / took:.0f} MiB/s", flush=True)
    return size / took


@contextlib.contextmanager
def _registry(folder: Path) -> Iterator[str]:
    """A docker-registry with its files in `folder`; its address."""
    program = shutil.which("docker-registry")
    if program is None:
        sys.exit("docker-registry is not there: apt-get install docker-registry.")
    folder.mkdir()
    address = f"127.0.0.1:{site.free_port()}"
    configured = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address},
    }
    # JSON is YAML too.
    (folder / "config.yml").write_text(json.dumps(configured))
    with site.started([program, "serve", str(folder / "config.yml")], f"http://{address}/v2/"):
        yield address


# ---- The image -----------------------------------------------------------------------------------
def _layers(folder: Path, size: int, count: int) -> Iterator[Path]:
    for number in range(count):
        layer = folder / f"layer-{number}"
        with layer.open("wb") as file:
            for start in range(0, size, MIB):
                file.write(os.urandom(min(MIB, size - start)))
        yield layer


def _push(address: str, layers: list[Path]) -> str:
    """The digest of an index with the image of these layers, after pushing all of it."""
    with httpx.Client(base_url=f"http://{address}", timeout=600, trust_env=False) as client:
        described = [_push_file(client, layer) for layer in layers]
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [each["digest"] for each in described]},
            }
        ).encode()
        _push_blob(client, _sha256(config), [config], len(config))
        image = _put(
            client,
            {
                "schemaVersion": 2,
                "mediaType": IMAGE,
                "config": {"mediaType": CONFIG, "digest": _sha256(config), "size": len(config)},
                "layers": described,
            },
        )
        entry = {**image, "platform": {"architecture": "amd64", "os": "linux"}}
        index = _put(client, {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
    return str(index["digest"])


def _push_file(client: httpx.Client, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        file.seek(0)
        size = path.stat().st_size
        _push_blob(client, digest, iter(lambda: file.read(MIB), b""), size)
    return {"mediaType": LAYER, "digest": digest, "size": size}


def _push_blob(client: httpx.Client, digest: str, content: Any, size: int) -> None:
    begun = client.post("/v2/bench/blobs/uploads/").raise_for_status()
    where = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": digest})
    headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
    client.put(where, content=content, headers=headers).raise_for_status()


def _put(client: httpx.Client, manifest: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(manifest).encode()
    digest, kind = _sha256(body), manifest["mediaType"]
    url = f"/v2/bench/manifests/{digest}"
    client.put(url, content=body, headers={"Content-Type": kind}).raise_for_status()
    return {"mediaType": kind, "digest": digest, "size": len(body)}


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


# ---- The copies ----------------------------------------------------------------------------------
def _cp(folder: Path, layers: list[Path]) -> None:
    target = folder / "copied"
    target.mkdir()
    subprocess.run(["cp", *layers, target], check=True)
    subprocess.run(["sync", *target.iterdir()], check=True)
    shutil.rmtree(target)


def _copy(source: str, target: str, digest: str) -> None:
    from pipelines import registry

    registry.copy(
        registry.parse(f"{source}/bench@{digest}"),
        registry.parse(f"{target}/by-sluice"),
        source_login=None,
        target_login=None,
        tags=["1.0"],
    )


def _skopeo(program: str, source: str, target: str, digest: str) -> None:
    subprocess.run(
        [
            *(program, "--insecure-policy", "copy", "--all", "--preserve-digests", "--quiet"),
            *("--src-tls-verify=false", "--dest-tls-verify=false"),
            *(f"docker://{source}/bench@{digest}", f"docker://{target}/by-skopeo:1.0"),
        ],
        check=True,
    )


if __name__ == "__main__":
    main()
