"""Every call of the API: who may make it, what it takes, and what may be missing."""

from dataclasses import dataclass, field
from typing import Any

from tests.api.conftest import GATED, IMAGE, Things
from tests.pipelines.connected import HOST_KEY

RUN = "/api/v1/pipelines/{pipeline}/runs/{number}/"
JOB = RUN + "jobs/{stage}/{job}/"
HOOKS = "/api/v1/pipelines/{pipeline}/hooks/"
UPLOADS = RUN + "uploads/"
UPLOAD = UPLOADS + "{upload}/"
PACKAGE = "/api/v1/repositories/{repository}/packages/{package}/"
RETENTION = "/api/v1/repositories/{repository}/retention/"
VERSION = PACKAGE + "versions/{version}/"
PROMOTION = "/api/v1/promotions/{promotion}/"
CONNECTION = "/api/v1/connections/{connection}/"
ENVIRONMENT = "/api/v1/environments/{environment}/"

EVERYONE = frozenset({"ada", "ben", "cleo", "dora", "admin", "production"})
WRITERS = frozenset({"ada", "ben", "cleo"})
MANAGERS = frozenset({"ben", "cleo"})
REPORTERS = frozenset({"ada", "admin"})
STARTERS = EVERYONE - {"dora"}
OWN = frozenset({"ada"})
OTHERS = REPORTERS - OWN


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    status: int
    may: frozenset[str] = EVERYONE
    #: A body that is right; texts in braces stand for names. None: the call takes no body.
    body: Any = None
    #: What stands in the path where the usual thing would not do.
    instead: dict[str, str] = field(default_factory=dict)
    query: str = ""
    #: Who may make the call, but not on the thing that stands in the path: it is another's.
    strangers: frozenset[str] = frozenset()
    #: The body's form; where it is not JSON, `body` is bytes.
    form: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method} {self.path.removeprefix('/api/v1/')}"

    def url(self, things: Things, **other: object) -> str:
        names = {**things.names}
        names |= {key: names[other_key] for key, other_key in self.instead.items()}
        return self.path.format(**{**names, **other}) + self.query

    def data(self, things: Things) -> Any:
        return b"" if self.body is None else filled(self.body, things.names)

    @property
    def is_raw(self) -> bool:
        return self.form != "application/json"


def filled(body: Any, names: dict[str, object]) -> Any:
    """`body` with each text of the form {name} replaced by what is named, numbers as numbers."""
    if isinstance(body, dict):
        return {key: filled(value, names) for key, value in body.items()}
    if isinstance(body, list):
        return [filled(value, names) for value in body]
    if isinstance(body, str) and body.startswith("{") and body.endswith("}"):
        return names[body[1:-1]]
    return body


ITEM = {"repository": "apps", "package": "app", "version": "1.1.0"}
DECISION = {"plan_digest": "{plan_digest}", "comment": "Looks right."}
SAID = {"comment": "Looks right."}
TARGET = {"registry": "registry.example/production", "registry_connection": "registry"}
GATED_RUN = {"pipeline": "gated_pipeline", "number": "gated"}

MACHINES = "/api/v1/machine-groups/"
KEYS = "/api/v1/evidence-keys/"
HOOKED = {"pipeline": "hooked_pipeline"}

#: Open to everybody, so that nobody may or may not: test_deliveries is about it.
PUBLIC = {("POST", "/api/v1/hooks/{pipeline}/{source}/")}

CALLS = [
    # Pipelines
    Call("POST", "/api/v1/definitions/check/", 200, EVERYONE, {"yaml": GATED}),
    Call("GET", "/api/v1/pipelines/", 200),
    Call(
        "POST",
        "/api/v1/pipelines/",
        201,
        REPORTERS,
        {"id": "new", "name": "New", "yaml": GATED},
    ),
    Call("GET", "/api/v1/pipelines/{pipeline}/", 200),
    Call("PUT", "/api/v1/pipelines/{pipeline}/definition/", 200, REPORTERS, {"yaml": GATED}),
    Call("GET", "/api/v1/pipelines/{pipeline}/revisions/", 200),
    # Push hooks
    Call("GET", HOOKS, 200, instead=HOOKED),
    Call("POST", HOOKS, 201, REPORTERS, {"source": "other"}, instead=HOOKED),
    Call("POST", HOOKS + "{source}/rotate/", 200, REPORTERS, instead=HOOKED),
    Call("POST", HOOKS + "{source}/remove/", 200, REPORTERS, instead=HOOKED),
    # Runs
    Call("GET", "/api/v1/pipelines/{pipeline}/runs/", 200),
    Call("POST", "/api/v1/pipelines/{pipeline}/runs/", 201, STARTERS, {"comment": "Once more"}),
    Call("GET", RUN, 200),
    Call("POST", RUN + "cancel/", 202, STARTERS, instead={"number": "queued"}),
    Call("POST", RUN + "retry/", 202, STARTERS, instead={"number": "cancelled"}),
    Call("POST", RUN + "again/", 201, STARTERS, {}, instead={"number": "cancelled"}),
    Call("POST", RUN + "finish/", 200, REPORTERS, {"status": "succeeded"}),
    Call(
        "GET",
        RUN + "resolve/",
        200,
        query="?reference=$[stages.build.build.upload.artifacts.default]",
    ),
    Call("GET", RUN + "artifacts/", 200),
    Call(
        "POST",
        RUN + "artifacts/",
        201,
        REPORTERS,
        {"artifact": "web", "type": "dockerImage", "dockerUrl": IMAGE},
    ),
    # Uploads in parts
    Call(
        "POST",
        UPLOADS,
        201,
        REPORTERS,
        {"artifact": "large", "files": [{"path": "large.bin", "size": 5}]},
    ),
    Call("GET", UPLOAD, 200, OWN, strangers=OTHERS),
    Call(
        "PUT",
        UPLOAD + "parts/{file}/{part}/",
        201,
        OWN,
        b"parts",
        strangers=OTHERS,
        form="application/octet-stream",
    ),
    Call("POST", UPLOAD + "complete/", 201, OWN, strangers=OTHERS, instead={"upload": "whole"}),
    Call("POST", UPLOAD + "abort/", 200, OWN, strangers=OTHERS),
    # Jobs
    Call("GET", JOB + "log/", 200, instead=GATED_RUN),
    Call("POST", JOB + "pass/", 200, STARTERS - {"production"}, SAID, instead=GATED_RUN),
    Call("POST", JOB + "refuse/", 200, STARTERS - {"production"}, SAID, instead=GATED_RUN),
    Call("GET", "/api/v1/artifacts/{artifact}/", 200),
    Call("GET", "/api/v1/artifacts/{artifact}/download/", 200),
    Call("GET", "/api/v1/artifacts/{artifact}/contents/", 200),
    Call("GET", "/api/v1/artifacts/{artifact}/download/{name}", 200, instead={"name": "file_name"}),
    Call("GET", "/api/v1/artifacts/{artifact}/files/{path}", 200, instead={"path": "file_name"}),
    # Machines
    Call("GET", MACHINES, 200),
    Call("POST", MACHINES, 201, REPORTERS, {"name": "new", "connection": "web-key"}),
    Call("GET", MACHINES + "{group}/", 200),
    Call("POST", MACHINES + "{group}/remove/", 200, REPORTERS),
    Call(
        "POST",
        MACHINES + "{group}/machines/",
        201,
        REPORTERS,
        {"name": "web2", "host": "web2.example.com", "host_key": HOST_KEY},
    ),
    Call("POST", MACHINES + "{group}/machines/{machine}/remove/", 200, REPORTERS),
    # Service connections
    Call("GET", "/api/v1/connections/", 200),
    Call(
        "POST",
        "/api/v1/connections/",
        201,
        REPORTERS,
        {
            "name": "our-git",
            "kind": "git",
            "team": "shop",
            "host": "git.example",
            "settings": {"username": "sluice"},
            "secrets": {"password": "open sesame"},
            "description": "Reads what is not public.",
        },
    ),
    Call("GET", CONNECTION, 200),
    Call("DELETE", CONNECTION, 204, REPORTERS),
    Call("PUT", CONNECTION + "secrets/", 200, REPORTERS, {"secrets": {"password": "another"}}),
    Call("PUT", CONNECTION + "sharing/", 200, REPORTERS, {"teams": ["office"], "all": False}),
    # Runners
    Call("GET", "/api/v1/runners/", 200),
    # Repositories and versions
    Call("GET", "/api/v1/repositories/", 200),
    Call("POST", "/api/v1/repositories/", 201, WRITERS | {"admin"}, {"name": "tools"}),
    Call("GET", "/api/v1/repositories/{repository}/", 200),
    Call(
        "PUT",
        "/api/v1/repositories/{repository}/registry/",
        200,
        WRITERS | {"admin"},
        {"registry": "registry.example/team", "connection": ""},
        instead={"repository": "images"},
    ),
    Call("GET", "/api/v1/repositories/{repository}/packages/", 200),
    Call("GET", RETENTION, 200),
    Call("PUT", RETENTION, 200, frozenset({"admin"}), {"newest": 10, "used_days": 30}),
    Call("POST", RETENTION + "preview/", 200, MANAGERS | {"admin"}, {"newest": 1}),
    Call("GET", PACKAGE, 200),
    Call("GET", PACKAGE + "resolve/", 200, query="?environment=staging"),
    Call("GET", PACKAGE + "versions/", 200),
    Call(
        "POST",
        PACKAGE + "versions/",
        201,
        WRITERS,
        {"version": "2.0.0", "artifact": "{published}"},
    ),
    Call("GET", VERSION, 200),
    Call("GET", VERSION + "download/", 200),
    Call("GET", VERSION + "download/{name}", 200, instead={"name": "bundle"}),
    Call("GET", VERSION + "files/{path}", 200),
    Call("GET", VERSION + "contents/", 200),
    Call("GET", VERSION + "evidence/", 200),
    Call("GET", VERSION + "evidence/{evidence}/raw/", 200),
    Call("GET", VERSION + "vsa/", 200, instead={"version": "placed"}, query="?environment=staging"),
    Call("GET", "/api/v1/artifacts/{artifact}/evidence/", 200),
    Call(
        "POST",
        "/api/v1/artifacts/{artifact}/evidence/",
        201,
        WRITERS,
        {"predicate_type": "scan", "result": "passed", "payload": {"found": 1}},
    ),
    Call("GET", KEYS, 200),
    Call("POST", KEYS, 201, frozenset({"admin"}), {"name": "new", "public_key": "{public_key}"}),
    Call("GET", KEYS + "{key}/", 200),
    Call("POST", KEYS + "{key}/revoke/", 200, frozenset({"admin"}), {"reason": "It leaked."}),
    Call(
        "POST",
        VERSION + "evidence/",
        201,
        WRITERS,
        {"predicate_type": "tests", "result": "passed", "payload": {"passed": 7}},
    ),
    Call(
        "POST",
        VERSION + "image/look/",
        200,
        WRITERS | {"admin"},
        instead={"repository": "images", "package": "web"},
    ),
    Call("POST", VERSION + "recall/", 200, MANAGERS | {"admin"}, {"reason": "It loses data."}),
    Call("GET", VERSION + "affected/", 200, instead={"version": "recalled"}),
    Call(
        "POST",
        VERSION + "affected/{affected}/acknowledge/",
        200,
        WRITERS | {"admin"},
        {"note": "It is rolled back."},
        instead={"version": "recalled"},
    ),
    # Selections
    Call(
        "POST",
        "/api/v1/selections/",
        201,
        STARTERS,
        {"repository": "apps", "package": "app", "environment": "staging"},
    ),
    Call("GET", "/api/v1/selections/{selection}/", 200),
    # Environments
    Call("GET", "/api/v1/environments/", 200),
    Call("POST", "/api/v1/environments/", 201, frozenset({"admin"}), {"name": "canary"}),
    Call("GET", ENVIRONMENT, 200),
    Call("GET", ENVIRONMENT + "placements/", 200),
    Call("GET", ENVIRONMENT + "policy/", 200),
    Call("PUT", ENVIRONMENT + "policy/", 200, frozenset({"admin"}), {"approvals": 2}),
    Call("GET", ENVIRONMENT + "policy/revisions/", 200),
    Call(
        "POST",
        ENVIRONMENT + "policy/replay/",
        200,
        frozenset({"admin"}),
        {"policy": {"approvals": 2}, "last": 20},
    ),
    Call("PUT", ENVIRONMENT + "target/", 200, frozenset({"admin"}), TARGET),
    Call("GET", ENVIRONMENT + "holds/", 200),
    Call(
        "POST",
        ENVIRONMENT + "holds/",
        201,
        WRITERS | {"admin"},
        {**ITEM, "reason": "It loses data."},
    ),
    Call("POST", ENVIRONMENT + "holds/{hold}/lift/", 200, MANAGERS | {"admin"}),
    # Promotions
    Call("GET", "/api/v1/promotions/", 200),
    Call(
        "POST",
        "/api/v1/promotions/plan/",
        200,
        EVERYONE,
        {"environment": "staging", "items": [ITEM]},
    ),
    Call(
        "POST",
        "/api/v1/promotions/",
        201,
        WRITERS,
        {"environment": "staging", "items": [ITEM], "comment": "It is ready."},
    ),
    Call(
        "POST",
        "/api/v1/promotions/rollback/",
        201,
        WRITERS,
        {"environment": "production", "repository": "apps", "package": "app"},
    ),
    Call("GET", PROMOTION, 200),
    Call("GET", PROMOTION + "attestation/", 200, instead={"promotion": "completed"}),
    Call("POST", PROMOTION + "approve/", 200, MANAGERS, DECISION),
    Call("POST", PROMOTION + "approve/challenge/", 200, MANAGERS, {"plan_digest": "{plan_digest}"}),
    Call("POST", PROMOTION + "reject/", 200, MANAGERS, DECISION),
    Call("POST", PROMOTION + "withdraw/", 200, WRITERS),
    Call("POST", PROMOTION + "retry/", 200, WRITERS | {"admin"}, instead={"promotion": "failed"}),
    # Notices
    Call("GET", "/api/v1/notices/", 200),
    Call("POST", "/api/v1/notices/read/", 200),
    Call("POST", "/api/v1/notices/{notice}/read/", 200, OWN, strangers=EVERYONE - OWN),
    Call(
        "POST",
        PROMOTION + "override/",
        200,
        frozenset({"ben"}),
        {"reason": "The site is down."},
    ),
    Call(
        "POST",
        PROMOTION + "review/",
        200,
        frozenset({"cleo", "dora", "admin"}),
        {"verdict": "approve", "comment": "It had to be."},
        instead={"promotion": "overridden"},
    ),
    # Audit
    Call("GET", "/api/v1/history/", 200, EVERYONE - {"production"}),
]

READS = [call for call in CALLS if call.method == "GET"]
WITH_BODY = [call for call in CALLS if call.body is not None and not call.is_raw]
VERBS = [call for call in CALLS if call.method == "POST" and call.body is None]
