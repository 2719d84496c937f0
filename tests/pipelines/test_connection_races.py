"""Opening a connection while somebody ends its sharing, replaces its secret or removes it."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from pipelines import connections
from pipelines.connections import Opened
from pipelines.errors import Forbidden, NotFound, SluiceError
from pipelines.models import ServiceConnection
from pipelines.sealing import unseal
from tests.cast import make_site
from tests.parallel import outcomes
from tests.pipelines.teams import NEW, PASSWORD, Teams, make_teams

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def teams(transactional_db: None) -> Teams:
    return make_teams(make_site())


def while_uncommitted(change: Callable[[], object], act: Callable[[], Any]) -> Any:
    """What `act` comes to that begins after `change` was made and before it is committed."""
    answers: list[Any] = []

    def other() -> None:
        try:
            answers.append(act())
        except SluiceError as refusal:
            answers.append(refusal)
        finally:
            connection.close()

    with transaction.atomic():
        change()
        thread = threading.Thread(target=other)
        thread.start()
        while thread.is_alive() and not _somebody_waits():
            thread.join(0.01)
    thread.join()
    return answers[0]


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_what_is_no_longer_shared_is_not_opened_in_the_moment_of_the_change(teams: Teams) -> None:
    ada, ben = teams.site.cast.ada, teams.site.cast.ben
    connections.share(teams.connection, [teams.office], by=ada)
    run = teams.run(author=ada, starter=ben)
    open_it = partial(connections.open_for, run, "registry", "registry")
    assert isinstance(open_it(), Opened)
    end_sharing = partial(connections.share, teams.connection, [], by=ada)
    assert isinstance(while_uncommitted(end_sharing, open_it), Forbidden)


def test_the_new_secret_is_opened_in_the_moment_of_its_change(teams: Teams) -> None:
    ada = teams.site.cast.ada
    run = teams.run(author=ada, starter=ada)
    replace = partial(connections.replace_secrets, teams.connection, {"password": NEW}, by=ada)
    found = while_uncommitted(replace, partial(connections.open_for, run, "registry", "registry"))
    assert found.secrets["password"] == NEW


def test_what_is_being_removed_is_not_opened(teams: Teams) -> None:
    ada = teams.site.cast.ada
    run = teams.run(author=ada, starter=ada)
    remove = partial(connections.remove, teams.connection, by=ada)
    refusal = while_uncommitted(remove, partial(connections.open_for, run, "registry", "registry"))
    assert isinstance(refusal, Forbidden)


def test_a_change_of_keys_does_not_bring_an_old_secret_back(teams: Teams) -> None:
    ada = teams.site.cast.ada
    replace = partial(connections.replace_secrets, teams.connection, {"password": NEW}, by=ada)
    assert while_uncommitted(replace, connections.rotate_keys) == 1
    assert unseal(ServiceConnection.objects.get().sealed) == {"password": NEW}


def test_two_who_remove_it_and_one_who_shares_it_leave_nothing_half_done(teams: Teams) -> None:
    ada, finn = teams.site.cast.ada, teams.finn
    answers = outcomes(
        [
            partial(connections.remove, teams.connection, by=ada),
            partial(connections.remove, teams.connection, by=finn),
            partial(connections.share, teams.connection, [teams.office], by=finn),
        ]
    )
    assert not ServiceConnection.objects.exists()
    assert [type(answer) for answer in answers[:2]].count(NotFound) == 1
    assert isinstance(answers[2], ServiceConnection | NotFound)


def test_one_name_goes_to_one_of_two(teams: Teams) -> None:
    make = [
        partial(
            connections.create,
            "same",
            "git",
            by=by,
            team=teams.shop,
            host="git.example.com",
            secrets={"password": PASSWORD},
        )
        for by in (teams.site.cast.ada, teams.finn)
    ]
    answers = outcomes(make)
    assert sorted(type(answer).__name__ for answer in answers) == ["NameTaken", "ServiceConnection"]
