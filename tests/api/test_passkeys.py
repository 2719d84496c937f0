"""Approving by the API where the policy asks for a passkey: a challenge, and its answer."""

from typing import Any

import pytest

from promotion import policies
from promotion.models import Promotion
from tests.accounts.authenticator import Authenticator
from tests.api.caller import paths_at_fault
from tests.api.conftest import People
from tests.cast import Site


@pytest.fixture
def promotion(site: Site) -> Promotion:
    policies.set_policy(site.staging, {"second_factor": True}, by=site.cast.admin)
    site.staging.refresh_from_db()
    return site.request(site.staging, site.publish("3.0.0"))


def answered(people: People, promotion: Promotion, key: Authenticator) -> dict[str, Any]:
    asked = people.ben.post(
        f"promotions/{promotion.pk}/approve/challenge/",
        {"plan_digest": promotion.plan_digest},
        expect=200,
    ).json
    assert asked["options"]["userVerification"] == "required"
    assert key.credential_id in {each["id"] for each in asked["options"]["allowCredentials"]}
    return {
        "plan_digest": promotion.plan_digest,
        "assertion": key.sign(asked["nonce"], asked["options"]),
    }


def test_ben_approves_with_what_his_passkey_answered(
    people: People, site: Site, promotion: Promotion
) -> None:
    key = Authenticator()
    key.register(site.cast.ben)
    sent = answered(people, promotion, key)
    told = people.ben.post(f"promotions/{promotion.pk}/approve/", sent, expect=200).json
    assert told["state"] == "approved"
    assert [(each["by"], each["second_factor"]) for each in told["approvals"]] == [("ben", True)]


def test_a_token_alone_is_told_where_a_person_can_approve(
    people: People, promotion: Promotion
) -> None:
    refusal = people.ben.refused(
        "POST",
        f"promotions/{promotion.pk}/approve/",
        {"plan_digest": promotion.plan_digest},
        status=403,
        code="second_factor_required",
    )
    assert f"http://localhost:8000/promotions/{promotion.pk}/" in refusal["detail"]


def test_an_answer_that_is_not_in_order_is_refused(
    people: People, site: Site, promotion: Promotion
) -> None:
    key = Authenticator()
    key.register(site.cast.ben)
    address = f"promotions/{promotion.pk}/approve/"
    sent = answered(people, promotion, key)
    forged = {**sent["assertion"], "signature": "AAAA"}
    people.ben.refused(
        "POST", address, {**sent, "assertion": forged}, status=403, code="second_factor_refused"
    )
    more = {**sent["assertion"], "public_key": "AAAA"}
    people.ben.refused(
        "POST", address, {**sent, "assertion": more}, status=400, code="unknown_field"
    )
    for wrong in ({}, {**sent["assertion"], "signature": "x" * 9000}):
        refusal = people.ben.refused(
            "POST", address, {**sent, "assertion": wrong}, status=422, code="invalid"
        )
        assert "assertion.signature" in paths_at_fault(refusal)
