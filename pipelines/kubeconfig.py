"""Kubeconfigs out of service connections, made safe to be handed to kubectl.

A kubeconfig can do more than name a cluster: it can start programs, read the worker's files and
lead anywhere. So kubectl never gets what somebody stored: it gets a new file with the one context
that is used, its address checked and pinned, and nothing in it that is not known here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml

from pipelines import destinations
from pipelines.errors import Invalid

MOST = 256 * 1024
DEEPEST = 50
# The one in C takes a long text in no time, where the other takes a minute.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
CLUSTER = {"server", "certificate-authority-data", "tls-server-name", "insecure-skip-tls-verify"}
USER = {
    *("token", "username", "password", "client-certificate-data", "client-key-data"),
    *("as", "as-uid", "as-groups", "as-user-extra"),
}
REMEDIES = {
    "exec": "it starts a program. Store a service account's token instead",
    "auth-provider": "it starts a program. Store a service account's token instead",
    "tokenFile": "it names a file of one machine. Store the token itself as token",
    "client-certificate": "it names a file of one machine. Store it as client-certificate-data",
    "client-key": "it names a file of one machine. Store it as client-key-data",
    "certificate-authority": "it names a file of one machine. Store it as "
    "certificate-authority-data",
    "proxy-url": "a proxy would reach what Sluice may not. Store the cluster's own address",
}


@dataclass(frozen=True, slots=True)
class Access:
    """One cluster, one user, and how they are shown in a log."""

    server: str
    cluster: Mapping[str, Any] = field(repr=False)
    user: Mapping[str, Any] = field(repr=False)
    namespace: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of it must never show in a log."""
        names = ("token", "password", "client-key-data")
        return tuple(str(self.user[name]) for name in names if self.user.get(name))

    def render(self, *, skip_tls_verify: bool) -> str:
        """A kubeconfig for kubectl, bound to the address that the server's name has right now.

        kubectl would look the name up once more, and could be led elsewhere then.
        """
        parts = urlsplit(self.server)
        host, port = parts.hostname or "", parts.port or 443
        address = destinations.allowed_address(host, port)
        shown = f"[{address}]" if ":" in address else address
        cluster = {**self.cluster, "server": f"https://{shown}:{port}{parts.path}"}
        cluster.setdefault("tls-server-name", host)
        if skip_tls_verify:
            cluster.pop("certificate-authority-data", None)
            cluster["insecure-skip-tls-verify"] = True
        context = {"cluster": "sluice", "user": "sluice"}
        # JSON is YAML, and has no second way to be read.
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "sluice",
                "clusters": [{"name": "sluice", "cluster": cluster}],
                "users": [{"name": "sluice", "user": dict(self.user)}],
                "contexts": [{"name": "sluice", "context": context}],
            }
        )


def parse(text: str) -> Access:
    """What the current context of a kubeconfig gives access to, or Invalid saying why it cannot
    be used. No secret of it is ever part of the message."""
    document = _document(text)
    name = document.get("current-context")
    if not isinstance(name, str) or not name:
        raise Invalid("The kubeconfig has no current-context. Set it to the context to use.")
    context = _named(document, "contexts", "context", name)
    cluster = _named(document, "clusters", "cluster", context.get("cluster"))
    user = _named(document, "users", "user", context.get("user"))
    _require_known("cluster", cluster, CLUSTER)
    _require_known("user", user, USER)
    server = cluster.get("server")
    if not isinstance(server, str) or not _is_https(server):
        raise Invalid(
            "The kubeconfig's server must be an address like https://cluster.example.com:6443."
        )
    namespace = context.get("namespace")
    return Access(server, cluster, user, namespace if isinstance(namespace, str) else "")


def _look_over(text: str) -> None:
    """Refuse what would take the loader long or deep, event by event."""
    depth = 0
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise Invalid("The kubeconfig has an alias (*name). Write out what it stands for.")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise Invalid("The kubeconfig is not valid YAML: it is nested too deeply.")


def _document(text: str) -> dict[str, Any]:
    if len(text) > MOST:
        raise Invalid(f"The kubeconfig is longer than {MOST} bytes.")
    try:
        _look_over(text)
        document = LOADER(text).get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        # What YAML says of it quotes the text, which holds secrets.
        mark = getattr(error, "problem_mark", None)
        # The end of the text is said to be a line of its own.
        place = f", line {min(mark.line, text.count(chr(10))) + 1}" if mark else ""
        raise Invalid(f"The kubeconfig is not valid YAML{place}.") from None
    if not isinstance(document, dict):
        raise Invalid("The kubeconfig must be a mapping with clusters, users and contexts.")
    return document


def _named(document: Mapping[str, Any], many: str, one: str, name: object) -> dict[str, Any]:
    entries = document.get(many)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name:
            found = entry.get(one)
            if isinstance(found, dict):
                return found
    raise Invalid(f"The kubeconfig has no {one} “{str(name)[:80]}” in its {many}.")


def _require_known(noun: str, given: Mapping[str, Any], known: set[str]) -> None:
    for key in sorted(map(str, given.keys() - known)):
        remedy = REMEDIES.get(key, f"it is not known here. Known are: {', '.join(sorted(known))}")
        raise Invalid(f"The kubeconfig's {noun} has “{key[:80]}”, which cannot be used: {remedy}.")


def _is_https(server: str) -> bool:
    try:
        parts = urlsplit(server)
        return (
            parts.scheme == "https"
            and bool(parts.hostname)
            and parts.port != 0
            and parts.username is None
            and not parts.query
            and not parts.fragment
        )
    except ValueError:
        return False
