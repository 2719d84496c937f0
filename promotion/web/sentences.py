"""What the ledger's entries say, as sentences for people. The entry's own bytes stay the truth."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import NoReverseMatch, reverse

from promotion import keeping
from promotion.models import LedgerEntry


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a sentence; with `url` it leads somewhere, with `mono` it is a name."""

    text: str
    url: str = ""
    mono: bool = False


@dataclass(frozen=True, slots=True)
class Sentence:
    """What an entry says. `state` gives its colour and shape, `note` what a person wrote."""

    state: str
    parts: tuple[Part, ...]
    note: str = ""


Data = Mapping[str, Any]


def sentence(entry: LedgerEntry) -> Sentence:
    """The sentence of an entry; a type that is not known here is shown by its own name."""
    body = json.loads(bytes(entry.body))
    write = WRITERS.get(entry.type)
    if write is None:
        return Sentence("info", (Part(entry.type, mono=True),))
    try:
        return write(body["data"])
    except (KeyError, TypeError):
        # An entry of another release may lack a field; it is shown rather than hidden.
        return Sentence("info", (Part(entry.type, mono=True),))


def _link(text: str, name: str, *args: Any) -> Part:
    try:
        return Part(text, reverse(name, args=args), mono=True)
    except NoReverseMatch:
        return Part(text, mono=True)


def _version(data: Data) -> Part:
    names = (data["repository"], data["package"], data["version"])
    return _link(f"{names[0]}/{names[1]} {names[2]}", "promotion:version", *names)


def _environment(data: Data) -> Part:
    return _link(data["environment"], "promotion:environment", data["environment"])


def _promotion(data: Data) -> Part:
    return _link(f"promotion {data['promotion']}", "promotion:promotion", data["promotion"])


def _repository_created(data: Data) -> Sentence:
    name = data["repository"]
    return Sentence(
        "new", (Part("created the repository"), _link(name, "promotion:repository", name))
    )


def _registry_set(data: Data) -> Sentence:
    repository = _link(data["repository"], "promotion:repository", data["repository"])
    if not data["registry"]:
        return Sentence("changed", (Part("took the registry from"), repository))
    parts = [Part("set the registry of"), repository, Part("to"), Part(data["registry"], mono=True)]
    if data["connection"]:
        parts += [Part("with the connection"), Part(data["connection"], mono=True)]
    return Sentence("changed", tuple(parts))


def _retention_set(data: Data) -> Sentence:
    name = data["repository"]
    rules = data["rules"]
    said = " ".join(keeping.in_words(keeping.Rules.read(rules)))
    parts = (Part("set the retention of"), _link(name, "promotion:repository", name))
    return Sentence("hint", parts, said)


def _version_pruned(data: Data) -> Sentence:
    return Sentence("pruned", (Part("pruned"), _version(data)), data.get("reason", ""))


def _version_published(data: Data) -> Sentence:
    parts = [Part("published"), _version(data)]
    provenance = data.get("provenance") or {}
    if provenance.get("pipeline") and provenance.get("run"):
        slug, number = provenance["pipeline"], provenance["run"]
        parts += [Part("from"), _link(f"{slug} #{number}", "pipelines:run", slug, number)]
    return Sentence("published", tuple(parts))


def _version_recalled(data: Data) -> Sentence:
    parts = [Part("recalled"), _version(data)]
    if data.get("replacement"):
        instead = {**data, "version": data["replacement"]}
        parts += [Part("in favour of"), _version(instead)]
    if affected := data.get("affected"):
        people = "1 owner" if len(affected) == 1 else f"{len(affected)} owners"
        parts.append(Part(f", which concerns {people}"))
    return Sentence("recalled", tuple(parts), data.get("reason", ""))


def _recall_reached(data: Data) -> Sentence:
    return Sentence("recalled", (Part("downloaded"), _version(data), Part("after its recall")))


def _recall_acknowledged(data: Data) -> Sentence:
    parts = [Part("acknowledged the recall of"), _version(data)]
    parts += [Part("for"), Part(data["owner"], mono=True)]
    return Sentence("info", tuple(parts), data.get("note", ""))


def _evidence_added(data: Data) -> Sentence:
    said = f"({data['result']})" if data.get("result") else ""
    parts = (
        Part("added evidence"),
        Part(data["predicate_type"], mono=True),
        *([Part(said)] if said else []),
        Part("to"),
        _version(data),
    )
    return Sentence("verified" if data.get("keys") else "claimed", parts)


def _evidence_verified(data: Data) -> Sentence:
    keys = Part(" and ".join(data["keys"]), mono=True)
    line = (Part(data["predicate_type"], mono=True), Part("of"), _version(data))
    return Sentence("verified", (Part("found the signature of"), keys, Part("on"), *line))


def _artifact_evidence_added(data: Data) -> Sentence:
    number = data["artifact"]
    parts = (
        Part("added evidence"),
        Part(data["predicate_type"], mono=True),
        Part("to"),
        _link(f"artifact {number}", "pipelines:artifact", number),
    )
    return Sentence("claimed", parts)


def _key_added(data: Data) -> Sentence:
    key = _link(data["key"], "promotion:evidence_keys")
    return Sentence("verified", (Part("trusted the evidence key"), key))


def _key_revoked(data: Data) -> Sentence:
    key = _link(data["key"], "promotion:evidence_keys")
    return Sentence("recalled", (Part("revoked the evidence key"), key), data["reason"])


def _environment_created(data: Data) -> Sentence:
    return Sentence("new", (Part("created the environment"), _environment(data)))


def _policy_set(data: Data) -> Sentence:
    said = f"revision {data['revision']}"
    return Sentence("hint", (Part("set the policy of"), _environment(data), Part(f"to {said}")))


def _target_set(data: Data) -> Sentence:
    target = data["target"]
    named = [target[key] for key in ("registry", "storage") if key in target]
    if not named:
        parts = [Part("had"), _environment(data), Part("keep no bytes of its own any more")]
        return Sentence("hint", tuple(parts))
    parts = [Part("had"), _environment(data), Part("keep its bytes at"), Part(named[0], mono=True)]
    if len(named) > 1:
        parts += [Part("and"), Part(named[1], mono=True)]
    return Sentence("hint", tuple(parts))


def _requested(data: Data) -> Sentence:
    items = data["plan"]["items"]
    word = "rolling back to" if data.get("kind") == "rollback" else "placing"
    parts = [Part("requested"), _promotion(data), Part(f": {word}")]
    for position, item in enumerate(items[:3]):
        if position:
            parts.append(Part("and"))
        parts.append(_version(item))
    if len(items) > 3:
        parts.append(Part(f"and {len(items) - 3} more"))
    parts += [Part("in"), _environment(data)]
    if data.get("emergency"):
        parts.append(Part("as an emergency"))
    return Sentence("requested", tuple(parts), data.get("comment", ""))


def _on_promotion(state: str, said: str, note: str = "") -> Callable[[Data], Sentence]:
    """A writer for what happens to a promotion; `note` names the field with a person's words."""

    def write(data: Data) -> Sentence:
        parts = (Part(said), _promotion(data), Part("to"), _environment(data))
        return Sentence(state, parts, str(data.get(note) or "") if note else "")

    return write


def _approved(data: Data) -> Sentence:
    said = _on_promotion("approved", "approved", "comment")(data)
    if not data.get("second_factor"):
        return said
    return Sentence(said.state, (*said.parts, Part("with a passkey")), said.note)


def _passkey(state: str, said: str) -> Callable[[Data], Sentence]:
    def write(data: Data) -> Sentence:
        return Sentence(state, (Part(said), Part(data["name"], mono=True)))

    return write


def _overridden(data: Data) -> Sentence:
    names = data["gates"]
    parts = [Part("broke the glass over"), Part(", ".join(names), mono=True), Part("for")]
    parts += [_promotion(data), Part("to"), _environment(data)]
    return Sentence("overridden", tuple(parts), data.get("reason", ""))


def _reviewed(data: Data) -> Sentence:
    objects = data["verdict"] == "object"
    said = "objected to the override of" if objects else "reviewed and agreed to the override of"
    parts = (Part(said), _promotion(data), Part("to"), _environment(data))
    return Sentence("rejected" if objects else "approved", parts, data.get("comment", ""))


def _hold_placed(data: Data) -> Sentence:
    parts = (Part("held"), _version(data), Part("back in"), _environment(data))
    return Sentence("held", parts, data.get("reason", ""))


def _hold_lifted(data: Data) -> Sentence:
    parts = (Part("lifted the hold on"), _version(data), Part("in"), _environment(data))
    return Sentence("open", parts)


def _completed(data: Data) -> Sentence:
    parts = [Part("placed")]
    placed = data["placed"]
    for position, version in enumerate(placed[:3]):
        if position:
            parts.append(Part("and"))
        parts.append(_version(version))
    if len(placed) > 3:
        parts.append(Part(f"and {len(placed) - 3} more"))
    return Sentence(
        "completed",
        (*parts, Part("in"), _environment(data), Part("and completed"), _promotion(data)),
    )


def _selection_made(data: Data) -> Sentence:
    number = data["selection"]
    parts = [
        Part("selected"),
        _version(data),
        Part("as"),
        _link(f"selection {number}", "promotion:selection", number),
    ]
    if data.get("consumer"):
        parts += [Part("for"), Part(data["consumer"], mono=True)]
    return Sentence("info", tuple(parts))


#: Every type of entry: how it is written, and what it is called in the filter.
WRITERS: Mapping[str, Callable[[Data], Sentence]] = {
    "repository.created": _repository_created,
    "repository.registry_set": _registry_set,
    "repository.retention_set": _retention_set,
    "version.published": _version_published,
    "version.recalled": _version_recalled,
    "version.pruned": _version_pruned,
    "recall.reached": _recall_reached,
    "recall.acknowledged": _recall_acknowledged,
    "evidence.added": _evidence_added,
    "evidence.verified": _evidence_verified,
    "artifact.evidence_added": _artifact_evidence_added,
    "evidence_key.added": _key_added,
    "evidence_key.revoked": _key_revoked,
    "environment.created": _environment_created,
    "environment.target_set": _target_set,
    "policy.set": _policy_set,
    "promotion.requested": _requested,
    "promotion.approved": _approved,
    "promotion.rejected": _on_promotion("rejected", "rejected", "comment"),
    "promotion.withdrawn": _on_promotion("withdrawn", "withdrew"),
    "promotion.retried": _on_promotion("refresh", "retried"),
    "promotion.expired": _on_promotion("expired", "let expire"),
    "promotion.stale": _on_promotion("stale", "marked as stale", "reason"),
    "promotion.completed": _completed,
    "promotion.failed": _on_promotion("failed", "could not complete", "reason"),
    "promotion.errored": _on_promotion("errored", "broke while executing", "reason"),
    "promotion.overridden": _overridden,
    "override.reviewed": _reviewed,
    "hold.placed": _hold_placed,
    "hold.lifted": _hold_lifted,
    "selection.made": _selection_made,
    "passkey.added": _passkey("new", "added the passkey"),
    "passkey.removed": _passkey("changed", "removed the passkey"),
}


def types() -> list[tuple[str, str]]:
    """The types of entries as choices of a filter: `promotion.approved`, “Promotion approved”."""
    return [(name, name.replace(".", " ").capitalize()) for name in WRITERS]
