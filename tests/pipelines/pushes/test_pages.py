"""Push hooks on the page of a pipeline, for people and without scripts."""

import html

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from pipelines import definitions, sealing
from pipelines.models import PushHook
from tests.cast import Site, make_pipeline
from tests.pipelines.pushes.deliveries import GITHUB_PUSH
from tests.pipelines.pushes.hooking import HOOKED, Hooked, make_hooked
from tests.world import nothing_changes


def signed_in(user: User) -> Client:
    client = Client(enforce_csrf_checks=False)
    client.force_login(user)
    return client


def pipeline_page(client: Client) -> str:
    response = client.get(reverse("pipelines:pipeline", args=["hooked"]))
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def act(name: str, source: str = "repo") -> str:
    return reverse(f"pipelines:hook_{name}", args=["hooked", source])


def test_a_developer_makes_a_hook_and_sees_its_secret_once(site: Site) -> None:
    make_pipeline(site.cast.ada, "hooked", HOOKED)
    ada = signed_in(site.cast.ada)
    assert "It has no hook yet" in pipeline_page(ada)
    assert act("make") in pipeline_page(ada)
    made = ada.post(act("make"))
    assert made.status_code == 200
    assert "no-store" in made.headers["Cache-Control"]
    hook = PushHook.objects.get()
    secret = sealing.unseal(hook.sealed)["secret"]
    said = html.unescape(made.content.decode())
    assert secret in said
    for words in ("/api/v1/hooks/hooked/repo/", "Payload URL", "Secret token", "Gitee", "Codeup"):
        assert words in said
    after = pipeline_page(ada)
    assert "Nothing was delivered yet." in after
    assert "/api/v1/hooks/hooked/repo/" in after
    assert secret not in after


def test_the_page_says_what_became_of_the_last_delivery(site: Site) -> None:
    hooked = make_hooked(site)
    dora = signed_in(site.cast.dora)
    hooked.deliver(GITHUB_PUSH)
    page = pipeline_page(dora)
    assert "Started #1" in page
    assert "Branch main was pushed by alice, commit c0ffee00." in page
    hooked.deliver(GITHUB_PUSH.having(ref="refs/heads/<b>other"))
    response = dora.get(reverse("pipelines:pipeline", args=["hooked"]))
    assert b"Branch &lt;b&gt;other was pushed: the source is of branch main" in response.content
    assert "Started nothing" in pipeline_page(dora)


def test_a_secret_is_rotated_and_a_hook_removed_when_that_is_confirmed(site: Site) -> None:
    hooked = make_hooked(site)
    ada = signed_in(site.cast.ada)
    for name in ("rotate", "remove"):
        assert act(name) in pipeline_page(ada)
        with nothing_changes():
            assert ada.post(act(name)).status_code == 422
    rotated = ada.post(act("rotate"), {"confirmed": "yes"})
    secret = sealing.unseal(hooked.last.sealed)["secret"]
    assert secret != hooked.secret
    assert secret in rotated.content.decode()
    removed = ada.post(act("remove"), {"confirmed": "yes"})
    assert (removed.status_code, removed.headers["Location"]) == (303, "/pipelines/hooked/")
    assert not PushHook.objects.exists()


@pytest.mark.parametrize("name", ["make", "rotate", "remove"])
def test_who_may_not_write_pipelines_sees_no_button_and_is_refused(site: Site, name: str) -> None:
    make_hooked(site)
    ben = signed_in(site.cast.ben)
    assert act(name) not in pipeline_page(ben)
    with nothing_changes():
        assert ben.post(act(name), {"confirmed": "yes"}).status_code == 403
        assert ben.get(act(name)).status_code == 405


def test_a_hook_whose_source_is_gone_can_still_be_removed(site: Site) -> None:
    hooked: Hooked = make_hooked(site)
    ada = signed_in(site.cast.ada)
    definitions.revise(hooked.pipeline, HOOKED.replace("repo", "code"), by=site.cast.ada)
    page = pipeline_page(ada)
    assert "no such source with triggerEvents any more" in page
    assert act("remove") in page
    assert act("make", "code") in page


def test_a_pipeline_that_waits_for_nothing_has_no_panel(site: Site) -> None:
    page = signed_in(site.cast.ada).get(reverse("pipelines:pipeline", args=["app"]))
    assert b"Push hooks" not in page.content


def test_what_is_not_there_is_404(site: Site) -> None:
    make_hooked(site)
    ada = signed_in(site.cast.ada)
    for name in ("rotate", "remove"):
        assert ada.post(act(name, "no"), {"confirmed": "yes"}).status_code == 404
    assert ada.post(act("make", "no")).status_code == 422
    gone = reverse("pipelines:hook_make", args=["no", "repo"])
    assert ada.post(gone).status_code == 404
