"""The pages of service connections: who finds what on them, and that no secret comes back."""

import html
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from accounts.models import User
from pipelines.models import ServiceConnection
from pipelines.sealing import unseal
from tests.cast import Site, make_pipeline
from tests.pipelines.teams import KEY, NAMING, NEW, PASSWORD, Teams, make_teams
from tests.world import nothing_changes

EVERYBODY = ["ada", "ben", "cleo", "dora", "admin", "production", "mallory", "finn", "gus"]
MAY_CHANGE = {"ada", "admin", "finn"}
CHANGES: dict[str, dict[str, Any]] = {
    "secrets": {"password": NEW},
    "sharing": {"everybody": "on"},
    "remove": {"confirmed": "yes"},
}


@pytest.fixture
def teams(site: Site) -> Teams:
    return make_teams(site)


def as_(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def address(page: str = "", *args: str) -> str:
    return reverse(f"pipelines:connection{page}", args=args)


def text_of(answer: Any) -> str:
    found: HttpResponse = answer
    return html.unescape(found.content.decode())


# ---- Who finds what -----------------------------------------------------------------------------
@pytest.mark.parametrize("name", EVERYBODY)
def test_only_who_may_use_it_finds_it_and_only_who_may_change_it_finds_the_forms(
    teams: Teams, name: str
) -> None:
    teams.connection.shared_with.add(teams.office)
    teams.site.cast.dora.groups.add(teams.shop)
    client = as_(teams.user(name))
    listed, shown = client.get(address("_list")), client.get(address("", "registry"))
    if name == "mallory":
        assert (listed.status_code, shown.status_code) == (403, 403)
    elif name in MAY_CHANGE | {"ben", "dora"}:
        assert "registry.example.com" in text_of(listed)
        assert shown.status_code == 200
        assert ("<textarea" in text_of(shown) or 'type="password"' in text_of(shown)) is (
            name in MAY_CHANGE
        )
        assert ("Members of shop can change it" in text_of(shown)) is (name in {"ben", "dora"})
    else:
        assert "registry.example.com" not in text_of(listed)
        assert shown.status_code == 404
        nothing = client.get(address("", "nothing"))
        said, of_nothing = (answer.context["error"].detail for answer in (shown, nothing))
        assert said.replace("registry", "nothing") == of_nothing


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "name", [each for each in EVERYBODY if each not in {"ada", "admin", "finn"}]
)
def test_nobody_else_changes_it(teams: Teams, name: str, change: str) -> None:
    teams.connection.shared_with.add(teams.office)
    client = as_(teams.user(name))
    with nothing_changes():
        answer = client.post(address(f"_{change}", "registry"), CHANGES[change])
    assert answer.status_code == (403 if name in {"ben", "mallory"} else 404)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_not_made_by_looking(teams: Teams, change: str) -> None:
    client = as_(teams.site.cast.ada)
    with nothing_changes():
        answer = client.get(address(f"_{change}", "registry"), CHANGES[change])
    assert answer.status_code == 405


def test_the_empty_page_says_what_a_connection_is_for_and_how_to_make_one(teams: Teams) -> None:
    ServiceConnection.objects.all().delete()
    text = text_of(as_(teams.finn).get(address("_list")))
    assert "No connections yet" in text
    assert "Your team’s pipelines name it" in text
    assert address("_new") in text
    assert "You are in no team" not in text


def test_whoever_is_in_no_team_is_told_what_an_operator_must_do(teams: Teams) -> None:
    client = as_(teams.gus)
    text = text_of(client.get(address("_list")))
    assert "You are in no team yet" in text
    assert "An operator makes teams in the admin" in text
    assert reverse("admin:auth_group_changelist") not in text
    assert address("_new") not in text
    for page in (address("_new"), address("_new_of", "git")):
        answer = client.get(page)
        assert answer.status_code == 403
        assert "is in no team" in text_of(answer)
    User.objects.filter(username="gus").update(is_staff=True)
    assert reverse("admin:auth_group_changelist") in text_of(client.get(address("_list")))


# ---- Make one -----------------------------------------------------------------------------------
def new(teams: Teams, **other: Any) -> dict[str, Any]:
    return {
        "name": "images",
        "team": teams.shop.pk,
        "host": "registry.example.com",
        "username": "robot",
        "password": PASSWORD,
        "description": "For images.",
    } | other


def test_a_kind_is_chosen_and_then_its_own_fields_are_asked_for(teams: Teams) -> None:
    client = as_(teams.finn)
    kinds = text_of(client.get(address("_new")))
    for kind, has in {
        "git": 'name="password"',
        "registry": 'name="password"',
        "kubernetes": 'name="kubeconfig"',
        "ssh": 'name="passphrase"',
        "s3": 'name="secret_key"',
    }.items():
        assert address("_new_of", kind) in kinds
        form = text_of(client.get(address("_new_of", kind)))
        assert has in form
        assert ('name="host"' in form) is (kind not in {"ssh", "kubernetes"})
        assert "Enter the secrets again" not in form
    assert client.get(address("_new_of", "ftp")).status_code == 404


def test_one_is_made_for_a_team_of_ones_own(teams: Teams) -> None:
    client = as_(teams.finn)
    answer = client.post(address("_new_of", "registry"), new(teams), follow=True)
    assert "images can be used by the pipelines of shop." in text_of(answer)
    made = ServiceConnection.objects.get(name="images")
    assert (made.team, made.created_by, made.host) == (
        teams.shop,
        teams.finn,
        "registry.example.com",
    )
    assert unseal(made.sealed) == {"password": PASSWORD}
    assert PASSWORD not in text_of(answer)


def test_a_secret_is_kept_as_it_was_typed_and_a_key_without_the_browsers_line_ends(
    teams: Teams,
) -> None:
    client = as_(teams.finn)
    client.post(address("_new_of", "registry"), new(teams, password=" blanks count "))
    key = {"name": "keys", "team": teams.shop.pk, "private_key": KEY.replace("\n", "\r\n")}
    client.post(address("_new_of", "ssh"), key)
    kept = {row.name: unseal(row.sealed) for row in ServiceConnection.objects.all()}
    assert kept["images"] == {"password": " blanks count "}
    assert kept["keys"] == {"private_key": KEY}


WRONG: list[tuple[str, dict[str, Any], int]] = [
    ("registry", {"name": ""}, 422),
    ("registry", {"name": "Bad name"}, 422),
    ("registry", {"name": "registry"}, 409),
    ("registry", {"host": "a b"}, 422),
    ("registry", {"host": "robot@registry.example.com"}, 422),
    ("registry", {"team": "office"}, 422),
    ("registry", {"team": "99999"}, 422),
    ("registry", {"password": PASSWORD + "\nand more"}, 422),
    ("registry", {"description": "x" * 201}, 422),
    ("ssh", {"private_key": PASSWORD}, 422),
    ("ssh", {"private_key": KEY, "passphrase": PASSWORD, "name": ""}, 422),
    ("kubernetes", {"kubeconfig": f"password: {PASSWORD}", "name": "A"}, 422),
    ("s3", {"secret_key": PASSWORD, "host": ""}, 422),
]


@pytest.mark.parametrize(("kind", "wrong", "status"), WRONG)
def test_a_form_that_comes_back_has_no_secret_in_it_and_says_so(
    teams: Teams, kind: str, wrong: dict[str, Any], status: int
) -> None:
    if wrong.get("team") == "office":
        wrong = {"team": teams.office.pk}
    client = as_(teams.finn)
    with nothing_changes():
        answer = client.post(address("_new_of", kind), new(teams, **wrong))
    assert answer.status_code == status
    text = text_of(answer)
    assert PASSWORD not in text
    assert KEY.splitlines()[1] not in text
    assert "Enter the secrets again" in text


# ---- Change one ---------------------------------------------------------------------------------
def test_a_member_replaces_the_secret(teams: Teams) -> None:
    client = as_(teams.finn)
    answer = client.post(address("_secrets", "registry"), {"password": NEW}, follow=True)
    assert "The secret of registry was replaced" in text_of(answer)
    teams.connection.refresh_from_db()
    assert unseal(teams.connection.sealed) == {"password": NEW}
    assert NEW not in text_of(answer)


@pytest.mark.parametrize("sent", [{}, {"password": ""}, {"password": "two\nlines sesame"}])
def test_a_secret_that_cannot_be_one_leaves_the_old_one(teams: Teams, sent: dict[str, str]) -> None:
    client = as_(teams.finn)
    with nothing_changes():
        answer = client.post(address("_secrets", "registry"), sent)
    assert answer.status_code == 422
    assert "lines sesame" not in text_of(answer)
    assert "Enter the secrets again" in text_of(answer)


def test_a_member_shares_it_and_ends_sharing(teams: Teams) -> None:
    client = as_(teams.finn)
    client.post(address("_sharing", "registry"), {"teams": [teams.office.pk]})
    teams.connection.refresh_from_db()
    assert list(teams.connection.shared_with.all()) == [teams.office]
    assert "checked" in text_of(client.get(address("", "registry")))
    assert as_(teams.user("ben")).get(address("", "registry")).status_code == 200
    client.post(address("_sharing", "registry"), {"everybody": "on"})
    teams.connection.refresh_from_db()
    assert (teams.connection.is_shared_with_all, teams.connection.shared_with.count()) == (True, 0)
    client.post(address("_sharing", "registry"), {})
    assert as_(teams.user("ben")).get(address("", "registry")).status_code == 404


def test_sharing_with_a_team_that_does_not_exist_changes_nothing(teams: Teams) -> None:
    client = as_(teams.finn)
    with nothing_changes():
        answer = client.post(address("_sharing", "registry"), {"teams": ["99999"]})
    assert answer.status_code == 422


def test_removing_it_asks_first_and_names_the_pipelines_that_would_break(teams: Teams) -> None:
    make_pipeline(teams.site.cast.ada, "pushes-images", NAMING)
    client = as_(teams.finn)
    page = text_of(client.get(address("", "registry")))
    assert "These pipelines would break: pushes-images." in page
    assert reverse("pipelines:pipeline", args=["pushes-images"]) in page
    with nothing_changes():
        answer = client.post(address("_remove", "registry"))
    assert answer.status_code == 422
    answer = client.post(address("_remove", "registry"), {"confirmed": "yes"}, follow=True)
    assert "registry was removed, and its secret with it." in text_of(answer)
    assert not ServiceConnection.objects.exists()


def test_what_somebody_wrote_does_not_become_part_of_the_page(teams: Teams) -> None:
    evil = "<script>alert(1)</script>"
    ServiceConnection.objects.update(description=evil, host=evil, settings={"username": evil})
    client = as_(teams.finn)
    for page in (address("_list"), address("", "registry")):
        assert evil not in client.get(page).content.decode()
