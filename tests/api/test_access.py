"""Who may make which call: every call by everyone, by nobody, and by whoever may no longer."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Token
from tests.api.caller import Api, problem, token_for
from tests.api.calls import CALLS, EVERYONE, PUBLIC, VERBS, WITH_BODY, Call
from tests.api.conftest import People, Things
from tests.api.contract import operations
from tests.world import nothing_changes

pytestmark = pytest.mark.door

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def test_every_operation_of_the_schema_stands_in_the_table() -> None:
    assert {(call.method, call.path) for call in CALLS} | PUBLIC == set(operations())


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_the_call_answers_everyone_who_may_make_it(
    call: Call, people: People, things: Things
) -> None:
    name = "ada" if "ada" in call.may else sorted(call.may)[0]
    answer = people.of(name).call(
        call.method, call.url(things), call.data(things), content_type=call.form
    )
    assert answer.status == call.status, answer.content


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_the_call_refuses_everyone_else_and_changes_nothing(
    call: Call, people: People, things: Things
) -> None:
    for name in sorted({*EVERYONE, "mallory"} - call.may):
        code = (
            "self_approval"
            if name == "ada" and call.body and "plan_digest" in call.body
            else ("forbidden")
        )
        status = 403
        if name in call.strangers:
            status, code = 404, "not_found"
        people.of(name).refused(
            call.method, call.url(things), call.data(things), status=status, code=code,
            content_type=call.form,
        )  # fmt: skip


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_the_call_asks_who_is_there_and_takes_no_bad_token(
    call: Call, people: People, things: Things
) -> None:
    cast = things.site.cast
    expired = token_for(cast.ada)
    Token.objects.filter(user=cast.ada).update(expiry=timezone.now() - timedelta(seconds=1))
    revoked = token_for(cast.ben)
    Token.objects.filter(user=cast.ben).delete()
    left = token_for(cast.cleo)
    type(cast.cleo).objects.filter(pk=cast.cleo.pk).update(is_active=False)
    url, data = call.url(things), call.data(things)
    with nothing_changes():
        for token in (None, "", "sluice_wrong", "a b", "ä", expired, revoked, left):
            problem(Api(token).call(call.method, url, data), 401, "unauthenticated")


def test_a_refused_token_says_why(people: People, things: Things) -> None:
    expired = token_for(things.site.cast.dora)
    Token.objects.filter(user=things.site.cast.dora).update(expiry=timezone.now())
    answer = Api(expired).get("history/", expect=401)
    assert "expired" in answer.json["detail"]


def test_another_scheme_than_bearer_is_not_a_token(people: People) -> None:
    answer = people.nobody.get("pipelines/", expect=401, Authorization="Basic YWRhOmFkYQ==")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", sorted({call.path for call in CALLS}))
def test_an_address_answers_405_to_every_other_method(
    path: str, people: People, things: Things
) -> None:
    calls = [call for call in CALLS if call.path == path]
    known = {call.method for call in calls}
    for method in sorted(set(METHODS) - known):
        people.admin.refused(
            method, calls[0].url(things), {}, status=405, code="method_not_allowed"
        )


@pytest.mark.parametrize("call", WITH_BODY, ids=str)
def test_an_unknown_field_is_refused(call: Call, people: People, things: Things) -> None:
    who, url = people.of(sorted(call.may)[0]), call.url(things)
    is_policy = call.path.endswith("/policy/")
    code, status = ("invalid", 422) if is_policy else ("unknown_field", 400)
    for extra in ("state", "approved_by", "is_staff", "ключ", ""):
        body = {**call.data(things), extra: "completed"}
        who.refused(call.method, url, body, status=status, code=code)


@pytest.mark.parametrize("call", VERBS, ids=str)
def test_a_verb_without_a_body_takes_no_field(call: Call, people: People, things: Things) -> None:
    who = people.of(sorted(call.may)[0])
    body = {"state": "completed"}
    who.refused("POST", call.url(things), body, status=400, code="unknown_field")
