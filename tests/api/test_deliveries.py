"""The address where code servers deliver: open to everybody, believing only who is signed."""

from typing import Any

import pytest

from pipelines import hooks, sealing
from pipelines.models import PushHook, Run
from tests.api.caller import Answer, Api, problem
from tests.api.conftest import People, Things
from tests.pipelines.pushes.deliveries import GITHUB_PUSH, GITLAB_PUSH, Delivery, signed
from tests.world import nothing_changes

ADDRESS = "hooks/hooked/repo/"
MEBIBYTE = 1024 * 1024


@pytest.fixture
def secret(things: Things) -> str:
    return sealing.unseal(PushHook.objects.get().sealed)["secret"]


def send(delivery: Delivery, address: str = ADDRESS, who: Api | None = None) -> Answer:
    """As a code server sends it, without a token."""
    headers: dict[str, Any] = {
        name.replace("-", "_"): value for name, value in delivery.headers.items()
    }
    form = headers.pop("content_type")
    return (who or Api()).call("POST", address, delivery.body, content_type=form, **headers)


def test_a_delivery_is_accepted_and_says_which_run_it_started(secret: str) -> None:
    answer = send(signed(GITHUB_PUSH, secret))
    run = Run.objects.get(pipeline__slug="hooked")
    assert answer.status == 202
    assert answer.json == {
        "started": run.number,
        "why": "Branch main was pushed by alice, commit c0ffee00.",
    }
    assert send(signed(GITHUB_PUSH, secret)).json["started"] == run.number
    assert Run.objects.filter(pipeline__slug="hooked").count() == 1


def test_a_delivery_that_starts_nothing_is_accepted_and_says_why(secret: str) -> None:
    answer = send(signed(GITHUB_PUSH.having(ref="refs/heads/other"), secret))
    assert (answer.status, answer.json["started"]) == (202, None)
    assert "is of branch main" in answer.json["why"]


def test_a_form_is_read_as_it_was_signed(secret: str) -> None:
    form = GITHUB_PUSH.titled(content_type="application/x-www-form-urlencoded")
    answer = send(signed(form, secret))
    assert (answer.status, answer.json["why"]) == (202, "The body is not JSON.")


def test_a_wrong_signature_and_an_unknown_hook_are_answered_alike(secret: str) -> None:
    with nothing_changes():
        wrong = problem(send(signed(GITHUB_PUSH, "guessed")), 401, "not_genuine")
        for address in ("hooks/hooked/other/", "hooks/app/repo/", "hooks/no/no/", "hooks/ü/%20/"):
            assert problem(send(signed(GITHUB_PUSH, secret), address), 401, "not_genuine") == wrong
        assert problem(send(GITHUB_PUSH), 401, "not_genuine") == wrong
        assert problem(send(Delivery({"content-type": "text/plain"}, b"")), 401, "not_genuine")


def test_a_token_stands_in_for_no_signature(people: People, secret: str) -> None:
    with nothing_changes():
        problem(send(signed(GITHUB_PUSH, "guessed"), who=people.admin), 401, "not_genuine")


def test_a_signature_stands_in_for_no_token(secret: str) -> None:
    delivery = signed(GITLAB_PUSH, secret)
    with nothing_changes():
        problem(send(delivery, "pipelines/hooked/hooks/repo/rotate/"), 401, "unauthenticated")


def test_nul_in_the_address_is_nothing_that_could_be_found(secret: str) -> None:
    with nothing_changes():
        answer = send(signed(GITHUB_PUSH, secret), "hooks/hooked/a%00b/")
        problem(answer, 404, "not_found")


@pytest.mark.parametrize("length", [MEBIBYTE + 1, 3 * MEBIBYTE])
def test_a_large_delivery_is_refused(secret: str, length: int) -> None:
    large = Delivery(GITHUB_PUSH.headers, b" " * length)
    with nothing_changes():
        problem(send(signed(large, secret)), 413, "too_large")


def test_a_delivery_may_have_a_mebibyte(secret: str) -> None:
    body = GITHUB_PUSH.body
    whole = Delivery(GITHUB_PUSH.headers, body + b" " * (MEBIBYTE - len(body)))
    assert send(signed(whole, secret)).json["started"] is not None


def test_a_delivery_that_breaks_off_is_refused(secret: str) -> None:
    whole = signed(GITHUB_PUSH, secret)
    with nothing_changes():
        answer = Api().call(
            "POST", ADDRESS, whole.body, arrives=whole.body[:100], X_GitHub_Event="push",
            X_Hub_Signature_256=whole.headers["x-hub-signature-256"],
        )  # fmt: skip
        problem(answer, 400, "truncated_upload")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_nothing_but_a_post_is_a_delivery(secret: str, method: str) -> None:
    with nothing_changes():
        problem(Api().call(method, ADDRESS), 405, "method_not_allowed")


def test_a_hook_is_made_rotated_and_removed_over_the_api(people: People, secret: str) -> None:
    path = "pipelines/hooked/hooks/"
    made = people.ada.post(path, {"source": "other"})
    assert made.headers["Cache-Control"] == "no-store"
    assert made.json["url"].endswith("/api/v1/hooks/hooked/other/")
    rotated = people.ada.post(f"{path}other/rotate/", expect=200)
    assert rotated.json["secret"] != made.json["secret"]
    listed = people.dora.get(path)
    assert [each["source"] for each in listed.json["results"]] == ["other", "repo"]
    assert rotated.json["secret"] not in listed.text
    people.ada.refused("POST", path, {"source": "other"}, status=409, code="name_taken")
    people.ada.refused("POST", path, {"source": "no"}, status=422, code="invalid")
    removed = people.ada.post(f"{path}other/remove/", expect=200)
    assert removed.json["source"] == "other"
    assert "secret" not in removed.json
    people.ada.refused("POST", f"{path}other/rotate/", status=404, code="not_found")


def test_what_became_of_the_last_delivery_is_in_the_list(people: People, secret: str) -> None:
    path = "pipelines/hooked/hooks/"
    assert people.ada.get(path).json["results"][0]["last"] is None
    send(signed(GITHUB_PUSH, secret))
    last = people.ada.get(path).json["results"][0]["last"]
    assert last["run"] == 1
    assert last["delivery"] == GITHUB_PUSH.headers["x-github-delivery"]
    assert last["why"].startswith("Branch main was pushed")


def test_the_address_is_the_one_that_the_page_shows(things: Things) -> None:
    hook = PushHook.objects.get()
    assert hooks.address(hook.pipeline, hook.source).endswith(f"/api/v1/{ADDRESS}")
