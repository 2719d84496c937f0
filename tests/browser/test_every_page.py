"""Every page, light and dark, wide and narrow: nobody is shut out, the CSP refuses nothing."""

import tarfile
from collections.abc import Iterable, Iterator
from datetime import timedelta
from ipaddress import ip_network

import pytest
from axe_playwright_python.sync_playwright import Axe
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.contrib.auth.models import Group
from django.test import override_settings
from django.urls import URLPattern, URLResolver, reverse
from django.utils import timezone
from playwright.sync_api import expect

from accounts import urls as accounts_urls
from accounts.models import Role, User
from pipelines import artifacts, connections, definitions, receiving, runs
from pipelines.logs import LogWriter
from pipelines.models import Artifact, ExecutionState, Job, MachineResult, Runner, Trigger
from pipelines.web import urls as pipelines_urls
from promotion import (
    holding,
    images,
    notices,
    overriding,
    policies,
    promoting,
    publishing,
    recalling,
    retention,
    selection,
    telling,
    webhooks,
)
from promotion.evidence import keeping, keys
from promotion.keeping import Rules
from promotion.models import Delivery, Letter, Notice, Promotion, Version, Webhook
from promotion.web import urls as promotion_urls
from tests.accounts.authenticator import Authenticator
from tests.browser.conftest import Window, Windows
from tests.cast import YAML, Site, make_artifact, make_pipeline, make_site, work_off
from tests.parts import registry as registry_parts
from tests.parts.multiarch import Pusher
from tests.pipelines import hostile
from tests.pipelines.connected import make_known_group
from tests.pipelines.teams import NAMING
from tests.promotion import evidencing

pytestmark = [pytest.mark.whole, pytest.mark.timeout(600)]

GATED = """
stages:
  gate_stage:
    jobs:
      gate_job:
        driven: manual
        steps:
          say_step: {step: Command, with: {run: echo passed}}
"""
DEPLOYS = """
stages:
  deploy_stage:
    jobs:
      deploy_job:
        component: VMDeploy
        with:
          artifact: $[sources.app]
          machineGroup: web
          artifactDownloadPath: /srv/app.tgz
          run: sh /srv/deploy.sh
sources:
  app: {type: packages, repo: apps, artifact: app, version: 1.0.0}
"""
HELD = "stages: {a: {jobs: {b: {runsOn: arm, steps: {c: {step: Command, with: {run: 'true'}}}}}}}"
FAILING = "stages: {a: {jobs: {b: {steps: {c: {step: Command, with: {run: 'false'}}}}}}}"
VALIDATED = """
stages:
  a:
    jobs:
      ask: {component: ManualValidate, with: {validateMethod: and, validatorUsers: [ben, zoe]}}
"""
#: Members of each kind, some of them dangerous, and a text with what cannot be seen.
MARKED = hostile.tar_of(
    [
        ("bin/lib.so", tarfile.SYMTYPE, "lib.so.1"),
        ("../up", tarfile.REGTYPE, ""),
        ("null", tarfile.CHRTYPE, ""),
        ("empty/", tarfile.DIRTYPE, ""),
    ]
)
#: One more behind the four, in place of the zeros that end the first.
ARCHIVE = MARKED[: 4 * 512] + hostile.tar({"src/a\u202eb.c": "if admin\u202e {\n".encode() * 9})
#: Answered by a part of a page, or only to POST.
NO_PAGES = {
    "promotion:promotion_progress", "promotion:promotion_approve", "promotion:promotion_reject",
    "promotion:version_recall", "promotion:version_look", "promotion:recall_acknowledge",
    "promotion:registry_try", "promotion:target_try",
    "promotion:evidence_key_revoke",
    "promotion:policy_check", "promotion:policy_download",
    "promotion:promotion_withdraw", "promotion:promotion_retry",
    "promotion:promotion_override", "promotion:promotion_review",
    "promotion:version_hold", "promotion:hold_lift",
    "pipelines:run_progress",
    "pipelines:definition_check", "pipelines:revision_choose",
    "pipelines:run_retry", "pipelines:run_again",
    "pipelines:run_finish", "pipelines:upload_abort",
    "pipelines:connection_secrets", "pipelines:connection_sharing", "pipelines:connection_remove",
    "pipelines:run_cancel", "pipelines:job_log", "pipelines:job_stream", "pipelines:job_download",
    "pipelines:job_pass", "pipelines:job_refuse",
    "pipelines:machine_remove", "pipelines:machine_group_remove",
    "pipelines:hook_make", "pipelines:hook_rotate", "pipelines:hook_remove",
    "accounts:token_issue", "accounts:token_revoke", "accounts:mail_set",
    "accounts:passkey_begin", "accounts:passkey_finish", "accounts:passkey_remove",
    "promotion:notice_read", "promotion:notices_read",
    "promotion:webhook_test", "promotion:webhook_rotate", "promotion:webhook_enable",
    "promotion:webhook_remove", "promotion:webhook_redeliver",
}  # fmt: skip


def _named(module: object, namespace: str) -> set[str]:
    patterns: list[URLPattern | URLResolver] = getattr(module, "urlpatterns")  # noqa: B009
    return {f"{namespace}:{name}" for name in _names(patterns)}


def _names(patterns: Iterable[URLPattern | URLResolver]) -> Iterator[str | None]:
    for each in patterns:
        if isinstance(each, URLResolver):
            yield from _names(each.url_patterns)
        else:
            yield each.name


ALL = (
    _named(promotion_urls, "promotion")
    | _named(pipelines_urls, "pipelines")
    | _named(accounts_urls, "accounts")
)


class Shop:
    """A site with something on every page of it."""

    def __init__(self) -> None:
        site = self.site = make_site()
        cast = site.cast
        self.everybody = User.objects.create_user(
            "zoe", password="zoe's password", roles=[role.value for role in Role], is_staff=True,
            is_superuser=True,
        )  # fmt: skip
        one = site.publish("1.0.0", files={"bin/app": b"one", "readme.txt": b"one"})
        two = site.publish("1.1.0", files={"bin/app": b"two", "notes.txt": b"two"})
        for version in (one, two):
            site.promote(site.staging, version)
            site.promote(site.production, version)
        keeping.add_evidence(
            two, by=cast.ada, predicate_type="tests", result="passed", payload={"passed": 7}
        )
        self._add_signed_evidence(two)
        bad = site.publish("0.9.0")
        for user in (self.everybody, cast.ada, cast.production):
            recalling.note_download(bad, by=user.pk)
        recalling.recall(bad, by=cast.ben, reason="It loses data.", replacement=one)
        known = bad.affected.get(owner=cast.ada)
        recalling.acknowledge(known, by=cast.ben, note="She knows.")
        self._leave_a_recalled_version_placed()
        self._add_image()
        self.pruned = self._pruned()
        self.overridden = self._overridden(one)
        self.waiting = site.request(site.staging, site.publish("2.0.0"))
        self.signed = self._to_be_signed()
        self.artifact = make_artifact(cast.ada, site.pipeline, {"a/b.txt": b"x", "c.txt": b"y"})
        packed = make_artifact(cast.ada, site.pipeline, {"app.tar": ARCHIVE}, name="packed")
        self.archive = reverse("pipelines:artifact_file", args=[packed.pk, "app.tar"])
        self.selection = selection.select(
            one.package, selection.Query(environment="production"), by=cast.production
        )
        self.gated = work_off(
            runs.start(make_pipeline(cast.ada, "gated", GATED), by=cast.ada, comment="By hand")
        )
        runs.start(site.pipeline, by=cast.ada)
        self.reported = runs.report(site.pipeline, by=self.everybody, comment="By hand")
        receiving.create(
            self.reported, artifacts.Place("build", "build", "upload"), "begun",
            [receiving.Announced("app.bin", 5)], by=self.everybody,
        )  # fmt: skip
        external = runs.report(site.pipeline, by=cast.ada, url="https://ci.example/1")
        runs.finish(external, ExecutionState.FAILED, by=cast.ada)
        make_known_group(site)
        self._deploys = self._deployed()
        self._add_connections()
        self._add_runs()
        self._tell()
        definitions.revise(site.pipeline, YAML + "# and more\n", by=cast.ada)
        writer = LogWriter(Job.objects.get(run=self.gated))
        writer.write(b"\x1b[31mred\x1b[0m <b>not bold</b>\n" * 40)
        writer.flush()

    def _leave_a_recalled_version_placed(self) -> None:
        site = self.site
        bad, good = (site.publish(name, package="lib") for name in ("0.1.0", "0.1.1"))
        site.promote(site.staging, bad)
        recalling.recall(bad, by=site.cast.ben, reason="It leaks.", replacement=good)

    def _add_signed_evidence(self, version: Version) -> None:
        """A line of each standing, by a key that is trusted and one that was."""
        cast = self.site.cast
        for name in ("ci-tests", "old"):
            private = Ed25519PrivateKey.generate()
            key = keys.add_key(name, evidencing.pem_of(private), by=cast.admin)
            text = evidencing.about(version, private, result="PASSED", of=name)
            keeping.add_document(version, text, by=cast.ada)
        keys.revoke_key(key, by=cast.admin, reason="Its owner has left.")

    def _overridden(self, version: Version) -> Promotion:
        """Everybody may break the glass in staging; somebody did, and a review is owed. A version
        is held there."""
        site = self.site
        self.everybody.groups.add(Group.objects.create(name="on-call"))
        site.cast.ben.groups.add(Group.objects.get(name="on-call"))
        rules = {"override": {"groups": ["on-call"]}}
        policies.set_policy(site.staging, rules, by=site.cast.admin)
        promotion = site.request(site.staging, version)
        overriding.override(promotion, by=site.cast.ben, reason="The site is down.")
        promoting.execute(promotion.pk)
        holding.place_hold(site.staging, version, by=site.cast.ben, reason="It crashes.")
        fenced = {**rules, "upstream": "production"}
        policies.create_environment("fenced", rank=3, by=site.cast.admin, policy=fenced)
        return promotion

    def _add_image(self) -> None:
        """An image whose tag has moved since it was published."""
        ada = self.site.cast.ada
        opened = override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),))
        with registry_parts.server() as address, opened:
            pusher = Pusher(address, "shop/web")
            image = pusher.multiarch("1.0")
            pusher.cosign(image.digest)
            run = runs.report(self.site.pipeline, by=ada)
            place = artifacts.Place("build", "build", "push")
            made = artifacts.report_image(run, place, "web", f"{image.name}:1.0", "", by=ada)
            runs.finish(run, ExecutionState.SUCCEEDED, by=ada)
            docker = publishing.create_repository(
                "images", by=ada, kind="docker", registry=f"{address}/shop"
            )
            artifact = Artifact.objects.get(pk=made.pk)
            version = publishing.publish(docker, "web", "1.0.0", artifact, by=ada).version
            pusher.multiarch("1.0")
            images.look_for_drift(version, by=ada)

    def _to_be_signed(self) -> Promotion:
        """A request that zoe approves with one of her passkeys."""
        site, asked = self.site, {"second_factor": True}
        guarded = policies.create_environment("guarded", rank=3, by=site.cast.admin, policy=asked)
        Authenticator().register(self.everybody, "Yellow key")
        return site.request(guarded, site.publish("2.0.1"))

    def _tell(self) -> None:
        """What happened is told; of two webhooks one works, and one was given up."""
        admin = self.site.cast.admin
        for name in ("ci", "old"):
            webhook, _ = webhooks.create(name, "https://8.8.8.8/hooks", by=admin)
            webhooks.send_test(webhook, by=admin)
        Delivery.objects.filter(webhook__name="ci").update(state="delivered")
        Webhook.objects.filter(name="old").update(
            disabled_at=timezone.now(), disabled_why="It failed for 5 days.",
            failing_since=timezone.now(),
        )  # fmt: skip
        telling.tell()
        notice = Notice.objects.filter(recipient=self.everybody).latest("pk")
        Letter.objects.create(
            notice=notice, state="failed", due_at=timezone.now(), error="It was refused."
        )
        notices.mark_read(notice.pk, by=self.everybody)

    def _pruned(self) -> Artifact:
        """An artifact whose version no rule kept."""
        cast, pipeline = self.site.cast, self.site.pipeline
        tools = publishing.create_repository("tools", by=cast.ada)
        made = [make_artifact(cast.ada, pipeline) for _ in range(2)]
        for name, artifact in zip(("1.0.0", "2.0.0"), made, strict=True):
            publishing.publish(tools, "tool", name, artifact, by=cast.ada)
        retention.set_rules(tools, Rules(newest=1), by=cast.admin)
        assert retention.retain() == 1
        return made[0]

    def _deployed(self) -> list[object]:
        """A job that got to one of its two machines, and what its address names."""
        run = runs.start(
            make_pipeline(self.site.cast.ada, "deploys", DEPLOYS), by=self.site.cast.ada
        )
        job = Job.objects.get(run=run)
        for position, state in enumerate(("failed", "skipped"), start=1):
            MachineResult.objects.create(
                job=job, machine=f"web{position}", host="web.example.com", port=22, attempt=1,
                position=position, batch=position, state=state, error="It cannot be reached.",
            )  # fmt: skip
        return ["deploys", run.number, job.stage, job.key]

    def _add_connections(self) -> None:
        team, other = (Group.objects.create(name=name) for name in ("shop", "office"))
        ada = self.site.cast.ada
        self.everybody.groups.add(team)
        ada.groups.add(other)
        for by, owner, name in ((self.everybody, team, "registry"), (ada, other, "theirs")):
            made = connections.create(
                name, "registry", by=by, team=owner, host="registry.example.com:5000",
                settings={"username": "robot"}, secrets={"password": "open sesame"},
                description="Pushes what is built.",
            )  # fmt: skip
            connections.share(made, [team, other], by=by)
        make_pipeline(ada, "pushing", NAMING)
        Runner.objects.create(
            name="builder-1", groups=["linux", "large"], builder="buildah 1.33", is_isolating=True,
            started_at=timezone.now(), seen_at=timezone.now(),
        )  # fmt: skip
        Runner.objects.create(
            name="builder-2", started_at=timezone.now(),
            seen_at=timezone.now() - timedelta(hours=1),
        )  # fmt: skip

    def _add_runs(self) -> None:
        site, ada = self.site, self.site.cast.ada
        self.refused = runs.start_by_event(
            site.pipeline, by=ada, trigger=Trigger.PUSH, once="push:1", comment="A push",
            asked={"nothing": {"commit": "a" * 40}},
        )  # fmt: skip
        held = runs.start(make_pipeline(ada, "held", HELD), by=ada)
        runs.begin(held.pk)
        validated = work_off(runs.start(make_pipeline(ada, "validated", VALIDATED), by=ada))
        gate = validated.jobs.get()
        runs.pass_job(gate, by=site.cast.ben, comment="Looks right.")
        work_off(runs.start(make_pipeline(ada, "failing", FAILING), by=ada))

    def pages(self) -> dict[str, str]:
        """The address of each page that has one to show."""
        app = ["apps", "app"]
        job = ["gated", self.gated.number, "gate_stage", "gate_job"]
        arguments: dict[str, list[object]] = {
            "promotion:board": [],
            "promotion:inbox": [],
            "promotion:notices": [],
            "promotion:webhook_list": [],
            "promotion:webhook_new": [],
            "promotion:webhook": ["ci"],
            "promotion:repository_list": [],
            "promotion:repository_new": [],
            "promotion:repository": ["apps"],
            "promotion:repository_registry": ["images"],
            "promotion:repository_retention": ["apps"],
            "promotion:storage": [],
            "promotion:evidence_keys": [],
            "promotion:package": [*app],
            "promotion:version": [*app, "1.1.0"],
            "promotion:version_file": [*app, "1.1.0", "notes.txt"],
            "promotion:publish": [self.artifact.pk],
            "promotion:selection": [self.selection.pk],
            "promotion:environment_list": [],
            "promotion:environment_new": [],
            "promotion:environment": ["production"],
            "promotion:policy": ["production"],
            "promotion:policy_yaml": ["production"],
            "promotion:policy_revision_list": ["production"],
            "promotion:policy_revision": ["production", 1],
            "promotion:target": ["production"],
            "promotion:placement_roll_back": ["production", *app],
            "promotion:promotion_list": [],
            "promotion:promotion_new": [],
            "promotion:promotion": [self.waiting.pk],
            "promotion:history": [],
            "promotion:history_entry": [3],
            "pipelines:pipeline_list": [],
            "pipelines:pipeline_new": [],
            "pipelines:pipeline": ["app"],
            "pipelines:definition": ["app"],
            "pipelines:revision": ["app", 1],
            "pipelines:revision_diff": ["app", 1, 2],
            "pipelines:language": [],
            "pipelines:run_start": ["app"],
            "pipelines:run_report": ["app"],
            "pipelines:artifact_add": ["app", self.reported.number],
            "pipelines:run": ["gated", self.gated.number],
            "pipelines:job": job,
            "pipelines:machine_group_list": [],
            "pipelines:machine_group_new": [],
            "pipelines:machine_group": ["web"],
            "pipelines:machine_add": ["web"],
            "pipelines:artifact": [self.artifact.pk],
            "pipelines:artifact_file": [self.artifact.pk, "a/b.txt"],
            "pipelines:connection_list": [],
            "pipelines:connection_new": [],
            "pipelines:connection_new_of": ["git"],
            "pipelines:connection": ["registry"],
            "pipelines:runner_list": [],
            "accounts:account": [],
        }
        return {
            name: reverse(name, args=given) for name, given in arguments.items() if name in ALL
        } | {
            "an archive": self.archive,
            "a member of an archive": f"{self.archive}?member=4",
            "an archive without what was sought": f"{self.archive}?files=no-such-path",
            "a promotion to be signed": reverse("promotion:promotion", args=[self.signed.pk]),
            "a completed promotion": reverse("promotion:promotion", args=[self._completed]),
            "an emergency": (
                reverse("promotion:promotion_new")
                + f"?environment=fenced&version={self.waiting.items.get().version_id}"
            ),
            "an overridden promotion": reverse("promotion:promotion", args=[self.overridden.pk]),
            "an image": reverse("promotion:version", args=["images", "web", "1.0.0"]),
            "a repository of images": reverse("promotion:repository", args=["images"]),
            "a pruned version": reverse("promotion:version", args=["tools", "tool", "1.0.0"]),
            "a pruned artifact": reverse("pipelines:artifact", args=[self.pruned.pk]),
            "a package with a pruned version": reverse("promotion:package", args=["tools", "tool"]),
            "an environment that has a recalled version": reverse(
                "promotion:environment", args=["staging"]
            ),
            "a package with a recalled version": reverse("promotion:package", args=["apps", "lib"]),
            "a recalled version": reverse("promotion:version", args=[*app, "0.9.0"]),
            "a job that deploys": reverse("pipelines:job", args=self._deploys),
            "a running run": reverse("pipelines:run", args=["app", self._queued]),
            "a run that an event could not start": reverse(
                "pipelines:run", args=["app", self.refused.number]
            ),
            "a run that waits for a group": reverse("pipelines:run", args=["held", 1]),
            "a gate that one has passed": reverse("pipelines:run", args=["validated", 1]),
            "a run that is reported by hand": reverse(
                "pipelines:run", args=["app", self.reported.number]
            ),
            "a failed run": reverse("pipelines:run", args=["failing", 1]),
            "notices that were read": f"{reverse('promotion:notices')}?all=1",
            "a disabled webhook": reverse("promotion:webhook", args=["old"]),
            "a connection of a key": reverse("pipelines:connection_new_of", args=["ssh"]),
            "a connection of another team": reverse("pipelines:connection", args=["theirs"]),
        }

    @property
    def _completed(self) -> int:
        return Promotion.objects.filter(state="completed").values_list("pk", flat=True)[0]

    @property
    def _queued(self) -> int:
        found = self.site.pipeline.runs.filter(state="queued").values_list("number", flat=True)
        return found[0]


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    return Shop()


def test_every_page_is_looked_at(shop: Shop) -> None:
    assert (shop.pages().keys() & ALL) | NO_PAGES == ALL


def _faults(window: Window, address: str) -> Iterator[str]:
    """What axe-core and the window's width say against the page."""
    page = window.go(address)
    for violation in Axe().run(page).response["violations"]:
        for node in violation["nodes"]:
            yield f"{address}: {violation['id']}: {node['target']} {node['html'][:160]}"
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    if wide > 0:
        yield f"{address}: {wide} px wider than the window"
    if page.locator("h1").count() != 1:
        yield f"{address}: {page.locator('h1').count()} headings of the first level"
    if not page.title().strip():
        yield f"{address}: no title"


# Each theme and each width once: colours do not depend on the width, nor room on the theme.
@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 375)])
def test_no_page_shuts_anybody_out(theme: str, width: int, shop: Shop, windows: Windows) -> None:
    window = windows.open(color_scheme=theme, viewport={"width": width, "height": 900})
    faults = list(_faults(window, "/login/"))
    window.sign_in_as(shop.everybody)
    for address in shop.pages().values():
        faults += _faults(window, address)
    assert faults == []


def test_whoever_may_do_nothing_is_told_so_on_a_page(shop: Shop, windows: Windows) -> None:
    window = windows.open()
    window.sign_in_as(shop.site.cast.mallory)
    for name, address in shop.pages().items():
        answer = window.page.goto(f"{window.url}{address}")
        assert answer is not None
        expected = 200 if name == "accounts:account" else 403
        assert answer.status == expected, f"{address}: {answer.status}"
        if expected == 403:
            assert Axe().run(window.page).response["violations"] == []
    window.complaints = [each for each in window.complaints if "403" not in each]


def test_nothing_that_somebody_wrote_becomes_part_of_a_page(shop: Shop, windows: Windows) -> None:
    site: Site = shop.site
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>\x1b[31m{{ 7 }}"
    recalling.recall(site.publish("6.6.6"), by=site.cast.ben, reason=evil)
    promotion = Promotion.objects.get(pk=shop.waiting.pk)
    promoting.reject(promotion, by=site.cast.ben, plan=promotion.plan_digest, comment=evil)
    runs.report(site.pipeline, by=site.cast.ada, comment=evil.replace("\x1b", ""))
    window = windows.open()
    window.sign_in_as(shop.everybody)
    window.page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    for address in (
        reverse("promotion:version", args=["apps", "app", "6.6.6"]),
        reverse("promotion:promotion", args=[promotion.pk]),
        reverse("pipelines:pipeline", args=["app"]),
        reverse("promotion:history"),
    ):
        page = window.go(address)
        assert page.locator("img[onerror]").count() == 0
        assert "{{ 7 }}" in page.content() or "history" in address or "pipelines" in address


def test_the_page_to_try_the_api_works_under_the_policy(shop: Shop, windows: Windows) -> None:
    window = windows.open()
    window.sign_in_as(shop.everybody)
    page = window.go("/api/")
    # The library draws more than a hundred calls, which takes a busy machine its time.
    page.set_default_timeout(60_000)
    call = page.locator(".opblock").filter(has=page.get_by_text("List pipelines", exact=True))
    call.locator(".opblock-summary").click()
    call.get_by_role("button", name="Try it out").click()
    call.get_by_role("button", name="Execute").click()
    expect(call.locator(".live-responses-table")).to_contain_text("gated")
    expect(call.locator(".live-responses-table")).to_contain_text("200")
