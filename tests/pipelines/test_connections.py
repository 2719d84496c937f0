"""Service connections: who may make, change, share and use them, and that nobody is shown one."""

import base64
import html
import io
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib import admin
from django.contrib.auth.models import Group
from django.core import serializers
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.test import Client, RequestFactory, override_settings
from django.urls import reverse
from django.views.debug import ExceptionReporter

from accounts.models import Role, User
from pipelines import connections, definitions, git, runs, sealing, usage
from pipelines.connections import Opened
from pipelines.errors import Forbidden, Invalid, NameTaken, NotFound, SluiceError
from pipelines.flow.document import Position, Source
from pipelines.models import ConnectionKind, Run, ServiceConnection
from tests.cast import Site, make_pipeline, token_of
from tests.pipelines.teams import (
    KEY,
    KUBECONFIG,
    NAMING,
    NEW,
    PASSWORD,
    QUIET,
    Teams,
    make_teams,
    registry_of,
)
from tests.world import nothing_changes, refused

Act = Callable[[User], object]

EVERYBODY = ["ada", "ben", "cleo", "dora", "admin", "production", "mallory", "finn", "gus"]


@pytest.fixture
def teams(site: Site) -> Teams:
    return make_teams(site)


def opened(run: Run, name: str = "registry", kind: str = "registry") -> Opened:
    return connections.open_for(run, name, kind)


# ---- Who may ------------------------------------------------------------------------------------
def _create(teams: Teams) -> Act:
    return lambda by: registry_of(by, teams.shop, "another")


def _replace(teams: Teams) -> Act:
    return lambda by: connections.replace_secrets(teams.connection, {"password": NEW}, by=by)


def _share(teams: Teams) -> Act:
    return lambda by: connections.share(teams.connection, [teams.office], by=by)


def _share_with_all(teams: Teams) -> Act:
    return lambda by: connections.share(teams.connection, [], by=by, with_all=True)


def _remove(teams: Teams) -> Act:
    return lambda by: connections.remove(teams.connection, by=by)


ACTS = {
    "create": _create,
    "replace the secret": _replace,
    "share with a team": _share,
    "share with everybody": _share_with_all,
    "remove": _remove,
}


@pytest.mark.parametrize("member", EVERYBODY)
@pytest.mark.parametrize("act", ACTS)
def test_only_developers_of_the_team_and_operators_of_the_site_change_a_connection(
    teams: Teams, act: str, member: str
) -> None:
    # ben's team uses it too, which gives him no right to change it.
    connections.share(teams.connection, [teams.office], by=teams.site.cast.ada)
    do, user = ACTS[act](teams), teams.user(member)
    if member in {"ada", "finn", "admin"}:
        do(user)
    else:
        refused(Forbidden, lambda: do(user))


@pytest.mark.parametrize("act", ACTS)
def test_a_member_without_the_role_or_who_was_deactivated_changes_nothing(
    teams: Teams, act: str
) -> None:
    do = ACTS[act](teams)
    teams.site.cast.dora.groups.add(teams.shop)
    refused(Forbidden, lambda: do(teams.user("dora")))
    User.objects.filter(username="finn").update(is_active=False)
    refused(Forbidden, lambda: do(teams.user("finn")))


@pytest.mark.parametrize("act", ACTS)
def test_a_member_who_has_left_the_team_changes_nothing(teams: Teams, act: str) -> None:
    do = ACTS[act](teams)
    do_later = teams.user("ada")
    do_later.groups.remove(teams.shop)
    refused(Forbidden, lambda: do(do_later))


MAY_USE = {
    "its own": {"ada", "finn", "admin"},
    "shared": {"ada", "finn", "ben", "admin"},
    "for all": set(EVERYBODY),
}


@pytest.mark.parametrize("shared", MAY_USE)
def test_people_know_of_the_connections_that_they_may_use_and_of_no_others(
    teams: Teams, shared: str
) -> None:
    others = [teams.office] if shared == "shared" else []
    connections.share(
        teams.connection, others, by=teams.site.cast.ada, with_all=shared == "for all"
    )
    knows = {name for name in EVERYBODY if connections.visible_to(teams.user(name)).exists()}
    assert knows == MAY_USE[shared]


@pytest.mark.parametrize("author", ["ada", "finn", "gus"])
@pytest.mark.parametrize("starter", ["ada", "finn", "gus", "ben"])
def test_a_run_opens_it_when_both_its_author_and_its_starter_may_use_it(
    teams: Teams, author: str, starter: str
) -> None:
    run = teams.run(author=teams.user(author), starter=teams.user(starter))
    if {author, starter} <= {"ada", "finn"}:
        found = opened(run)
        assert (found.name, found.kind, found.host) == (
            "registry",
            "registry",
            "registry.example.com",
        )
        assert dict(found.settings) == {"username": "robot"}
        assert dict(found.secrets) == {"password": PASSWORD}
        teams.connection.refresh_from_db()
        assert teams.connection.last_used_at is not None
    else:
        refusal = refused(Forbidden, lambda: opened(run))
        assert PASSWORD not in refusal.detail


def test_a_team_that_it_is_shared_with_uses_it_until_sharing_ends(teams: Teams) -> None:
    ada, ben = teams.site.cast.ada, teams.site.cast.ben
    run = teams.run(author=ada, starter=ben)
    refused(Forbidden, lambda: opened(run))
    connections.share(teams.connection, [teams.office], by=ada)
    assert opened(run).secrets["password"] == PASSWORD
    connections.share(teams.connection, [], by=ada)
    refusal = refused(Forbidden, lambda: opened(run))
    assert refusal.detail == (
        "ben, who started the run, may not use the service connection registry. Somebody of the "
        "team shop can share it."
    )


def test_a_definition_of_an_outsider_borrows_nothing_from_the_member_who_starts_it(
    teams: Teams,
) -> None:
    run = teams.run(author=teams.gus, starter=teams.site.cast.ada, text=NAMING)
    refusal = refused(Forbidden, lambda: opened(run))
    assert "gus, who wrote the definition" in refusal.detail


def test_an_outsider_who_starts_a_members_definition_borrows_nothing(teams: Teams) -> None:
    run = teams.run(author=teams.site.cast.ada, starter=teams.gus, text=NAMING)
    refusal = refused(Forbidden, lambda: opened(run))
    assert "gus, who started the run" in refusal.detail


def test_an_outsider_who_runs_a_members_run_again_borrows_nothing(teams: Teams) -> None:
    run = teams.run(author=teams.site.cast.ada, starter=teams.site.cast.ada)
    runs.begin(run.pk)
    runs.cancel(run, by=teams.site.cast.ada)
    again = runs.start_again(Run.objects.with_names().get(pk=run.pk), by=teams.gus)
    refused(Forbidden, lambda: opened(again))


@pytest.mark.parametrize("gone", ["left the team", "deactivated", "lost every role"])
def test_who_may_no_longer_use_it_opens_it_no_more_though_the_run_has_begun(
    teams: Teams, gone: str
) -> None:
    run = teams.run(author=teams.site.cast.ada, starter=teams.finn)
    opened(run)
    finn = teams.user("finn")
    if gone == "left the team":
        finn.groups.clear()
    else:
        changes: dict[str, Any] = {"is_active": False} if gone == "deactivated" else {"roles": []}
        User.objects.filter(pk=finn.pk).update(**changes)
    # The worker still holds the rows of when the job began.
    refused(Forbidden, lambda: opened(run))


def test_an_operator_who_is_in_no_team_changes_connections_but_lends_none_to_a_run(
    teams: Teams,
) -> None:
    run = teams.run(author=teams.site.cast.admin, starter=teams.site.cast.admin)
    refused(Forbidden, lambda: opened(run))


def test_whoever_may_not_use_it_cannot_tell_it_from_one_that_does_not_exist(teams: Teams) -> None:
    run = teams.run(author=teams.gus, starter=teams.gus)

    def said(name: str, kind: str) -> str:
        return refused(Forbidden, lambda: opened(run, name, kind)).detail.replace(name, "…")

    assert said("registry", "registry") == said("nothing", "registry") == said("registry", "git")


def test_another_kind_than_is_needed_is_refused(teams: Teams) -> None:
    run = teams.run(author=teams.site.cast.ada, starter=teams.site.cast.ada)
    for kind in set(ConnectionKind.values) - {"registry"}:
        refusal = refused(Invalid, lambda kind=kind: opened(run, kind=kind))  # type: ignore[misc]
        assert f"needs one of kind {kind}" in refusal.detail


def test_one_of_the_same_name_that_was_made_anew_is_another(teams: Teams) -> None:
    """Removed by its team and made by another one with another kind: nothing of the old is left."""
    run = teams.run(author=teams.site.cast.ada, starter=teams.site.cast.ada)
    connections.remove(teams.connection, by=teams.site.cast.ada)
    teams.gus.groups.add(teams.office)
    connections.create(
        "registry", "ssh", by=teams.gus, team=teams.office, secrets={"private_key": KEY}
    )
    refused(Forbidden, lambda: opened(run))
    made = ServiceConnection.objects.get(name="registry")
    connections.share(made, [], by=teams.gus, with_all=True)
    refused(Invalid, lambda: opened(run))


# ---- What one holds -----------------------------------------------------------------------------
GOOD: dict[str, dict[str, Any]] = {
    "git": {"host": "git.example.com", "secrets": {"password": PASSWORD}},
    "registry": {"host": "registry.example.com:5000", "secrets": {"password": PASSWORD}},
    "kubernetes": {"secrets": {"kubeconfig": KUBECONFIG.replace("\n", "\r\n")}},
    "ssh": {"settings": {"username": "deploy"}, "secrets": {"private_key": KEY, "passphrase": ""}},
    "s3": {
        "host": "s3.example.com",
        "settings": {"access_key": "AK", "bucket": " b ", "region": ""},
        "secrets": {"secret_key": PASSWORD},
    },
}


@pytest.mark.parametrize("kind", ConnectionKind.values)
def test_each_kind_keeps_its_secrets_encrypted_and_gives_them_back(teams: Teams, kind: str) -> None:
    ada = teams.site.cast.ada
    made = connections.create("mine", kind, by=ada, team=teams.shop, **GOOD[kind])
    made.refresh_from_db()
    found = opened(teams.run(author=ada, starter=ada), "mine", kind)
    sent = {key: value.replace("\r\n", "\n") for key, value in GOOD[kind]["secrets"].items()}
    assert dict(found.secrets) == {key: value for key, value in sent.items() if value}
    assert dict(found.settings) == {
        key: value.strip() for key, value in GOOD[kind].get("settings", {}).items() if value
    }
    for value in filter(None, sent.values()):
        assert value not in str(vars(made))


BAD: list[tuple[str, dict[str, Any]]] = [
    ("git", {"host": ""}),
    ("git", {"host": "git.example.com/@evil"} | {"host": "robot:pw@git.example.com"}),
    ("git", {"host": "gіt.example.com"}),
    ("git", {"host": "git.example.com git.evil.example"}),
    ("git", {"secrets": {}}),
    ("git", {"secrets": {"password": ""}}),
    ("git", {"secrets": {"password": "  "}}),
    ("git", {"secrets": {"password": "two\nlines"}}),
    ("git", {"secrets": {"password": "nul\x00"}}),
    ("git", {"secrets": {"password": "x" * (64 * 1024 + 1)}}),
    ("git", {"secrets": {"password": PASSWORD, "token": PASSWORD}}),
    ("git", {"secrets": {PASSWORD: "password"}}),
    ("git", {"secrets": {"password": 7}}),
    ("git", {"settings": {"username": "two\nlines"}}),
    ("git", {"settings": {"username": "x" * 201}}),
    ("git", {"settings": {"password": PASSWORD}}),
    ("ssh", {"secrets": {"private_key": "ssh-ed25519 AAAA ada@laptop"}}),
    ("ssh", {"secrets": {"private_key": KEY.replace("PRIVATE", "PUBLIC")}}),
    ("ssh", {"secrets": {"private_key": KEY, "passphrase": "a\tb"}}),
    ("ssh", {"host": "one.example.com"}),
    ("kubernetes", {"secrets": {"kubeconfig": " \n"}}),
    ("kubernetes", {"secrets": {"kubeconfig": PASSWORD}}),
    ("kubernetes", {"secrets": {"kubeconfig": KUBECONFIG.replace("token", "exec")}}),
    ("password", {}),
]


@pytest.mark.parametrize(("kind", "wrong"), BAD)
def test_what_cannot_be_right_is_refused_without_repeating_a_secret(
    teams: Teams, kind: str, wrong: dict[str, Any]
) -> None:
    good = GOOD.get(kind, GOOD["git"])
    refusal = refused(
        Invalid,
        lambda: connections.create(
            "mine", kind, by=teams.site.cast.ada, team=teams.shop, **{**good, **wrong}
        ),
    )
    for secret in (PASSWORD, "two", "robot:pw", "AAAA"):
        assert secret not in refusal.detail


@pytest.mark.parametrize("name", ["", "-x", "Registry", "a b", "ü", "x" * 65, "../x", "a\n"])
def test_a_name_is_a_slug(teams: Teams, name: str) -> None:
    refused(Invalid, lambda: registry_of(teams.site.cast.ada, teams.shop, name))


def test_a_name_is_taken_once(teams: Teams) -> None:
    refused(NameTaken, lambda: registry_of(teams.finn, teams.shop, "registry"))


def test_a_new_secret_takes_the_place_of_all_old_ones(teams: Teams) -> None:
    ada = teams.site.cast.ada
    made = connections.create(
        "keys",
        "ssh",
        by=ada,
        team=teams.shop,
        secrets={"private_key": KEY, "passphrase": PASSWORD},
    )
    run = teams.run(author=ada, starter=ada)
    connections.replace_secrets(made, {"private_key": KEY}, by=ada)
    assert dict(opened(run, "keys", "ssh").secrets) == {"private_key": KEY}
    refused(Invalid, lambda: connections.replace_secrets(made, {"password": NEW}, by=ada))
    refused(Invalid, lambda: connections.replace_secrets(made, {}, by=ada))


@pytest.mark.parametrize("act", ["replace the secret", "share with a team", "remove"])
def test_what_somebody_else_has_removed_is_not_there_to_be_changed(teams: Teams, act: str) -> None:
    do = ACTS[act](teams)
    connections.remove(ServiceConnection.objects.get(), by=teams.finn)
    refused(NotFound, lambda: do(teams.site.cast.ada))


def test_a_team_that_owns_connections_cannot_be_deleted(teams: Teams) -> None:
    client = Client()
    client.force_login(teams.site.cast.admin)
    with nothing_changes():
        answer = client.post(reverse("admin:auth_group_delete", args=[teams.shop.pk]))
    assert b"would require deleting" in answer.content or b"Cannot delete" in answer.content
    assert Group.objects.filter(pk=teams.shop.pk).exists()


# ---- Where a secret goes ------------------------------------------------------------------------
def test_a_secret_is_sent_to_the_host_that_it_is_for(teams: Teams) -> None:
    found = Opened("mine", "git", "git.example.com:8443")
    connections.require_host(found, "https://GIT.example.com:8443/team/app.git")
    for address in (
        "https://git.example.com/team/app.git",
        "https://git.example.com:8443@evil.example/",
        "https://evil.example\\@git.example.com:8443/",
        "/srv/repository",
        "",
    ):
        with pytest.raises(Invalid, match=r"is for git\.example\.com:8443"):
            connections.require_host(found, address)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example/app.git",
        "https://git.example.com:8443/app.git",
        "https://git.example.com@evil.example/app.git",
        "https://evil.example\\@git.example.com/app.git",
        "https://gіt.example.com/app.git",
    ],
)
def test_a_git_source_sends_nothing_to_another_host(teams: Teams, endpoint: str) -> None:
    ada = teams.site.cast.ada
    connections.create("mine", "git", by=ada, team=teams.shop, **GOOD["git"])
    run = teams.run(author=ada, starter=ada)
    certificate: Any = {"type": "serviceConnection", "serviceConnection": "mine"}
    source = Source(
        "code", "git", {"endpoint": endpoint, "certificate": certificate}, Position(1, 1)
    )
    with pytest.raises(Invalid, match=r"is for git\.example\.com") as refusal:
        git.GitSource().pin(run, source, {})
    assert PASSWORD not in refusal.value.detail


# ---- Where it is used ---------------------------------------------------------------------------
def test_pipelines_that_name_it_are_found_in_sources_steps_and_components(teams: Teams) -> None:
    ada = teams.site.cast.ada
    source = {
        "type": "git",
        "endpoint": "https://git.example.com/a.git",
        "certificate": {"type": "serviceConnection", "serviceConnection": "registry"},
    }
    text = QUIET.replace('{"stages"', '{"sources": {"code": %s}, "stages"')
    make_pipeline(ada, "by-source", text.replace("%s", str(source).replace("'", '"')))
    make_pipeline(ada, "by-step", NAMING)
    make_pipeline(
        ada,
        "by-cluster",
        "stages: {a: {jobs: {b: {steps: {c: {step: KubectlApply, with: "
        "{kubernetesCluster: registry, yamlPath: a.yaml}}}}}}}",
    )
    make_pipeline(ada, "in-a-comment", QUIET + "\n# registry\n")
    make_pipeline(ada, "in-a-longer-name", NAMING.replace('"registry"', '"registry-2"'))
    make_pipeline(ada, "no-longer", NAMING)
    definitions.revise(_pipeline("no-longer"), QUIET, by=ada)
    found = usage.pipelines_naming("registry")
    assert [each.slug for each in found] == ["by-cluster", "by-source", "by-step"]


def _pipeline(slug: str) -> Any:
    from pipelines.models import Pipeline

    return Pipeline.objects.select_related("revision").get(slug=slug)


# ---- Keys ---------------------------------------------------------------------------------------
OLD_KEY, NEW_KEY = (Fernet.generate_key().decode() for _ in range(2))


def rotated() -> str:
    said = io.StringIO()
    call_command("rotate_connection_keys", stdout=said)
    return said.getvalue()


def test_secrets_survive_the_change_of_keys_and_the_old_key_may_go(teams: Teams) -> None:
    ada = teams.site.cast.ada
    run = teams.run(author=ada, starter=ada)
    with override_settings(CONNECTION_KEYS=(OLD_KEY,)):
        connections.replace_secrets(teams.connection, {"password": NEW}, by=ada)
        registry_of(ada, teams.shop, "second")
    with override_settings(CONNECTION_KEYS=(NEW_KEY, OLD_KEY)):
        assert rotated() == (
            "2 service connections were encrypted anew with the first key.\n"
            "0 push hooks were encrypted anew with the first key.\n"
            "0 webhooks were encrypted anew with the first key.\n"
            "The keys behind the first may go.\n"
        )
    with override_settings(CONNECTION_KEYS=(NEW_KEY,)):
        assert opened(run).secrets["password"] == NEW
        assert opened(run, "second").secrets["password"] == PASSWORD
    with override_settings(CONNECTION_KEYS=(OLD_KEY,)), pytest.raises(sealing.Unsealable):
        opened(run)


def test_what_no_key_reads_is_named_and_everything_else_is_encrypted_anew(teams: Teams) -> None:
    ada = teams.site.cast.ada
    run = teams.run(author=ada, starter=ada)
    with override_settings(CONNECTION_KEYS=(OLD_KEY,)):
        connections.replace_secrets(teams.connection, {"password": NEW}, by=ada)
        registry_of(ada, teams.shop, "second")
    with override_settings(CONNECTION_KEYS=(Fernet.generate_key().decode(),)):
        registry_of(ada, teams.shop, "lost")
    both = override_settings(CONNECTION_KEYS=(NEW_KEY, OLD_KEY))
    with both, pytest.raises(CommandError) as refusal:
        rotated()
    assert str(refusal.value).startswith("2 could be encrypted anew, but no key reads: lost. Put")
    with override_settings(CONNECTION_KEYS=(NEW_KEY,)):
        assert opened(run).secrets["password"] == NEW


def test_without_a_key_nothing_is_kept(teams: Teams) -> None:
    with override_settings(CONNECTION_KEYS=()):
        refusal = refused(
            sealing.Unsealable, lambda: registry_of(teams.site.cast.ada, teams.shop, "unkept")
        )
    assert "SLUICE_CONNECTION_KEYS" in refusal.detail
    assert PASSWORD not in refusal.detail


# ---- Nobody is shown one ------------------------------------------------------------------------
def forms_of(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode()).decode()
    return {secret, encoded, encoded.rstrip("="), repr(secret)[1:-1]}


def holds_secret(text: str) -> bool:
    return any(form in text for form in forms_of(PASSWORD) | forms_of(NEW))


def test_printing_a_connection_shows_no_secret(teams: Teams) -> None:
    ada = teams.site.cast.ada
    found = opened(teams.run(author=ada, starter=ada))
    for shown in (repr(found), str(found), repr(teams.connection), str([found])):
        assert not holds_secret(shown)
        assert teams.connection.sealed not in shown
    with pytest.raises(TypeError):
        # It is for this process alone: no queue or cache takes it along.
        pickle.dumps(found)


def test_the_database_and_its_dumps_hold_no_secret(teams: Teams) -> None:
    dump = serializers.serialize("json", ServiceConnection.objects.all())
    assert "registry.example.com" in dump
    assert not holds_secret(dump)
    with database.cursor() as cursor:
        cursor.execute("SELECT * FROM pipelines_serviceconnection")
        assert not holds_secret(str(cursor.fetchall()))


def test_the_admin_shows_neither_the_secret_nor_what_it_was_encrypted_to(teams: Teams) -> None:
    client = Client()
    client.force_login(teams.site.cast.admin)
    assert ServiceConnection in admin.site._registry
    name = "admin:pipelines_serviceconnection"
    for address in (
        reverse(f"{name}_changelist"),
        reverse(f"{name}_changelist") + "?q=registry",
        reverse(f"{name}_change", args=[teams.connection.pk]),
        reverse(f"{name}_history", args=[teams.connection.pk]),
    ):
        text = client.get(address).content.decode()
        assert "registry" in text
        assert not holds_secret(text)
        assert teams.connection.sealed[:20] not in text
    probe = {"sealed__startswith": teams.connection.sealed[:4]}
    assert client.get(reverse(f"{name}_changelist"), probe).status_code in {302, 400}


def test_a_report_of_a_fault_shows_no_secret(
    teams: Teams, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Django mails such reports to ADMINS, with the variables of each frame."""

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("something broke")

    monkeypatch.setattr(sealing, "_keys", broken)
    client = Client(raise_request_exception=False)
    client.force_login(teams.site.cast.ada)
    api = {"Authorization": f"Bearer {token_of(teams.site.cast.ada)}"}
    given = {
        "name": "mine",
        "team": teams.shop.pk,
        "host": "registry.example.com",
        "username": "robot",
        "password": PASSWORD,
    }
    with caplog.at_level(logging.DEBUG):
        for address, sent in (
            (reverse("pipelines:connection_new_of", args=["registry"]), given),
            (reverse("pipelines:connection_secrets", args=["registry"]), {"password": PASSWORD}),
        ):
            answer = client.post(address, sent)
            assert answer.status_code == 500
            assert not holds_secret(answer.content.decode())
        body = {"secrets": {"password": PASSWORD}}
        whole = {"name": "mine", "kind": "registry", "team": "shop", "host": "a.example", **body}
        for call, address, asked in (
            (client.post, "/api/v1/connections/", whole),
            (client.put, "/api/v1/connections/registry/secrets/", body),
        ):
            answer = call(address, asked, content_type="application/json", headers=api)
            assert answer.status_code == 500
            assert not holds_secret(answer.content.decode())
    records = [record for record in caplog.records if record.exc_info]
    assert len(records) == 4
    for record in records:
        request = getattr(record, "request", None) or RequestFactory().get("/")
        reporter = ExceptionReporter(request, *(record.exc_info or (None, None, None)))
        for text in (reporter.get_traceback_text(), reporter.get_traceback_html()):
            assert "something broke" in text
            assert not holds_secret(html.unescape(text))
    assert not holds_secret(caplog.text)


def test_a_refusal_shows_no_secret(teams: Teams) -> None:
    ada = teams.site.cast.ada
    for secrets in ({"password": PASSWORD + "\n"}, {PASSWORD: PASSWORD}, {}):
        with pytest.raises(SluiceError) as refusal:
            connections.replace_secrets(teams.connection, secrets, by=ada)
        assert not holds_secret(f"{refusal.value!r} {refusal.value.detail} {refusal.value.extra}")


def test_a_person_in_the_team_may_have_any_role_to_use_it(teams: Teams) -> None:
    """Using needs the right to start runs, which starting has asked for already."""
    deployer = User.objects.create_user("hal", password="hal's", roles=[Role.DEPLOYER.value])
    deployer.groups.add(teams.shop)
    run = teams.run(author=teams.site.cast.ada, starter=deployer)
    assert opened(run).secrets["password"] == PASSWORD
