"""A passkey signs exactly the plan that is approved, and whoever forges that is found out."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.core.signing import TimestampSigner
from django.test import Client, override_settings
from webauthn.helpers import bytes_to_base64url

from accounts import passkeys
from accounts.models import Passkey, User
from pipelines.errors import AlreadyDecided, Invalid
from promotion import assertions, policies, promoting, second_factor
from promotion.errors import PlanChanged, SecondFactorRefused, SecondFactorRequired, SelfApproval
from promotion.ledger.verify import CHECKS
from promotion.models import Approval, Decision, LedgerEntry, Promotion, PromotionState
from promotion.policies import current_policy, rules_of
from promotion.web.sentences import sentence
from tests.accounts.authenticator import PRESENT, VERIFIED, Authenticator
from tests.cast import Site
from tests.promotion.verifying import broken
from tests.sealed import unsealed
from tests.world import nothing_changes, refused

SIGNED = "signed approvals were signed by their people's passkeys"
ROWS = "the ledger and the rows say the same"
APPROVALS = "promotions had the approvals they needed"


@pytest.fixture
def asking(site: Site) -> Site:
    """A site whose staging asks for a passkey."""
    policies.set_policy(site.staging, {"second_factor": True}, by=site.cast.admin)
    site.staging.refresh_from_db()
    return site


@pytest.fixture
def promotion(asking: Site) -> Promotion:
    return asking.request(asking.staging, asking.publish("1.0.0"))


@pytest.fixture
def key(asking: Site) -> Authenticator:
    """Ben's."""
    made = Authenticator()
    made.register(asking.cast.ben)
    return made


def signed(key: Authenticator, promotion: Promotion, by: User, **lies: Any) -> dict[str, str]:
    asked = second_factor.challenge(promotion, by=by, plan=promotion.plan_digest)
    return key.sign(asked.nonce, asked.options, **lies)


def approve(promotion: Promotion, by: User, assertion: dict[str, Any] | None) -> Approval:
    return promoting.approve(
        promotion, by=by, plan=promotion.plan_digest, comment="Fine.", assertion=assertion
    )


def not_accepted(promotion: Promotion, by: User, assertion: dict[str, Any]) -> str:
    refusal = refused(SecondFactorRefused, lambda: approve(promotion, by, assertion))
    promotion.refresh_from_db()
    assert promotion.state == PromotionState.REQUESTED
    return refusal.detail


# ---- With a passkey ----------------------------------------------------------------------------
def test_ben_approves_with_his_passkey_and_verify_checks_it(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    approval = approve(promotion, asking.cast.ben, signed(key, promotion, asking.cast.ben))
    assert promotion.state == PromotionState.APPROVED
    kept = assertions.Assertion.read(approval.second_factor or {})
    assert (kept.rp_id, kept.origin) == ("localhost", "http://localhost:8000")
    assert kept.credential_id == key.credential_id
    passkey = Passkey.objects.get()
    assert (passkey.sign_count, passkey.last_used_at is not None) == (2, True)
    entry = LedgerEntry.objects.get(type="promotion.approved")
    said = json.loads(bytes(entry.body))["data"]
    assert said["second_factor"] == approval.second_factor
    assert [part.text for part in sentence(entry).parts][-1] == "with a passkey"
    promoting.execute(promotion.pk)
    promotion.refresh_from_db()
    assert promotion.state == PromotionState.COMPLETED
    assert broken() == {}


def test_what_is_kept_suffices_to_check_it_without_this_site(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    approve(promotion, asking.cast.ben, signed(key, promotion, asking.cast.ben))
    said = json.loads(bytes(LedgerEntry.objects.get(type="promotion.approved").body))
    data = said["data"]
    subject = assertions.Subject(
        data["promotion"], data["plan_digest"], data["decision"], said["actor"]
    )
    kept = assertions.Assertion.read(data["second_factor"])
    with override_settings(SITE_URL="https://elsewhere.example", SECRET_KEY="another"):
        assert assertions.check(subject, kept) == 2


def test_a_device_that_does_not_count_signs_as_often_as_it_is_asked(asking: Site) -> None:
    key, ben = Authenticator(counts=False), asking.cast.ben
    key.register(ben)
    for name in ("1.0.0", "1.1.0"):
        promotion = asking.request(asking.staging, asking.publish(name))
        approve(promotion, ben, signed(key, promotion, ben))
        promoting.execute(promotion.pk)
    assert broken() == {}


def test_each_of_two_approvals_is_signed_by_its_own_person(asking: Site) -> None:
    cast = asking.cast
    rules = {"second_factor": True, "approvals": 2}
    policies.set_policy(asking.staging, rules, by=cast.admin)
    asking.staging.refresh_from_db()
    promotion = asking.request(asking.staging, asking.publish("1.0.0"))
    for person, state in ((cast.ben, "requested"), (cast.cleo, "approved")):
        key = Authenticator()
        key.register(person)
        approve(promotion, person, signed(key, promotion, person))
        assert promotion.state == state
    assert "2 of 2 approvals with a passkey (by ben, cleo)." in str(promotion.gates)


def test_a_signature_that_nobody_asked_for_is_checked_and_kept(site: Site) -> None:
    key, ben = Authenticator(), site.cast.ben
    key.register(ben)
    promotion = site.request(site.staging, site.publish("1.0.0"))
    bad = signed(key, promotion, ben, origin="https://evil.example")
    not_accepted(promotion, ben, bad)
    assert approve(promotion, ben, signed(key, promotion, ben)).second_factor is not None
    assert broken() == {}


def test_a_rejection_needs_no_passkey(promotion: Promotion, asking: Site) -> None:
    promoting.reject(promotion, by=asking.cast.cleo, plan=promotion.plan_digest)
    assert promotion.state == PromotionState.REJECTED
    assert broken() == {}


# ---- Without one -------------------------------------------------------------------------------
def test_without_a_signature_it_is_said_what_to_do(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    cast = asking.cast
    page = f"http://localhost:8000/promotions/{promotion.pk}/"
    said = {
        person.username: refused(
            SecondFactorRequired, partial(approve, promotion, person, None)
        ).detail
        for person in (cast.ben, cast.cleo)
    }
    assert f"Approve at {page} in a browser" in said["ben"]
    assert "add one on your account page" in said["cleo"]
    refused(
        SecondFactorRequired,
        lambda: second_factor.challenge(promotion, by=cast.cleo, plan=promotion.plan_digest),
    )


def test_a_machine_cannot_approve_where_a_passkey_is_asked(
    asking: Site,
) -> None:
    rules = {"second_factor": True, "machines": {"approve": True}}
    policies.set_policy(asking.staging, rules, by=asking.cast.admin)
    asking.staging.refresh_from_db()
    promotion = asking.request(asking.staging, asking.publish("1.0.0"))
    robot = User.objects.create_user("robot", roles=["release_manager"], is_machine=True)
    refusal = refused(SecondFactorRequired, lambda: approve(promotion, robot, None))
    assert "a person must approve" in refusal.detail


def test_where_the_site_has_no_domain_it_is_said_so(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    assertion = signed(key, promotion, asking.cast.ben)
    with override_settings(SITE_URL="http://10.0.0.7"):
        for given in (None, assertion):
            refusal = refused(
                SecondFactorRequired, partial(approve, promotion, asking.cast.ben, given)
            )
            assert "SLUICE_URL" in refusal.detail


def test_who_may_not_decide_is_asked_for_nothing(promotion: Promotion, asking: Site) -> None:
    refused(
        SelfApproval,
        lambda: second_factor.challenge(promotion, by=asking.cast.ada, plan=promotion.plan_digest),
    )


def test_a_challenge_is_for_the_plan_that_was_seen(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    refused(
        PlanChanged,
        lambda: second_factor.challenge(promotion, by=asking.cast.ben, plan="sha256:other"),
    )


# ---- Attacks -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("lie", "why"),
    [
        ({"origin": "https://evil.example"}, "origin"),
        ({"rp_id": "evil.example"}, "RP ID"),
        ({"flags": PRESENT}, "not verified"),
        ({"flags": VERIFIED}, "not present"),
        ({"type": "webauthn.create"}, "type"),
        ({"challenge": "AAAA"}, "challenge"),
        ({"count": 1}, "sign count"),
        ({"count": 0}, "sign count"),
    ],
    ids=str,
)
def test_a_signature_of_something_else_approves_nothing(
    lie: dict[str, Any], why: str, promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    ben = asking.cast.ben
    assert why in not_accepted(promotion, ben, signed(key, promotion, ben, **lie))


def test_the_signature_of_another_plan_approves_nothing(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    ben = asking.cast.ben
    asked = second_factor.challenge(promotion, by=ben, plan=promotion.plan_digest)
    other = assertions.Subject(promotion.pk, f"sha256:{'0' * 64}", "approve", "ben")
    assertion = key.sign(asked.nonce, {**asked.options, "challenge": _text(other, asked.nonce)})
    assert "challenge" in not_accepted(promotion, ben, assertion)


def test_the_signature_of_a_rejection_does_not_approve(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    ben = asking.cast.ben
    asked = second_factor.challenge(promotion, by=ben, plan=promotion.plan_digest)
    other = assertions.Subject(promotion.pk, promotion.plan_digest, "reject", "ben")
    assertion = key.sign(asked.nonce, {**asked.options, "challenge": _text(other, asked.nonce)})
    assert "challenge" in not_accepted(promotion, ben, assertion)


def _text(subject: assertions.Subject, nonce: str) -> str:
    return bytes_to_base64url(assertions.challenge(subject, nonce))


def test_the_signature_of_another_promotion_approves_nothing(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    other = asking.request(asking.staging, asking.publish("1.1.0"))
    ben = asking.cast.ben
    assert "not asked for here" in not_accepted(promotion, ben, signed(key, other, ben))


def test_another_person_s_passkey_approves_nothing(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    cast = asking.cast
    hers = Authenticator()
    hers.register(cast.cleo)
    assert "none of yours" in not_accepted(promotion, cast.ben, signed(hers, promotion, cast.ben))
    # What she signed herself is no use to him either.
    theirs = signed(hers, promotion, cast.cleo)
    assert "not asked for here" in not_accepted(promotion, cast.ben, theirs)
    # Nor can he say that it was his key.
    renamed = {**signed(hers, promotion, cast.ben), "credential_id": key.credential_id}
    assert "signature" in not_accepted(promotion, cast.ben, renamed)


def test_a_signature_approves_once(promotion: Promotion, key: Authenticator, asking: Site) -> None:
    ben = asking.cast.ben
    policies.set_policy(
        asking.staging, {"second_factor": True, "approvals": 2}, by=asking.cast.admin
    )
    asking.staging.refresh_from_db()
    waiting = asking.request(asking.staging, asking.publish("1.1.0"))
    assertion = signed(key, waiting, ben)
    approve(waiting, ben, assertion)
    refused(AlreadyDecided, lambda: approve(waiting, ben, assertion))
    again = asking.request(asking.staging, asking.publish("1.2.0"))
    assert "not asked for here" in not_accepted(again, ben, assertion)


def test_a_signature_that_was_given_too_late_approves_nothing(
    promotion: Promotion, key: Authenticator, asking: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assertion = signed(key, promotion, asking.cast.ben)
    monkeypatch.setattr(second_factor, "PATIENCE", -1)
    assert "longer ago" in not_accepted(promotion, asking.cast.ben, assertion)


def test_a_nonce_of_one_s_own_making_is_not_ours(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    ben = asking.cast.ben
    asked = second_factor.challenge(promotion, by=ben, plan=promotion.plan_digest)
    nonce = TimestampSigner(key="guessed", salt="x").sign("x")
    subject = assertions.Subject(promotion.pk, promotion.plan_digest, "approve", "ben")
    assertion = key.sign(nonce, {**asked.options, "challenge": _text(subject, nonce)})
    assert "not asked for here" in not_accepted(promotion, ben, assertion)


def test_a_removed_passkey_approves_nothing(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    ben = asking.cast.ben
    assertion = signed(key, promotion, ben)
    passkeys.remove(ben, Passkey.objects.get().pk, password="ben's password")
    assert "you have removed it" in not_accepted(promotion, ben, assertion)


@pytest.mark.parametrize("name", sorted(second_factor.ANSWERED))
@pytest.mark.parametrize("value", ["", "AAAA", "\u2603", "x" * 9000, 7, None, "[" * 3000])
def test_what_is_no_signature_is_refused(
    name: str, value: Any, promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    ben = asking.cast.ben
    not_accepted(promotion, ben, {**signed(key, promotion, ben), name: value})


def test_each_byte_of_a_signature_counts(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    ben = asking.cast.ben
    for name in ("authenticator_data", "client_data", "signature"):
        assertion = signed(key, promotion, ben)
        flipped = "B" if assertion[name][20] != "B" else "C"
        assertion[name] = assertion[name][:20] + flipped + assertion[name][21:]
        not_accepted(promotion, ben, assertion)


# ---- The policy --------------------------------------------------------------------------------
def test_the_policy_says_whether_a_passkey_is_asked(site: Site) -> None:
    assert rules_of(current_policy(site.staging)).second_factor is False
    for wrong in ("yes", 1, None):
        act = partial(
            policies.set_policy, site.staging, {"second_factor": wrong}, by=site.cast.admin
        )
        refusal = refused(Invalid, act)
        assert [each.path for each in refusal.problems] == ["second_factor"]


# ---- Forged in the database --------------------------------------------------------------------
def forge(**changes: Any) -> None:
    approval = Approval.objects.get()
    Approval.objects.update(second_factor={**(approval.second_factor or {}), **changes})


def swap_decision() -> None:
    Approval.objects.update(decision=Decision.REJECT)


def swap_plan() -> None:
    Approval.objects.update(plan_digest=f"sha256:{'0' * 64}")


def swap_person() -> None:
    Approval.objects.update(by=User.objects.get(username="cleo"))


def swap_key() -> None:
    """Signed anew, by a key that the forger holds."""
    approval = Approval.objects.get()
    forger = Authenticator()
    made = forger.register(User.objects.get(username="mallory"))
    kept = assertions.Assertion.read(approval.second_factor or {})
    subject = assertions.Subject(approval.promotion_id, approval.plan_digest, "approve", "ben")
    options = {"rpId": kept.rp_id, "challenge": _text(subject, kept.nonce)}
    forge(**forger.sign(kept.nonce, options), public_key=made.public_key)


def take_it_off() -> None:
    Approval.objects.update(second_factor=None)


FORGERIES: dict[str, tuple[Callable[[], None], set[str]]] = {
    "another nonce": (lambda: forge(nonce="x"), {SIGNED, ROWS}),
    "another origin": (lambda: forge(origin="https://evil.example"), {SIGNED, ROWS}),
    "another domain": (lambda: forge(rp_id="evil.example"), {SIGNED, ROWS}),
    "another signature": (lambda: forge(signature="AAAA"), {SIGNED, ROWS}),
    "no key": (lambda: forge(public_key=""), {SIGNED, ROWS}),
    "one field more": (lambda: forge(more="x"), {SIGNED, ROWS}),
    "another decision": (swap_decision, {SIGNED, ROWS, APPROVALS}),
    "another plan": (swap_plan, {SIGNED, ROWS, APPROVALS}),
    "another person": (swap_person, {SIGNED, ROWS}),
    "the forger's key": (swap_key, {ROWS}),
    "none": (take_it_off, {ROWS, APPROVALS}),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_signature_is_found(
    name: str, promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    approve(promotion, asking.cast.ben, signed(key, promotion, asking.cast.ben))
    promoting.execute(promotion.pk)
    assert broken() == {}
    act, promises = FORGERIES[name]
    with unsealed():
        act()
    assert broken().keys() == promises


def test_a_passkey_that_was_planted_in_the_database_is_found(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    """Whoever writes rows can approve as ben with a key of their own; not without a trace."""
    forger = Authenticator()
    made = forger.register(asking.cast.mallory)
    Passkey.objects.filter(pk=made.pk).update(user=asking.cast.ben)
    approve(promotion, asking.cast.ben, signed(forger, promotion, asking.cast.ben))
    found = broken()
    assert found.keys() == {ROWS, SIGNED}
    assert found[SIGNED] == [
        f"promotion {promotion.pk}: the key of ben was not theirs when it signed"
    ]


def test_one_signature_copied_to_another_approval_is_found(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    ben = asking.cast.ben
    other = asking.request(asking.staging, asking.publish("1.1.0"))
    for each in (promotion, other):
        approve(each, ben, signed(key, each, ben))
    first = Approval.objects.get(promotion=promotion)
    with unsealed():
        Approval.objects.filter(promotion=other).update(second_factor=first.second_factor)
    assert any(f"promotion {other.pk}: the signature of ben" in each for each in broken()[SIGNED])


def test_the_promise_is_one_of_those_that_verify_names() -> None:
    assert {SIGNED, ROWS, APPROVALS} <= CHECKS.keys()


# ---- The page ----------------------------------------------------------------------------------
def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_the_page_offers_the_passkey_or_says_what_is_missing(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    address = f"/promotions/{promotion.pk}/"
    ben = signed_in(asking.cast.ben).get(address).content.decode()
    assert f'data-passkey-sign="/api/v1/promotions/{promotion.pk}/approve/challenge/"' in ben
    assert "js/passkey.js" in ben
    cleo = signed_in(asking.cast.cleo).get(address).content.decode()
    assert "add one on your account page" in cleo
    assert "data-passkey-sign" not in cleo
    assert ">Reject</button>" in cleo


def test_the_form_sends_the_signature_and_without_scripts_is_refused(
    promotion: Promotion, key: Authenticator, asking: Site
) -> None:
    client = signed_in(asking.cast.ben)
    address = f"/promotions/{promotion.pk}/approve/"
    plain = {"plan_digest": promotion.plan_digest, "comment": "Fine."}
    with nothing_changes():
        without = client.post(address, plain)
    assert without.status_code == 403
    assert b"asks for a passkey" in without.content
    answer = signed(key, promotion, asking.cast.ben)
    fields = {f"passkey_{name}": value for name, value in answer.items()}
    assert client.post(address, {**plain, **fields}).status_code == 303
    page = client.get(f"/promotions/{promotion.pk}/").content.decode()
    assert "Approved with a passkey" in page


def test_ada_is_offered_nothing(promotion: Promotion, asking: Site) -> None:
    page = signed_in(asking.cast.ada).get(f"/promotions/{promotion.pk}/").content.decode()
    assert "passkey_nonce" not in page
