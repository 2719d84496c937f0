"""Machine groups: who is let in, what a machine is known by, and what cannot be one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.test import Client, override_settings
from django.urls import reverse

from pipelines import connections, machines
from pipelines.destinations import DestinationForbidden
from pipelines.errors import Forbidden, Invalid, NameTaken, Unreachable, WrongState
from pipelines.models import Machine, MachineGroup, MachineResult
from tests.cast import Site
from tests.parts.ssh_server import Servers, servers
from tests.pipelines.connected import HOST_KEY, connect, make_group, make_known_group
from tests.pipelines.deploying import LOOPBACK
from tests.pipelines.teams import KEY, KUBECONFIG
from tests.world import nothing_changes, refused

pytestmark = [pytest.mark.outside, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def group(site: Site) -> MachineGroup:
    return make_group(site)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Servers]:
    with override_settings(ALLOWED_NETWORKS=LOOPBACK), servers(tmp_path) as made:
        yield made


def add(site: Site, group: MachineGroup, name: str = "web1", **more: Any) -> Machine:
    given = {"host": "web1.example.com", "host_key": HOST_KEY, **more}
    return machines.add_machine(group, name, by=site.cast.ada, **given)


# ---- Host keys -----------------------------------------------------------------------------------
def test_a_machine_that_was_not_vouched_for_is_asked_for_its_key_once(
    site: Site, group: MachineGroup, running: Servers
) -> None:
    host = running.start("web1")
    machine = add(site, group, host="127.0.0.1", port=host.port, host_key="")
    assert machine.host_key == " ".join(host.host_key.split()[:2])
    assert machine.fingerprint == host.key.get_fingerprint()


def test_a_given_key_is_kept_without_its_comment_and_nobody_is_asked(
    site: Site, group: MachineGroup
) -> None:
    machine = add(site, group, host_key=f"  {HOST_KEY} root@web1\n")
    assert machine.host_key == HOST_KEY
    assert machine.fingerprint == "SHA256:i7qVocR3f/VLPEnEV8W1gUkVq7lzRNIzZPQbiwZOLfY"


@pytest.mark.parametrize(
    "text", ["nothing", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa " + HOST_KEY.split()[1], "ü ü"]
)
def test_what_is_no_host_key_is_refused(site: Site, group: MachineGroup, text: str) -> None:
    assert "no host key" in refused(Invalid, lambda: add(site, group, host_key=text)).detail


def test_nobody_is_asked_where_sluice_may_not_connect(
    site: Site, group: MachineGroup, running: Servers
) -> None:
    host = running.start("web1")
    with override_settings(ALLOWED_NETWORKS=()):
        refused(
            DestinationForbidden,
            lambda: add(site, group, host="127.0.0.1", port=host.port, host_key=""),
        )
    assert host.connections == 0


def test_a_machine_that_does_not_answer_is_not_added(
    site: Site, group: MachineGroup, running: Servers
) -> None:
    host = running.start("web1")
    running.stop(host)
    refused(Unreachable, lambda: add(site, group, host="127.0.0.1", port=host.port, host_key=""))


# ---- Names and places ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "host", ["", " ", "a b", "-oProxyCommand=id", "ü.example", "a/b", "a" * 256]
)
def test_what_is_no_host_is_refused(site: Site, group: MachineGroup, host: str) -> None:
    assert "is no host" in refused(Invalid, lambda: add(site, group, host=host)).detail


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_what_is_no_port_is_refused(site: Site, group: MachineGroup, port: int) -> None:
    refused(Invalid, lambda: add(site, group, port=port))


@pytest.mark.parametrize("name", ["", "A", "-a", "a b", "[sluice] x", "a" * 65])
def test_what_cannot_name_a_machine_or_a_group_is_refused(
    site: Site, group: MachineGroup, name: str
) -> None:
    refused(Invalid, lambda: add(site, group, name))
    refused(Invalid, lambda: machines.create_group(name, group.connection, by=site.cast.ada))


def test_a_name_and_a_place_are_taken_once(site: Site, group: MachineGroup) -> None:
    add(site, group)
    refused(NameTaken, lambda: add(site, group, host="web2.example.com"))
    refused(NameTaken, lambda: add(site, group, "web2", host="WEB1.example.com"))
    assert add(site, group, "web2", port=2222).port == 2222
    refused(NameTaken, lambda: machines.create_group("web", group.connection, by=site.cast.ada))


def test_a_machine_goes_to_the_end_of_the_order(site: Site, group: MachineGroup) -> None:
    for number in (1, 2, 3):
        add(site, group, f"web{number}", host=f"web{number}.example.com")
    machines.remove_machine(group.machines.get(name="web1"), by=site.cast.ada)
    add(site, group, "web1")
    assert [each.name for each in group.machines.all()] == ["web2", "web3", "web1"]


# ---- Connections ---------------------------------------------------------------------------------
def test_a_group_takes_a_connection_for_machines(site: Site) -> None:
    other = connect(site, "cluster", "kubernetes", {"kubeconfig": KUBECONFIG})
    refusal = refused(Invalid, lambda: machines.create_group("web", other, by=site.cast.ada))
    assert "needs one of kind ssh" in refusal.detail


def test_another_teams_machines_are_not_mine_to_change(site: Site) -> None:
    group = make_known_group(site)
    site.cast.ada.groups.clear()
    site.cast.ada.groups.add(Group.objects.create(name="another"))
    machine = group.machines.get()
    for act in (
        lambda: machines.create_group("mine", group.connection, by=site.cast.ada),
        lambda: add(site, group, "web2"),
        lambda: machines.remove_machine(machine, by=site.cast.ada),
        lambda: machines.remove_group(group, by=site.cast.ada),
    ):
        assert "not in the team team-ada" in refused(Forbidden, act).detail
    assert not machines.may_change(site.cast.ada, group)


def test_a_connection_that_opens_machines_cannot_be_removed(site: Site) -> None:
    group = make_known_group(site)
    refusal = refused(WrongState, lambda: connections.remove(group.connection, by=site.cast.ada))
    assert "still used by machine group web" in refusal.detail
    machines.remove_group(group, by=site.cast.ada)
    connections.remove(group.connection, by=site.cast.ada)


def test_no_state_but_the_known_ones_can_be_written(site: Site) -> None:
    from tests.pipelines.working import one_job

    job = one_job(site, "true").jobs.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        MachineResult.objects.create(
            job=job, machine="a", host="a", port=22, position=1, batch=1, attempt=1, state="odd"
        )


# ---- Pages ---------------------------------------------------------------------------------------
@pytest.fixture
def browser(site: Site) -> Client:
    client = Client()
    client.force_login(site.cast.ada)
    return client


def test_a_group_is_made_filled_and_emptied_on_its_pages(
    site: Site, browser: Client, running: Servers
) -> None:
    connect(site, "web-key", "ssh", {"private_key": KEY}, username="deploy")
    host = running.start("web1")
    answer: Any = browser.post(
        reverse("pipelines:machine_group_new"), {"name": "web", "connection": "web-key"}
    )
    assert (answer.status_code, answer.url) == (
        303,
        reverse("pipelines:machine_group", args=["web"]),
    )
    add_url = reverse("pipelines:machine_add", args=["web"])
    machine = {"name": "web1", "host": "127.0.0.1", "port": host.port}
    page = browser.post(add_url, machine, follow=True).content.decode()
    assert f"showed the key {host.key.get_fingerprint()}" in page
    remove = reverse("pipelines:machine_remove", args=["web", "web1"])
    assert browser.post(remove).status_code == 422
    assert Machine.objects.count() == 1
    assert browser.post(remove, {"confirmed": "yes"}).status_code == 303
    gone = reverse("pipelines:machine_group_remove", args=["web"])
    assert browser.post(gone, {"confirmed": "yes"}).status_code == 303
    assert (Machine.objects.count(), MachineGroup.objects.count()) == (0, 0)


def test_a_refusal_stands_beside_the_form(site: Site, browser: Client, group: MachineGroup) -> None:
    with nothing_changes():
        answer = browser.post(
            reverse("pipelines:machine_add", args=["web"]),
            {"name": "web1", "host": "127.0.0.1", "port": 1},
        )
    assert answer.status_code == 400
    assert "SLUICE_ALLOWED_NETWORKS" in answer.content.decode()


def test_a_form_offers_the_connections_of_ones_own_teams(site: Site) -> None:
    make_group(site)
    client = Client()
    for member, offered in (("ada", True), ("admin", True)):
        client.force_login(site.cast.everyone()[member])
        page = client.get(reverse("pipelines:machine_group_new")).content.decode()
        assert ("web-key" in page) is offered
    site.cast.ada.groups.clear()
    client.force_login(site.cast.ada)
    assert "web-key" not in client.get(reverse("pipelines:machine_group_new")).content.decode()


def test_who_may_only_look_is_offered_nothing_to_change(site: Site) -> None:
    make_known_group(site)
    client = Client()
    client.force_login(site.cast.dora)
    page = client.get(reverse("pipelines:machine_group", args=["web"])).content.decode()
    assert "SHA256:" in page
    assert "Remove" not in page
    assert "Add a machine" not in page
