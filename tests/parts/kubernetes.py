"""A STUB of a Kubernetes API server. It is not Kubernetes: no real API server can be had on a
machine with Python alone.

It speaks just enough of the interface for the real kubectl to apply, replace, get and delete, and
to set images: discovery, bearer tokens, and the objects of three kinds. It keeps the objects that
it was given for the tests to look at, and runs nothing. What only a real server does (schemas,
defaults, admission, rollouts) is not tested by whatever is tested with it.
"""

import base64
import contextlib
import copy
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.parts import certificates
from tests.parts.web import Asked, Handler, Served, answer, serve

Object = dict[str, Any]
Key = tuple[str, str, str]

#: Group and version, then resource, kind, short name and whether it lies in a namespace.
KINDS: dict[str, list[tuple[str, str, str, bool]]] = {
    "v1": [("namespaces", "Namespace", "ns", False), ("configmaps", "ConfigMap", "cm", True)],
    "apps/v1": [("deployments", "Deployment", "deploy", True)],
}
VERBS = ["create", "delete", "get", "list", "patch", "update"]
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


class Refused(Exception):
    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


@dataclass
class Cluster:
    """What the stub holds, and how to reach it."""

    served: Served
    token: str
    authority: str
    #: By kind, namespace and name.
    objects: dict[Key, Object] = field(default_factory=dict)

    def get(self, kind: str, name: str, namespace: str = "default") -> Object:
        return self.objects[kind, namespace, name]

    @property
    def changes(self) -> list[str]:
        """The method and path of every request that was to change something."""
        changing = {"POST", "PUT", "PATCH", "DELETE"}
        asked = [each for each in self.served.asked if each.method in changing]
        return [f"{each.method} {each.path.partition('?')[0]}" for each in asked]

    def kubeconfig(self, *, token: str = "", authority: bool = True, **user: Any) -> str:
        """A kubeconfig for the stub; `user` are further fields of its user."""
        cluster: dict[str, Any] = {"server": self.served.url}
        if authority:
            cluster["certificate-authority-data"] = self.authority
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "tests",
                "clusters": [{"name": "stub", "cluster": cluster}],
                "users": [{"name": "ada", "user": {"token": token or self.token, **user}}],
                "contexts": [{"name": "tests", "context": {"cluster": "stub", "user": "ada"}}],
            }
        )


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Cluster]:
    """The stub on loopback. Its certificate is made in `folder`: kubectl sends no token by HTTP."""
    made = certificates.make(folder, "127.0.0.1")
    cluster: Cluster

    def respond(handler: Handler, asked: Asked) -> None:
        status, document = _answer(cluster, asked)
        answer(handler, status, json.dumps(document).encode(), content_type="application/json")

    with serve(respond, certificate=made) as served:
        authority = base64.b64encode(made[0].read_bytes()).decode()
        cluster = Cluster(served, secrets.token_hex(16), authority)
        for name in ("default", "kube-system"):
            _keep(cluster, ("Namespace", "", name), {"metadata": {"name": name}}, "v1")
        yield cluster


# ---- Answers -------------------------------------------------------------------------------------
def _answer(cluster: Cluster, asked: Asked) -> tuple[int, Object]:
    try:
        if asked.headers.get("authorization") != f"Bearer {cluster.token}":
            raise Refused(401, "Unauthorized", "Unauthorized")
        path = urlsplit(asked.path).path
        return _discovery(path) or _act(cluster, asked, path)
    except Refused as refusal:
        return refusal.status, {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": str(refusal),
            "reason": refusal.reason,
            "code": refusal.status,
        }


def _discovery(path: str) -> tuple[int, Object] | None:
    """What there is, as kubectl asks for it before anything else."""
    if path == "/version":
        return 200, {"major": "1", "minor": "37", "gitVersion": "v1.37.0-stub"}
    if path == "/api":
        return 200, {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        newest = {"groupVersion": "apps/v1", "version": "v1"}
        group = {"name": "apps", "versions": [newest], "preferredVersion": newest}
        return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]}
    if path == "/openapi/v3":
        paths = {
            _root(group): {"serverRelativeURL": f"/openapi/v3/{_root(group)}"} for group in KINDS
        }
        return 200, {"paths": paths}
    for version, kinds in KINDS.items():
        if path == f"/{_root(version)}":
            resources = [
                {"name": resource, "kind": kind, "namespaced": is_inside, "verbs": VERBS,
                 "singularName": kind.lower(), "shortNames": [short]}
                for resource, kind, short, is_inside in kinds
            ]  # fmt: skip
            return 200, {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        if path == f"/openapi/v3/{_root(version)}":
            return 200, _openapi(version)
    return None


def _root(version: str) -> str:
    return f"apis/{version}" if "/" in version else f"api/{version}"


def _openapi(version: str) -> Object:
    """No schemas: only that the server checks fields itself, so that kubectl leaves it to it."""
    group, _, number = version.rpartition("/")
    field_validation = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    dry_run = {"name": "dryRun", "in": "query", "schema": {"type": "string"}}
    paths = {
        f"/{_root(version)}/{resource}/{{name}}": {
            "patch": {
                "parameters": [field_validation, dry_run],
                "responses": {},
                "x-kubernetes-group-version-kind": {
                    "group": group,
                    "version": number,
                    "kind": kind,
                },
            }
        }
        for resource, kind, *_ in KINDS[version]
    }
    return {"openapi": "3.0.0", "info": {"title": "a stub", "version": "0"}, "paths": paths}


# ---- Objects -------------------------------------------------------------------------------------
def _act(cluster: Cluster, asked: Asked, path: str) -> tuple[int, Object]:
    version, kind, namespace, name = _target(path)
    key = (kind, namespace, name)
    is_dry = "dryRun" in parse_qs(urlsplit(asked.path).query)
    if asked.method == "GET" and not name:
        found = [each for (of, where, _), each in sorted(cluster.objects.items())
                 if of == kind and namespace in {"", where}]  # fmt: skip
        return 200, {"kind": f"{kind}List", "apiVersion": version, "metadata": {}, "items": found}
    if asked.method == "POST":
        given = json.loads(asked.body)
        key = (kind, namespace, given["metadata"]["name"])
        if namespace and ("Namespace", "", namespace) not in cluster.objects:
            raise Refused(404, "NotFound", f'namespaces "{namespace}" not found')
        if key in cluster.objects:
            raise Refused(409, "AlreadyExists", f'{kind} "{key[2]}" already exists')
        return 201, _keep(cluster, key, given, version, is_dry=is_dry)
    if key not in cluster.objects:
        raise Refused(404, "NotFound", f'{kind} "{name}" not found')
    if asked.method == "GET":
        return 200, cluster.objects[key]
    if asked.method == "DELETE":
        return 200, cluster.objects.pop(key)
    given = json.loads(asked.body)
    if asked.method == "PATCH":
        by_name = asked.headers.get("content-type") == STRATEGIC_PATCH
        given = merged(cluster.objects[key], given, by_name=by_name)
    return 200, _keep(cluster, key, given, version, is_dry=is_dry)


def _target(path: str) -> tuple[str, str, str, str]:
    """Version, kind, namespace and name that a path means; the last two may be empty."""
    for version, kinds in KINDS.items():
        root = f"/{_root(version)}/"
        if not path.startswith(root):
            continue
        parts = path[len(root) :].split("/")
        namespace = ""
        if parts[0] == "namespaces" and len(parts) > 2:
            namespace, parts = parts[1], parts[2:]
        for resource, kind, *_ in kinds:
            if parts[0] == resource and len(parts) <= 2:
                return version, kind, namespace, parts[1] if len(parts) == 2 else ""
    raise Refused(404, "NotFound", "the server could not find the requested resource")


def _keep(
    cluster: Cluster, key: Key, given: Object, version: str, *, is_dry: bool = False
) -> Object:
    kind, namespace, name = key
    before = cluster.objects.get(key, {}).get("metadata", {})
    kept = copy.deepcopy(given)
    kept |= {"kind": kind, "apiVersion": version}
    kept["metadata"] |= {
        "name": name,
        "uid": before.get("uid") or secrets.token_hex(8),
        "resourceVersion": str(int(before.get("resourceVersion", "0")) + 1),
        "creationTimestamp": "2026-01-01T00:00:00Z",
        **({"namespace": namespace} if namespace else {}),
    }
    if not is_dry:
        cluster.objects[key] = kept
    return kept


def merged(target: Any, patch: Any, *, by_name: bool) -> Any:
    """A merge patch (RFC 7386); with `by_name` lists of named things are merged by name, which is
    as much of Kubernetes' strategic merge as containers, ports and variables need."""
    if isinstance(patch, dict):
        result = dict(target) if isinstance(target, dict) else {}
        for name, value in patch.items():
            # Orders and notes between kubectl and the server.
            if name.startswith("$"):
                continue
            if value is None:
                result.pop(name, None)
            else:
                result[name] = merged(result.get(name), value, by_name=by_name)
        return result
    if by_name and isinstance(patch, list) and all(isinstance(x, dict) for x in patch):
        return _merged_lists(target or [], patch)
    return patch


def _merged_lists(target: list[Object], patch: list[Object]) -> list[Object]:
    if not all("name" in each for each in patch):
        return patch
    result = {each.get("name"): each for each in target}
    for each in patch:
        if each.get("$patch") == "delete":
            result.pop(each["name"], None)
        else:
            result[each["name"]] = merged(result.get(each["name"]), each, by_name=True)
    return list(result.values())
