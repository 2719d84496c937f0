"""How fast a served site answers what it is asked most. Run `make demo` first.

python -m bench.main_paths var/demo.json
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

PACKAGE = "repositories/apps/packages/greeter"
ROUNDS = 15


class Site:
    def __init__(self, file: Path) -> None:
        known = json.loads(file.read_text(encoding="utf-8"))
        self.url = f"{known['url']}/api/v1/"
        self.tokens = {user["username"]: user["token"] for user in known["users"]}

    def client(self, name: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.tokens[name]}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


def rate(site: Site, path: str, connections: int, seconds: float = 3.0) -> float:
    """Requests a second that `connections` clients get answered, each on its own connection."""
    end = time.monotonic() + seconds

    def ask(_: int) -> int:
        count = 0
        with site.client("production") as client:
            while time.monotonic() < end:
                client.get(path).raise_for_status()
                count += 1
        return count

    with ThreadPoolExecutor(connections) as pool:
        return sum(pool.map(ask, range(connections))) / seconds


def median_ms(do: Callable[[], float]) -> float:
    return statistics.median(do() for _ in range(ROUNDS)) * 1000


def selection(site: Site) -> float:
    with site.client("production") as client:
        body = {"repository": "apps", "package": "greeter", "environment": "production"}
        start = time.perf_counter()
        client.post("selections/", json=body).raise_for_status()
        return time.perf_counter() - start


def approval(site: Site) -> float:
    """From the approving call to the state `completed`, alternating two versions in staging."""
    with site.client("ada") as ada, site.client("ben") as ben:
        versions = ada.get(f"{PACKAGE}/versions/").json()["results"]
        free = next(
            each["version"]
            for each in versions
            if "staging" not in {placed["environment"] for placed in each["placements"]}
        )
        item = {"repository": "apps", "package": "greeter", "version": free}
        body = {"environment": "staging", "items": [item]}
        requested = ada.post("promotions/", json=body).raise_for_status().json()
        path = f"promotions/{requested['id']}/"
        decision = {"plan_digest": requested["plan_digest"]}
        start = time.perf_counter()
        ben.post(f"{path}approve/", json=decision).raise_for_status()
        while ben.get(path).json()["state"] != "completed":
            time.sleep(0.005)
        return time.perf_counter() - start


def first_step(site: Site) -> float:
    """From the row of the run to the start of its first step, as the site's own clock has them."""
    with site.client("ada") as ada:
        run = ada.post("pipelines/pre-release/runs/", json={}).raise_for_status().json()
        path = f"pipelines/pre-release/runs/{run['number']}/"
        while (now := ada.get(path).json())["status"] in {"queued", "running"}:
            time.sleep(0.1)
        step: dict[str, Any] = now["stages"][0]["jobs"][0]["steps"][0]
        started = datetime.fromisoformat(step["started_at"])
        return (started - datetime.fromisoformat(now["created_at"])).total_seconds()


def main(file: str) -> None:
    site = Site(Path(file))
    exact, placed = f"{PACKAGE}/versions/1.0.0/", f"{PACKAGE}/resolve/?environment=production"
    for name, path in (("exact version", exact), ("version in an environment", placed)):
        for connections in (1, 16):
            found = rate(site, path, connections)
            print(f"{name}, {connections} connections: {found:.0f} requests/s")
    print(f"selection with receipt: {median_ms(lambda: selection(site)):.0f} ms")
    print(f"approve → placed: {median_ms(lambda: approval(site)):.0f} ms")
    print(f"run start → first step: {median_ms(lambda: first_step(site)):.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1])
