"""What evidence is read as, and what is refused before anything is kept. Pure: no database."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipelines.errors import Invalid, SluiceError, TooLarge
from promotion.evidence import boms, dsse, reading, statements
from promotion.evidence.boms import Component
from promotion.evidence.statements import Identity
from tests.promotion.evidencing import envelope, pem_of, statement

A, B, C = "a" * 64, "b" * 64, "c" * 64
ED = Ed25519PrivateKey.generate()
EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)


def key(private: Any, name: str = "it") -> dsse.Key:
    public = dsse.load_key(pem_of(private))
    return dsse.Key(name, dsse.fingerprint(public), public)


def opened(text: str) -> dsse.Envelope:
    found = reading.read(text).envelope
    assert found is not None
    return found


# ---- Signatures ----------------------------------------------------------------------------------
def test_the_encoding_that_is_signed_is_that_of_the_specification() -> None:
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@pytest.mark.parametrize("private", [ED, EC, RSA], ids=["ed25519", "ecdsa", "rsa"])
def test_who_signed_is_told_by_the_key_and_by_nothing_else(private: Any) -> None:
    found = opened(envelope(statement(A), private, key_id="a hint of no weight"))
    others = [key(other, f"other{number}") for number, other in enumerate((ED, EC, RSA))]
    other = Ed25519PrivateKey.generate()
    assert dsse.signers(found, [key(private), key(other, "stranger")]) == ("it",)
    assert len(dsse.signers(found, others)) == 1
    assert dsse.signers(found, [key(other)]) == ()


def test_two_signatures_have_two_signers() -> None:
    found = opened(envelope(statement(A), ED, EC))
    assert dsse.signers(found, [key(EC, "b"), key(ED, "a"), key(RSA, "c")]) == ("a", "b")


@pytest.mark.parametrize(
    "options",
    [
        {"signed": statement(B)},
        {"signed_type": "text/plain"},
    ],
    ids=["other payload", "other type"],
)
def test_a_signature_over_another_encoding_counts_for_nothing(options: dict[str, Any]) -> None:
    found = opened(envelope(statement(A), ED, **options))
    assert dsse.signers(found, [key(ED)]) == ()


def test_a_signature_of_the_bare_payload_counts_for_nothing() -> None:
    said = json.loads(envelope(statement(A), ED))
    said["signatures"][0]["sig"] = base64.b64encode(ED.sign(statement(A))).decode()
    assert dsse.signers(opened(json.dumps(said)), [key(ED)]) == ()


@pytest.mark.parametrize(
    "hint", ["release", key(ED).fingerprint, key(ED).fingerprint[7:]], ids=["name", "sha256", "hex"]
)
def test_a_signature_in_the_name_of_a_key_that_did_not_make_it_is_refused(hint: str) -> None:
    trusted = [key(ED, "release"), key(EC, "build")]
    pretends = opened(envelope(statement(A), EC, key_id=hint))
    with pytest.raises(Invalid, match="of the key “release”, and it is not"):
        dsse.require_honest(pretends, trusted)
    dsse.require_honest(opened(envelope(statement(A), ED, key_id=hint)), trusted)
    dsse.require_honest(opened(envelope(statement(A), RSA, key_id="unknown")), trusted)


def test_base64_for_addresses_is_read_as_well() -> None:
    text = envelope(statement(A), RSA)
    said = json.loads(text)
    for each in (said, said["signatures"][0]):
        for name in {"payload", "sig"} & set(each):
            each[name] = each[name].replace("+", "-").replace("/", "_")
    assert dsse.signers(opened(json.dumps(said)), [key(RSA)]) == ("it",)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"payloadType": "application/json"}, "Only statements are taken"),
        ({"payload": "{}"}, "not base64"),
        ({"payload": 7}, "both texts"),
        ({"signatures": []}, "no signatures"),
        ({"signatures": [{}] * 17}, "at most 16 signatures"),
        ({"signatures": [{"keyid": "x"}]}, "a “sig” in base64"),
        ({"signatures": [{"keyid": 1, "sig": ""}]}, "The “keyid”"),
        ({"more": 1}, "no field “more”"),
    ],
    ids=str,
)
def test_an_envelope_that_is_none_is_refused(change: dict[str, Any], why: str) -> None:
    said = {**json.loads(envelope(statement(A), ED)), **change}
    with pytest.raises(Invalid, match=why):
        reading.read(json.dumps(said))


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        ("nonsense", "no public key in PEM"),
        ("-----BEGIN PRIVATE KEY-----", "This is a private key"),
        (pem_of(ec.generate_private_key(ec.SECP384R1())), "Ed25519, ECDSA on P-256, or RSA"),
        (pem_of(rsa.generate_private_key(65537, 1024)), "at least 2048 bits; it has 1024"),
    ],
    ids=["nonsense", "private", "curve", "short"],
)
def test_a_key_that_signatures_cannot_be_checked_with_is_refused(pem: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        dsse.load_key(pem)


# ---- Statements ----------------------------------------------------------------------------------
WHOLE = Identity("apps/app 1.0.0", frozenset({A}), {"bin/app": B, "LICENSE": C})


@pytest.mark.parametrize(
    "subjects", [(A,), (A.upper(),), (A, "d" * 64), (B, C), (B, C, "d" * 64)], ids=len
)
def test_a_statement_about_all_of_the_bytes_is_taken(subjects: tuple[str, ...]) -> None:
    statements.require_about(statements.of(json.loads(statement(*subjects))), WHOLE)


@pytest.mark.parametrize(
    ("subjects", "why"),
    [
        (("d" * 64,), "about other bytes"),
        ((C,), "1 of the 2 files of apps/app 1.0.0 only; “bin/app” is not"),
        ((B,), "“LICENSE” is not"),
    ],
)
def test_a_statement_about_other_bytes_or_some_of_them_is_refused(
    subjects: tuple[str, ...], why: str
) -> None:
    """A licence that two versions share must not carry a test result from one to the other."""
    with pytest.raises(Invalid, match=why):
        statements.require_about(statements.of(json.loads(statement(*subjects))), WHOLE)


def test_a_subject_without_a_sha256_is_about_nothing_that_is_known() -> None:
    said = {**json.loads(statement(A)), "subject": [{"digest": {"sha1": "a" * 40}}]}
    with pytest.raises(Invalid, match="No subject of the statement has a sha256"):
        statements.require_about(statements.of(said), WHOLE)


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v9"},
        {"subject": []},
        {"subject": {}},
        {"subject": [{"digest": {}}]},
        {"subject": [{"digest": {"sha256": "short"}}]},
        {"subject": [{"digest": {"sha256": 7}}]},
        {"subject": [7]},
        {"predicateType": ""},
        {"predicateType": "x" * 256},
        {"predicate": []},
    ],
    ids=str,
)
def test_a_statement_that_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        reading.read(json.dumps({**json.loads(statement(A)), **change}))


@pytest.mark.parametrize(
    ("word", "result"), [("PASSED", "passed"), ("FAILED", "failed"), ("WARNED", ""), (True, "")]
)
def test_what_came_out_is_read_of_words_that_are_known(word: Any, result: str) -> None:
    assert reading.read(statement(A, result=word).decode()).result == result


# ---- Reports -------------------------------------------------------------------------------------
CASES = """<testsuites><testsuite name="a" tests="4">
<testcase name="1"/><testcase name="2"><failure>no</failure></testcase>
<testcase name="3"><skipped/></testcase><testcase name="4"><error/><failure/></testcase>
</testsuite></testsuites>"""


@pytest.mark.parametrize(
    ("text", "result", "words"),
    [
        (CASES, "failed", "4 tests, 2 failed, 1 skipped"),
        (
            "<testsuite><testcase/><testcase><system-out/></testcase></testsuite>",
            "passed",
            "2 tests",
        ),
        ("<testsuite><testcase><skipped/></testcase></testsuite>", "", "1 test, 1 skipped"),
        ("<testsuites/>", "", "0 tests"),
        (
            '<testsuite failures="1" errors="2"><testcase/></testsuite>',
            "failed",
            "1 test, 3 failed",
        ),
        ('\ufeff<?xml version="1.0"?><testsuite><testcase/></testsuite>', "passed", "1 test"),
    ],
)
def test_a_junit_report_is_counted(text: str, result: str, words: str) -> None:
    read = reading.read(text)
    assert (read.kind, read.result) == ("junit", result)
    assert reading.in_words(read.summary) == words


BOMB = """<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>
<testsuite name="&b;"><testcase/></testsuite>"""
OUTSIDE = '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><testsuite>&a;</testsuite>'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "document type"),
        (OUTSIDE, "document type"),
        ("<testsuite>" * 70 + "</testsuite>" * 70, "nested deeper"),
        ("<testsuite><testcase>", "not XML"),
        ("<html/>", "begins with testsuites or testsuite"),
        ("<testsuite>&nothing;</testsuite>", "not XML"),
        (f"<testsuite>{'x' * reading.MAX_BYTES}</testsuite>", "at most"),
    ],
    ids=["entities", "file", "deep", "cut", "html", "entity", "long"],
)
def test_xml_that_is_no_report_is_refused(text: str, why: str) -> None:
    with pytest.raises(SluiceError, match=why):
        reading.read(text)


def sarif(*results: dict[str, Any], **run: Any) -> str:
    rules = [{"id": "R1", "defaultConfiguration": {"level": "error"}}, {"id": "R2"}]
    driver = {"name": "scanner", "rules": rules}
    return json.dumps(
        {"version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": [*results], **run}]}
    )


@pytest.mark.parametrize(
    ("text", "result", "words"),
    [
        (sarif(), "passed", "nothing found"),
        (sarif({"ruleId": "R1"}), "failed", "1 error"),
        (sarif({"ruleId": "R2"}, {"level": "note"}), "passed", "1 warning, 1 note"),
        (sarif({"level": "error", "suppressions": [{}]}), "passed", "1 suppressed"),
        (sarif({"level": "error", "suppressions": [{"status": "rejected"}]}), "failed", "1 error"),
        (sarif({"level": "error", "kind": "pass"}), "passed", "nothing found"),
        (sarif(invocations=[{"executionSuccessful": False}]), "failed", "nothing found"),
        ('{"version": "2.1.0", "runs": []}', "", "nothing found"),
    ],
)
def test_a_sarif_log_is_counted(text: str, result: str, words: str) -> None:
    read = reading.read(text)
    assert (read.kind, read.result) == ("sarif", result)
    assert reading.in_words(read.summary) == words


# ---- Bills of materials --------------------------------------------------------------------------
CYCLONEDX = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "components": [
        {
            "group": "org.example", "name": "core", "version": "1.2",
            "purl": "pkg:maven/org.example/core@1.2",
            "licenses": [{"license": {"id": "MIT"}}, {"expression": "Apache-2.0 OR MIT"}],
            "components": [{"name": "inner", "licenses": [{"license": {"name": "Own"}}]}],
        },
        {"name": "inner", "licenses": [{"license": {"name": "Own"}}]},
    ],
}  # fmt: skip
SPDX = {
    "spdxVersion": "SPDX-2.3",
    "packages": [
        {
            "name": "left", "versionInfo": "2", "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "ISC",
            "externalRefs": [
                {"referenceType": "cpe23Type", "referenceLocator": "cpe:x"},
                {"referenceType": "purl", "referenceLocator": "pkg:npm/left@2"},
            ],
        }
    ],
}  # fmt: skip


class Row:
    def __init__(self, kind: str, payload: str) -> None:
        self.kind, self.payload = kind, payload


@pytest.mark.parametrize("how", ["bare", "stated", "signed"])
def test_components_are_listed_whatever_is_around_the_bill(how: str) -> None:
    bill = json.dumps(CYCLONEDX)
    said = statement(A, type_="https://cyclonedx.org/bom", **CYCLONEDX)
    text = {"bare": bill, "stated": said.decode(), "signed": envelope(said, ED)}[how]
    read = reading.read(text)
    assert (read.kind, read.predicate_type) == ("cyclonedx", "https://cyclonedx.org/bom")
    assert reading.in_words(read.summary) == "2 components"
    assert boms.components(Row(read.kind, text)) == (
        Component("inner", "", "", ("Own",)),
        Component(
            "org.example/core", "1.2", "pkg:maven/org.example/core@1.2",
            ("Apache-2.0 OR MIT", "MIT"),
        ),
    )  # fmt: skip


def test_packages_of_spdx_are_listed() -> None:
    text = json.dumps(SPDX)
    assert reading.read(text).kind == "spdx"
    assert boms.components(Row("spdx", text)) == (
        Component("left", "2", "pkg:npm/left@2", ("ISC",)),
    )
    assert boms.components(Row("junit", text)) == ()


# ---- JSON of two meanings, and of none -----------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"_type": "a", "_type": "b"}', "“_type” stands twice"),
        ('{"bomFormat": "CycloneDX", "components": [{"name": "a", "name": "b"}]}', "“name” stands"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested deeper"),
        ("[" * 100_000 + "]" * 100_000, "nested deeper"),
        ('{"version": "2.1.0", "runs": NaN}', "NaN is no number"),
        ("[]", "must be a JSON object"),
        ("{}", "of no kind that is known"),
        ("nonsense", "not JSON"),
        ('{"bomFormat": "Other"}', "is “CycloneDX”"),
        ('{"bomFormat": "CycloneDX", "components": [7]}', "list of objects"),
        ('{"spdxVersion": "SPDX-9"}', "SPDX-2.2"),
        ('{"version": "3", "runs": []}', "version 2.1.0"),
        ('{"version": "2.1.0", "runs": {"a": 1}}', "list of objects"),
    ],
    ids=range(13),
)
def test_json_that_is_not_what_it_seems_is_refused(text: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        reading.read(text)


def test_a_statement_in_an_envelope_has_one_meaning_too() -> None:
    twice = statement(A).replace(b'"subject"', b'"subject": [], "subject"')
    with pytest.raises(Invalid, match="“subject” stands twice"):
        reading.read(envelope(twice, ED))


def test_evidence_over_its_size_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLarge):
        reading.read("[" * (reading.MAX_BYTES + 1))
