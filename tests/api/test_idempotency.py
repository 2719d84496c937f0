"""The same request twice: done once, answered twice."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from pipelines.api.base import KEY_LEASE
from pipelines.models import IdempotencyKey, Run
from promotion.models import Promotion, Repository, Selection
from tests.api.caller import Api, problem, token_for
from tests.api.calls import CALLS, HOOKS, UPLOAD, Call
from tests.api.conftest import People, Things
from tests.api.contract import operations
from tests.api.test_uploads import FORM, form, incoming
from tests.world import nothing_changes

TAKES_A_KEY = {
    key
    for key, operation in operations().items()
    if any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", ()))
}
CREATING = [call for call in CALLS if (call.method, call.path) in TAKES_A_KEY]


def test_every_call_that_creates_takes_a_key() -> None:
    creates = {(call.method, call.path) for call in CALLS if call.status == 201}
    # Its answer has a secret in it, which no kept answer may have.
    without = {("POST", HOOKS)}
    # Made again, these have their effect once by themselves.
    without |= {("PUT", UPLOAD + "parts/{file}/{part}/"), ("POST", UPLOAD + "complete/")}
    assert creates - TAKES_A_KEY == without


@pytest.mark.parametrize("call", CREATING, ids=str)
def test_the_same_key_and_body_get_the_first_answer_and_nothing_is_done_again(
    call: Call, people: People, things: Things
) -> None:
    who = people.of("ada" if "ada" in call.may and "approve" not in call.path else
                    sorted(call.may)[-1])  # fmt: skip
    url, data = call.url(things), call.data(things)
    first = who.call("POST", url, data, Idempotency_Key="once")
    assert first.status == call.status, first.content
    assert "Idempotent-Replayed" not in first.headers
    with nothing_changes():
        again = who.call("POST", url, data, Idempotency_Key="once")
    assert (again.status, again.json) == (first.status, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("call", CREATING, ids=str)
def test_the_same_key_with_another_body_is_refused(
    call: Call, people: People, things: Things
) -> None:
    who = people.of(sorted(call.may)[0])
    who.call("POST", call.url(things), call.data(things), Idempotency_Key="once")
    other = {**call.data(things), "comment": "another", "notes": "another"}
    who.refused(
        "POST", call.url(things), other, Idempotency_Key="once",
        status=422, code="idempotency_key_reused",
    )  # fmt: skip


def test_a_key_belongs_to_one_address(people: People) -> None:
    people.ada.post("repositories/", {"name": "one"}, Idempotency_Key="k")
    people.ada.refused(
        "POST", "pipelines/", {"name": "one"}, Idempotency_Key="k",
        status=422, code="idempotency_key_reused",
    )  # fmt: skip


def test_a_key_belongs_to_one_person(people: People) -> None:
    people.ada.post("repositories/", {"name": "one"}, Idempotency_Key="k")
    people.ben.post("repositories/", {"name": "two"}, Idempotency_Key="k")
    assert Repository.objects.filter(name__in=["one", "two"]).count() == 2


def test_a_key_is_the_persons_whichever_token_they_send(people: People, things: Things) -> None:
    people.ada.post("repositories/", {"name": "one"}, Idempotency_Key="k")
    other = Api(token_for(things.site.cast.ada))
    again = other.post("repositories/", {"name": "one"}, Idempotency_Key="k")
    assert again.headers["Idempotent-Replayed"] == "true"


def test_the_order_of_fields_is_not_another_body(people: People) -> None:
    people.ada.post("repositories/", b'{"name": "one", "kind": "docker"}', Idempotency_Key="k")
    again = people.ada.post(
        "repositories/", b'{ "kind":"docker","name":"one" }', Idempotency_Key="k"
    )
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_refusal_is_kept_too(people: People) -> None:
    body = {"name": "-no-"}
    first = people.ada.call("POST", "repositories/", body, Idempotency_Key="k")
    problem(first, 422, "invalid")
    with nothing_changes():
        again = people.ada.call("POST", "repositories/", body, Idempotency_Key="k")
    assert problem(again, 422, "invalid") == first.json
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_kept_refusal_outlives_its_reason(people: People, things: Things) -> None:
    """Whoever wants to try again says so with a new key."""
    body = {"repository": "apps", "package": "app", "environment": "staging", "version": "1.1.0"}
    people.production.post("selections/", body, Idempotency_Key="k", expect=409)
    things.site.promote(things.site.staging, things.requested.items.get().version)
    people.production.post("selections/", body, Idempotency_Key="k", expect=409)
    people.production.post("selections/", body, Idempotency_Key="k2")


def test_what_was_not_let_in_takes_no_key(people: People) -> None:
    for who in (people.nobody, Api("sluice_wrong")):
        who.refused(
            "POST", "repositories/", {"name": "one"}, Idempotency_Key="k",
            status=401, code="unauthenticated",
        )  # fmt: skip
    people.ada.refused(
        "POST", "repositories/", b"{", Idempotency_Key="k", status=400, code="malformed"
    )
    assert not IdempotencyKey.objects.exists()


def _running(people: People, things: Things) -> IdempotencyKey:
    """A key whose first request has begun and not ended."""
    people.ada.post("repositories/", {"name": "one"}, Idempotency_Key="k")
    IdempotencyKey.objects.update(status=None, answer=None)
    return IdempotencyKey.objects.get()


def test_while_the_first_request_runs_the_second_is_told_to_wait(
    people: People, things: Things
) -> None:
    _running(people, things)
    people.ada.refused(
        "POST", "repositories/", {"name": "one"}, Idempotency_Key="k",
        status=409, code="idempotency_key_busy",
    )  # fmt: skip


def test_a_key_whose_request_died_is_free_again_after_its_lease(
    people: People, things: Things
) -> None:
    key = _running(people, things)
    late = timezone.now() - KEY_LEASE - timedelta(seconds=1)
    IdempotencyKey.objects.filter(pk=key.pk).update(created_at=late)
    answer = people.ada.call("POST", "repositories/", {"name": "one"}, Idempotency_Key="k")
    problem(answer, 409, "name_taken")


@pytest.mark.parametrize("key", ["x" * 256, "a\tb", "ü" * 256])
def test_a_key_is_short_and_printable(key: str, people: People) -> None:
    people.ada.refused(
        "POST", "repositories/", {"name": "one"}, status=400, code="bad_request",
        Idempotency_Key=key.encode().decode("latin-1"),
    )  # fmt: skip


def test_an_upload_is_kept_once_and_compared_by_its_bytes_and_names(
    people: People, things: Things
) -> None:
    path = f"pipelines/app/runs/{things.external.number}/artifacts/"

    def send(body: bytes) -> Any:
        return people.ada.call("POST", path, body, content_type=FORM, Idempotency_Key="k")

    first = send(form(("a.txt", b"bytes"), artifact="a"))
    assert first.status == 201, first.content
    with nothing_changes():
        again = send(form(("a.txt", b"bytes"), artifact="a"))
        assert (again.status, again.json) == (201, first.json)
        assert again.headers["Idempotent-Replayed"] == "true"
        for other in (
            form(("a.txt", b"other bytes"), artifact="a"),
            form(("b.txt", b"bytes"), artifact="a"),
            form(("a.txt", b"bytes"), artifact="b"),
        ):
            problem(send(other), 422, "idempotency_key_reused")
    assert incoming() == []


def test_without_a_key_each_request_is_a_new_one(people: People) -> None:
    before = (Run.objects.count(), Selection.objects.count(), Promotion.objects.count())
    for _ in range(2):
        people.ada.post("pipelines/app/runs/", {})
        people.ada.post(
            "selections/", {"repository": "apps", "package": "app", "environment": "staging"}
        )
    assert Run.objects.count() == before[0] + 2
    assert Selection.objects.count() == before[1] + 2
