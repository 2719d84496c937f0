"""People who call the API, and a site on which every call has something to work on."""

import copy
import io
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.contrib.auth.models import Group
from django.db import transaction
from pytest_django.plugin import DjangoDbBlocker

from accounts.models import User
from pipelines import artifacts, blobs, connections, hooks, receiving, runners, runs
from pipelines.models import Artifact, ExecutionState, Run, ServiceConnection, Upload
from promotion import (
    holding,
    notices,
    overriding,
    policies,
    promoting,
    publishing,
    recalling,
    registries,
    selection,
)
from promotion.evidence import keeping, keys
from promotion.models import (
    Affected,
    Evidence,
    Hold,
    Notice,
    Promotion,
    PromotionState,
    Selection,
    Version,
)
from tests.accounts.authenticator import Authenticator
from tests.api.caller import Api, token_for
from tests.cast import Site, external_run, make_pipeline, make_site, work_off
from tests.pipelines.connected import make_known_group
from tests.promotion import evidencing

GATED = """
stages:
  gate_stage:
    jobs:
      gate_job:
        driven: manual
        steps:
          say_step:
            step: Command
            with: {run: echo passed}
"""
HOOKED = """
sources:
  repo: {type: github, endpoint: https://github.com/shop/app, branch: main, triggerEvents: push}
  other: {type: gitlab, endpoint: https://gitlab.com/shop/app, triggerEvents: [push, tagPush]}
defaultWorkspace: repo
stages:
  build_stage:
    jobs:
      build_job:
        steps:
          say_step:
            step: Command
            with: {run: echo built}
"""
PASSWORD = "a password that nobody is shown"
NEW_KEY = evidencing.pem_of(Ed25519PrivateKey.generate())
IMAGE = "registry.example/shop/web:1.0@sha256:" + "a1" * 32


@dataclass(frozen=True)
class People:
    """Everybody's door to the API."""

    ada: Api
    ben: Api
    cleo: Api
    dora: Api
    admin: Api
    production: Api
    mallory: Api
    nobody: Api

    def of(self, name: str) -> Api:
        found: Api = getattr(self, name)
        return found


@dataclass(frozen=True)
class Things:
    """One of everything that a call can name."""

    site: Site
    external: Run
    queued: Run
    cancelled: Run
    connection: ServiceConnection
    gated: Run
    artifact: Artifact
    image: Artifact
    upload: Upload
    whole: Upload
    version: Version
    recalled: Version
    requested: Promotion
    failed: Promotion
    overridden: Promotion
    hold: Hold
    selection: Selection
    affected: Affected
    evidence: Evidence
    completed: Promotion
    notice: Notice

    @property
    def names(self) -> dict[str, object]:
        return {
            "pipeline": "app",
            "number": self.external.number,
            "queued": self.queued.number,
            "cancelled": self.cancelled.number,
            "connection": self.connection.name,
            "gated": self.gated.number,
            "stage": "gate_stage",
            "job": "gate_job",
            "artifact": self.artifact.pk,
            "image": self.image.pk,
            "upload": self.upload.pk,
            "whole": self.whole.pk,
            "file": 1,
            "part": 1,
            "repository": "apps",
            "package": "app",
            "version": "1.0.0",
            "path": "bin/run.sh",
            "file_name": "app.txt",
            "bundle": "app.tgz",
            "environment": "staging",
            "promotion": self.requested.pk,
            "failed": self.failed.pk,
            "overridden": self.overridden.pk,
            "hold": self.hold.pk,
            "selection": self.selection.pk,
            "recalled": self.recalled.name,
            "affected": self.affected.pk,
            "evidence": self.evidence.pk,
            "completed": self.completed.pk,
            "placed": "1.0.1",
            "key": "ci-tests",
            "public_key": NEW_KEY,
            "notice": self.notice.pk,
            "plan_digest": self.requested.plan_digest,
            "gated_pipeline": "gated",
            "hooked_pipeline": "hooked",
            "source": "repo",
            "group": "web",
            "machine": "web1",
            "published": self.version.artifact_id,
            "images": "images",
            "web": "web",
        }


def make_things() -> Things:
    site = make_site()
    cast = site.cast
    version = site.publish("1.0.0", files={"bin/run.sh": b"echo 1", "readme.txt": b"one"})
    evidence = keeping.add_evidence(
        version, by=cast.ada, predicate_type="scan", result="passed", payload={"found": 0}
    ).evidence
    keys.add_key("ci-tests", evidencing.pem_of(Ed25519PrivateKey.generate()), by=cast.admin)
    recalled = site.publish("0.9.0")
    recalling.note_download(recalled, by=cast.ada.pk)
    recalling.recall(recalled, by=cast.ben, reason="It loses data.", replacement=version)
    second = site.publish("1.0.1")
    overridden = override_one(site, version)
    site.promote(site.production, version)
    site.promote(site.staging, second)
    completed = site.promote(site.production, second)
    newer = site.publish("1.1.0")
    requested = site.request(site.staging, newer)
    for manager in (cast.ben, cast.cleo):
        Authenticator().register(manager)
    failed = site.request(site.staging, version)
    Promotion.objects.filter(pk=failed.pk).update(state=PromotionState.FAILED)
    images = external_run(cast.ada, site.pipeline)
    place = artifacts.Place("build", "build", "push")
    image = artifacts.report_image(images, place, "web", IMAGE, "", by=cast.ada)
    runs.finish(images, ExecutionState.SUCCEEDED, by=cast.ada)
    docker = publishing.create_repository("images", by=cast.ada, kind="docker")
    publishing.publish(docker, "web", "1.0.0", image, by=cast.ada)
    registries.set_registry(docker, "registry.example/shop", by=cast.ada)
    external = external_run(cast.ada, site.pipeline)
    kept = artifacts.NamedBlob("app.txt", blobs.keep_bytes([b"of the external run"]))
    made = artifacts.report_files(
        external, artifacts.Place("build", "build", "upload"), "app", [kept], by=cast.ada
    )
    keeping.add_evidence_to_artifact(
        made, by=cast.ada, predicate_type="scan", result="passed", payload={"found": 0}
    )
    whole = begin_upload(external, "whole", cast.ada)
    receiving.put_part(whole, 1, 1, io.BytesIO(b"parts"), by=cast.ada, length=5)
    hooks.make(make_pipeline(cast.ada, "hooked", HOOKED), "repo", by=cast.ada)
    make_known_group(site)
    runners.make_known(runners.Abilities())
    cancelled = runs.start(site.pipeline, by=cast.ada)
    runs.begin(cancelled.pk)
    runs.cancel(cancelled, by=cast.ada)
    return Things(
        site=site,
        external=external,
        cancelled=cancelled,
        connection=make_connection(site),
        queued=runs.start(site.pipeline, by=cast.ada),
        gated=work_off(runs.start(make_pipeline(cast.ada, "gated", GATED), by=cast.ada)),
        artifact=made,
        image=image,
        upload=begin_upload(external, "parts", cast.ada),
        whole=whole,
        version=version,
        recalled=recalled,
        affected=Affected.objects.get(owner=cast.ada),
        requested=requested,
        failed=failed,
        evidence=evidence,
        completed=completed,
        overridden=overridden,
        hold=holding.place_hold(site.staging, recalled, by=cast.ben, reason="It loses data."),
        selection=selection.select(
            version.package, selection.Query(environment="staging"), by=cast.production
        ),
        notice=make_notice(cast.ada),
    )


def make_notice(recipient: User) -> Notice:
    notices.write([recipient], key="x", type="test", subject="You are told.", path="/promotions/")
    return Notice.objects.get()


def override_one(site: Site, version: Version) -> Promotion:
    """Ben may override the gates of staging, and did so once."""
    cast = site.cast
    cast.ben.groups.add(Group.objects.create(name="on-call"))
    policies.set_policy(site.staging, {"override": {"groups": ["on-call"]}}, by=cast.admin)
    overridden = site.request(site.staging, version)
    overriding.override(overridden, by=cast.ben, reason="The site is down.")
    promoting.execute(overridden.pk)
    return overridden


def begin_upload(run: Run, name: str, by: User) -> Upload:
    place = artifacts.Place("build", "build", "upload")
    return receiving.create(run, place, name, [receiving.Announced("a.txt", 5)], by=by)


def make_connection(site: Site) -> ServiceConnection:
    """A registry's, of ada's team shop, that everybody may use; there is another team, office."""
    shop, office = (Group.objects.create(name=name) for name in ("shop", "office"))
    site.cast.ada.groups.add(shop)
    site.cast.ben.groups.add(office)
    made = connections.create(
        "registry",
        "registry",
        by=site.cast.ada,
        team=shop,
        host="registry.example",
        secrets={"password": PASSWORD},
    )
    return connections.share(made, [], by=site.cast.ada, with_all=True)


@pytest.fixture(scope="module")
def made_once(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[tuple[Things, dict[str, str]]]:
    """Things and tokens for all tests of a module: each test's own transaction lies inside."""
    with django_db_blocker.unblock(), transaction.atomic():
        things = make_things()
        yield things, {name: token_for(user) for name, user in things.site.cast.everyone().items()}
        transaction.set_rollback(True)


@pytest.fixture
def things(made_once: tuple[Things, dict[str, str]], db: None) -> Things:
    # Copied, because the verbs refresh the rows that they are given.
    return copy.deepcopy(made_once[0])


@pytest.fixture
def site(things: Things) -> Site:
    return things.site


@pytest.fixture
def people(made_once: tuple[Things, dict[str, str]], db: None) -> People:
    return People(**{name: Api(token) for name, token in made_once[1].items()}, nobody=Api())
