"""A real nginx on loopback, out of Debian's package, with the configuration that docs/nginx has."""

import contextlib
import os
import string
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.parts.children import free_port, started
from tests.parts.programs import Program

NGINX = Program("nginx", "nginx-light", "NGINX", ("-v",))
TEMPLATE = Path(__file__).resolve().parents[2] / "docs/nginx/sluice.conf.template"
MAIN = string.Template(
    """$user
daemon off;
worker_processes 1;
pid $folder/pid;
error_log $folder/error.log warn;
events { worker_connections 128; }
http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    include $folder/sluice.conf;
}
"""
)


def find() -> str | None:
    return NGINX.find()


def install() -> None:
    NGINX.install()


def configuration(*, listen: str, upstream: str, blobs: Path) -> str:
    """What the template becomes; the variables of nginx itself are left alone."""
    words = {"SLUICE_LISTEN": listen, "SLUICE_UPSTREAM": upstream, "SLUICE_BLOBS": str(blobs)}
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in words.items():
        text = text.replace("${" + name + "}", value)
    assert "${" not in text
    return text


@contextlib.contextmanager
def in_front_of(upstream: str, blobs: Path) -> Iterator[str]:
    """The address of an nginx before `upstream` (host:port), which reads `blobs` itself."""
    with tempfile.TemporaryDirectory(prefix="sluice-nginx-") as name:
        folder = Path(name)
        # What is stored can be read by whoever runs Sluice, and by nobody else.
        user = "user root;" if os.geteuid() == 0 else ""
        main = folder / "nginx.conf"
        main.write_text(MAIN.substitute(folder=folder, user=user), encoding="utf-8")
        log = folder / "error.log"
        # A port that was free just now may be taken; then nginx ends, and another one is tried.
        for _ in range(5):
            address = f"127.0.0.1:{free_port()}"
            (folder / "sluice.conf").write_text(
                configuration(listen=address, upstream=upstream, blobs=blobs), encoding="utf-8"
            )
            argv = [NGINX.path(), "-e", str(log), "-c", str(main)]
            with started(argv, folder / "said") as process:
                if _is_ready(process, address):
                    yield f"http://{address}"
                    return
        raise RuntimeError(f"nginx did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _is_ready(process: "subprocess.Popen[bytes]", address: str) -> bool:
    for _ in range(300):
        if process.poll() is not None:
            return False
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://{address}/healthz", trust_env=False)
            return True
        time.sleep(0.05)
    return False
