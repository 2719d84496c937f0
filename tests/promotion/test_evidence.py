"""Evidence on versions and artifacts: kept as it came, verified by whom the site trusts."""

import base64
import json
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.test import override_settings

from pipelines.canonical import digest
from pipelines.errors import Forbidden, Invalid, NameTaken, WrongState
from promotion import promoting, publishing, recalling, signing
from promotion.errors import NotPromoted, Recalled
from promotion.evidence import dsse, facts, keeping, keys, vouching
from promotion.evidence.facts import EvidenceFact
from promotion.models import Evidence, EvidenceKey, LedgerEntry, Version
from tests.cast import Site, make_artifact
from tests.pipelines.working import job, one_job, upload, worked, yaml
from tests.promotion.acting import execute, on_call, override
from tests.promotion.evidencing import about, envelope, pem_of, statement
from tests.promotion.verifying import broken
from tests.world import nothing_changes, refused

pytestmark = pytest.mark.django_db

BUILD = Ed25519PrivateKey.generate()
OTHER = Ed25519PrivateKey.generate()


@pytest.fixture
def key(site: Site) -> EvidenceKey:
    return keys.add_key("build", pem_of(BUILD), by=site.cast.admin)


@pytest.fixture
def version(site: Site) -> Version:
    return site.publish("1.0.0", files={"bin/app": b"app", "LICENSE": b"free"})


def add(site: Site, version: Version, text: str) -> keeping.Added:
    return keeping.add_document(version, text, by=site.cast.ada)


def standing(evidence: Evidence) -> tuple[str, tuple[str, ...], str]:
    row = Evidence.objects.whole().get(pk=evidence.pk)
    return row.standing, row.verified_by, row.why


def last_entry() -> dict[str, Any]:
    body: dict[str, Any] = json.loads(bytes(LedgerEntry.objects.latest("sequence").body))
    return body


# ---- Whose word it is ----------------------------------------------------------------------------
def test_a_statement_is_kept_byte_for_byte_and_verified_by_its_key(
    site: Site, version: Version, key: EvidenceKey
) -> None:
    text = about(version, BUILD, result="PASSED")
    made = add(site, version, text).evidence
    made.refresh_from_db()
    assert (made.payload, made.digest) == (text, digest(text.encode()))
    assert (made.kind, made.result, made.predicate_type) == (
        "statement", "passed", "https://example.com/scan/v1",
    )  # fmt: skip
    assert standing(made) == ("verified", ("build",), "Signed by build.")
    assert last_entry()["data"]["keys"] == ["build"]
    assert broken() == {}


def test_what_nobody_trusted_has_signed_is_claimed(
    site: Site, version: Version, key: EvidenceKey
) -> None:
    signed = add(site, version, about(version, OTHER)).evidence
    bare = add(site, version, statement(version.manifest_digest).decode()).evidence
    assert standing(signed) == (
        "claimed", (), "It is signed, but by no key that is trusted here.",
    )  # fmt: skip
    assert standing(bare) == ("claimed", (), "It is not signed: whoever added it says so.")


def test_the_same_statement_again_is_found_and_changes_nothing(
    site: Site, version: Version, key: EvidenceKey
) -> None:
    text = about(version, BUILD)
    first = add(site, version, text)
    with nothing_changes():
        again = add(site, version, text)
    assert (first.is_new, again.is_new, again.evidence.pk) == (True, False, first.evidence.pk)


def test_the_same_statement_again_is_verified_once_its_key_is_trusted(
    site: Site, version: Version
) -> None:
    text = about(version, BUILD)
    made = add(site, version, text).evidence
    keys.add_key("build", pem_of(BUILD), by=site.cast.admin)
    assert standing(made)[0] == "claimed"
    assert not add(site, version, text).is_new
    assert standing(made)[:2] == ("verified", ("build",))
    assert last_entry()["type"] == "evidence.verified"
    assert broken() == {}


def test_a_revoked_key_makes_it_a_claim_again_and_says_why(
    site: Site, version: Version, key: EvidenceKey
) -> None:
    text = about(version, BUILD)
    made = add(site, version, text).evidence
    keys.revoke_key(key, by=site.cast.admin, reason="It leaked.")
    why = "It was signed by build, which is no longer trusted."
    assert standing(made) == ("claimed", (), why)
    with nothing_changes():
        add(site, version, text)
    assert standing(made) == ("claimed", (), why)
    assert broken() == {}


@pytest.mark.parametrize("kind", ["other bytes", "one file", "another version"])
def test_a_statement_about_other_bytes_is_refused(
    site: Site, version: Version, key: EvidenceKey, kind: str
) -> None:
    other = site.publish("2.0.0", files={"bin/app": b"evil", "LICENSE": b"free"})
    licence = version.files.get(path="LICENSE").blob_id
    about_it = {
        "other bytes": "f" * 64, "one file": licence, "another version": other.manifest_digest,
    }[kind]  # fmt: skip
    refused(Invalid, lambda: add(site, version, envelope(statement(about_it), BUILD)))


def test_a_statement_about_the_download_or_about_all_files_is_taken(
    site: Site, version: Version, key: EvidenceKey
) -> None:
    assert version.bundle_id is not None
    files = version.files.values_list("blob_id", flat=True)
    for subjects in ([version.bundle_id], files):
        made = add(site, version, envelope(statement(*subjects), BUILD)).evidence
        assert standing(made)[0] == "verified"


def test_a_signature_that_pretends_is_refused(
    site: Site, version: Version, key: EvidenceKey
) -> None:
    said = statement(version.manifest_digest, result="FAILED")
    passed = statement(version.manifest_digest, result="PASSED")
    refused(
        Invalid, lambda: add(site, version, envelope(passed, BUILD, signed=said, key_id="build"))
    )
    refused(Invalid, lambda: add(site, version, envelope(said, OTHER, key_id=key.fingerprint)))
    changed = add(site, version, envelope(passed, BUILD, signed=said)).evidence
    assert standing(changed)[0] == "claimed"


def test_who_may_not_add_evidence_adds_none(site: Site, version: Version) -> None:
    text = about(version, BUILD)
    for who in (site.cast.dora, site.cast.mallory, site.cast.production, site.cast.admin):
        refused(Forbidden, partial(keeping.add_document, version, text, by=who))


# ---- Keys ----------------------------------------------------------------------------------------
def test_a_key_has_one_name_for_ever(site: Site, key: EvidenceKey) -> None:
    def trust(name: str, private: Ed25519PrivateKey) -> EvidenceKey:
        return keys.add_key(name, pem_of(private), by=site.cast.admin)

    refused(NameTaken, lambda: trust("build", OTHER))
    refused(NameTaken, lambda: trust("second", BUILD))
    keys.revoke_key(key, by=site.cast.admin, reason="It leaked.")
    assert "never trusted again" in refused(NameTaken, lambda: trust("second", BUILD)).detail
    refused(NameTaken, lambda: trust("build", OTHER))
    refused(WrongState, lambda: keys.revoke_key(key, by=site.cast.admin, reason="Again."))
    for name in ("sluice", "sluice-2", "", "A", "a/b", "x" * 65, "a\n"):
        refused(Invalid, partial(trust, name, OTHER))
    assert broken() == {}


def test_operators_alone_say_whom_the_site_trusts(site: Site, key: EvidenceKey) -> None:
    for name, user in site.cast.everyone().items():
        if name == "admin":
            continue
        refused(Forbidden, partial(keys.add_key, "new", pem_of(OTHER), by=user))
        refused(Forbidden, partial(keys.revoke_key, key, by=user, reason="So."))
    refused(Invalid, lambda: keys.revoke_key(key, by=site.cast.admin, reason=" "))


# ---- What gates ask ------------------------------------------------------------------------------
def test_the_facts_of_many_versions_are_had_in_one_query(
    site: Site, version: Version, key: EvidenceKey, django_assert_num_queries: Any
) -> None:
    keys.add_key("other", pem_of(OTHER), by=site.cast.admin)
    both = envelope(statement(version.manifest_digest, result="PASSED"), BUILD, OTHER)
    signed = add(site, version, both).evidence
    report = add(site, version, "<testsuite><testcase/></testsuite>").evidence
    bare = site.publish("2.0.0")
    with django_assert_num_queries(1):
        found = facts.of([version, bare])
    type_ = "https://example.com/scan/v1"
    assert found == {
        version.pk: (
            EvidenceFact(
                signed.digest, type_, "statement", "passed", "verified", ("build", "other")
            ),
            EvidenceFact(report.digest, report.predicate_type, "junit", "passed", "claimed", ()),
        ),
        bare.pk: (),
    }
    keys.revoke_key(key, by=site.cast.admin, reason="It leaked.")
    assert facts.of([version])[version.pk][0].keys == ("other",)


def test_evidence_that_comes_after_the_request_makes_it_stale(site: Site, version: Version) -> None:
    promotion = site.request(site.staging, version)
    add(site, version, "<testsuite><testcase><failure/></testcase></testsuite>")
    promoting.reconsider(promotion)
    promotion.refresh_from_db()
    assert promotion.state == "stale"
    assert "the evidence on apps/app 1.0.0" in promotion.reason


# ---- Artifacts -----------------------------------------------------------------------------------
def test_evidence_on_an_artifact_comes_along_to_its_versions(site: Site, key: EvidenceKey) -> None:
    cast = site.cast
    artifact = make_artifact(cast.ada, site.pipeline)
    text = envelope(statement(artifact.digest, result="PASSED"), BUILD)
    first = keeping.add_document_to_artifact(artifact, text, by=cast.ben)
    with nothing_changes():
        again = keeping.add_document_to_artifact(artifact, text, by=cast.ben)
    assert (first.is_new, again.is_new) == (True, False)
    keeping.add_evidence_to_artifact(
        artifact, by=cast.ada, predicate_type="scan", result="passed", payload={}
    )
    version = publishing.publish(site.repository, "app", "1.0.0", artifact, by=cast.ada).version
    signed, plain = version.evidence.order_by("pk")
    assert (signed.payload, signed.added_by, standing(signed)[0]) == (text, cast.ben, "verified")
    assert (plain.predicate_type, standing(plain)[0]) == ("scan", "claimed")
    keeping.add_document_to_artifact(artifact, "<testsuite><testcase/></testsuite>", by=cast.ada)
    assert version.evidence.filter(kind="junit").exists()
    refused(
        Invalid,
        lambda: keeping.add_document_to_artifact(
            artifact, envelope(statement("f" * 64), BUILD), by=cast.ada
        ),
    )
    assert broken() == {}


# ---- What Sluice has seen itself -----------------------------------------------------------------
REPORT = '<testsuite><testcase name="a"/><testcase name="b">%s</testcase></testsuite>'


def published(site: Site, report: str, name: str = "TEST-a.xml") -> Version:
    """Of a run that Sluice worked off, one step of which uploaded `report`."""
    build = job("mkdir out && echo app > out/app.txt", upload("out/"))
    lines = report.replace("'", "")
    test = job(f"mkdir t && printf '%s' '{lines}' > t/{name}", upload("t/", name="reports"))
    run = worked(site, yaml({"build": build, "test": test}))
    artifact = run.artifacts.get(name="app")
    return publishing.publish(site.repository, "app", "1.0.0", artifact, by=site.cast.ada).version


def said_by(evidence: Evidence) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(base64.b64decode(json.loads(evidence.payload)["payload"]))
    return said


@pytest.mark.parametrize(
    ("inner", "result", "failed"), [("", "passed", 0), ("<failure/>", "failed", 1)]
)
def test_sluice_signs_where_a_version_comes_from_and_how_its_tests_ended(
    site: Site, inner: str, result: str, failed: int
) -> None:
    version = published(site, REPORT % inner)
    provenance, tests = version.evidence.order_by("pk")
    assert standing(provenance) == ("verified", ("sluice",), "Signed by sluice.")
    said = said_by(provenance)
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    names = {each["digest"]["sha256"] for each in said["subject"]}
    assert {version.manifest_digest.removeprefix("sha256:"), version.bundle_id} <= names
    definition = said["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["pipeline"] == "work"
    revision = version.artifact.run.revision.digest
    assert definition["resolvedDependencies"][0]["digest"] == {"sha256": revision}
    assert (tests.result, standing(tests)[:2]) == (result, ("verified", ("sluice",)))
    assert tests.summary == {"tests": 2, "failed": failed, "skipped": 0}
    assert said_by(tests)["predicate"]["configuration"][0]["name"] == "reports/TEST-a.xml"
    assert broken() == {}


def test_a_report_that_breaks_off_has_failed(site: Site) -> None:
    tests = published(site, "<testsuite><testcase/>").evidence.get(kind="statement")
    assert tests.result == "failed"


def test_xml_that_is_no_report_is_no_test_result(site: Site) -> None:
    version = published(site, "<project/>", "pom.xml")
    assert list(version.evidence.values_list("kind", flat=True)) == ["provenance"]


def test_what_is_published_is_no_report_on_itself(site: Site) -> None:
    run = one_job(
        site, f"mkdir t && printf '%s' '{REPORT % ''}' > t/TEST-a.xml".replace("'b'", "b"),
        upload("t/"),
    )  # fmt: skip
    artifact = run.artifacts.get()
    version = publishing.publish(
        site.repository, "app", "1.0.0", artifact, by=site.cast.ada
    ).version
    assert list(version.evidence.values_list("kind", flat=True)) == ["provenance"]


def test_of_what_another_system_ran_sluice_says_nothing(version: Version) -> None:
    assert not version.evidence.exists()
    assert not EvidenceKey.objects.exists()


# ---- What Sluice vouches for ---------------------------------------------------------------------
def checked(text: str) -> dict[str, Any]:
    """The statement in an envelope of Sluice's, after its signature was checked by hand."""
    said = json.loads(text)
    payload = base64.b64decode(said["payload"])
    public: Any = load_pem_public_key(signing.public_key_pem().encode())
    (one,) = said["signatures"]
    public.verify(base64.b64decode(one["sig"]), dsse.pae(said["payloadType"], payload))
    assert one["keyid"] == dsse.fingerprint(public)
    found: dict[str, Any] = json.loads(payload)
    return found


def test_sluice_signs_that_a_promotion_was_carried_out_as_approved(
    site: Site, version: Version
) -> None:
    promotion = site.promote(site.staging, version)
    with nothing_changes():
        text = vouching.promotion_statement(promotion)
        assert vouching.promotion_statement(promotion) == text
    said = checked(text)
    assert said["subject"] == [
        {
            "name": "apps/app@1.0.0",
            "digest": {"sha256": version.manifest_digest.removeprefix("sha256:")},
        }
    ]
    predicate = said["predicate"]
    assert predicate["plan_digest"] == promotion.plan_digest
    assert [each["by"] for each in predicate["decisions"]] == ["ben"]
    entry = LedgerEntry.objects.get(type="promotion.completed")
    assert predicate["ledger"] == {"sequence": entry.sequence, "leaf_hash": entry.leaf_hash}


def test_sluice_vouches_for_nothing_that_was_not_carried_out(site: Site, version: Version) -> None:
    promotion = site.request(site.staging, version)
    refused(WrongState, lambda: vouching.promotion_statement(promotion))
    refused(NotPromoted, lambda: vouching.summary(version, site.staging))


def test_what_is_placed_has_a_verification_summary(site: Site, version: Version) -> None:
    evidence = add(site, version, "<testsuite><testcase/></testsuite>").evidence
    site.promote(site.staging, version)
    with nothing_changes():
        said = checked(vouching.summary(version, site.staging))
    assert said["predicateType"] == "https://slsa.dev/verification_summary/v1"
    digests = {each["digest"]["sha256"] for each in said["subject"]}
    assert digests == {version.manifest_digest.removeprefix("sha256:"), version.bundle_id}
    predicate = said["predicate"]
    assert predicate["verificationResult"] == "PASSED"
    assert predicate["inputAttestations"] == [
        {"digest": {"sha256": evidence.digest.removeprefix("sha256:")}}
    ]
    recalling.recall(version, by=site.cast.ben, reason="It is bad.")
    version.refresh_from_db()
    refused(Recalled, lambda: vouching.summary(version, site.staging))


def test_what_was_placed_by_break_glass_did_not_pass_the_policy(
    site: Site, version: Version
) -> None:
    on_call(site, "cleo")
    promotion = execute(override(site, site.request(site.staging, version)))
    summary = checked(vouching.summary(version, site.staging))["predicate"]
    assert summary["verificationResult"] == "FAILED"
    assert summary["verifiedLevels"] == ["FAILED"]
    told = checked(vouching.promotion_statement(promotion))["predicate"]["override"]
    assert (told["by"], told["gates"]) == ("cleo", ["approvals"])
    assert told["reason"] == "The site is down."


def test_a_version_that_was_replaced_has_no_summary_any_more(site: Site, version: Version) -> None:
    site.promote(site.staging, version)
    site.promote(site.staging, site.publish("2.0.0"))
    refused(NotPromoted, lambda: vouching.summary(version, site.staging))


def test_a_new_signing_key_has_a_name_of_its_own(site: Site) -> None:
    first = published(site, "<project/>", "pom.xml")
    signing.signing_key.cache_clear()
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    ).decode()
    try:
        with override_settings(SIGNING_KEY_PEM=pem):
            second = publishing.publish(
                site.repository, "app", "1.0.1", first.artifact, by=site.cast.ada
            ).version
    finally:
        signing.signing_key.cache_clear()
    (old,), (new,) = (each.evidence.all() for each in (first, second))
    assert standing(old)[1] == ("sluice",)
    assert standing(new)[1][0].startswith("sluice-")
