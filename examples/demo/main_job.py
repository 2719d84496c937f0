"""The main job of Sluice, driven through its HTTP API with real runs on a real worker.

Every step states what must come of it; the first that does not stops the demo.
"""

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from examples.demo import greeter
from examples.demo.cast import Member

EXAMPLES = Path(__file__).resolve().parent.parent
FINAL = {"succeeded", "failed", "errored", "cancelled", "skipped"}
DECIDED = {"completed", "failed", "errored", "stale", "rejected", "expired", "withdrawn"}
REPOSITORY, PACKAGE = "apps", "greeter"
PATIENCE = 120.0


class Unexpected(Exception):
    """A step did not come to what it must."""


class Caller:
    """The API as one member of the cast uses it."""

    def __init__(self, url: str, member: Member) -> None:
        self.name = member.username
        self._client = httpx.Client(
            base_url=f"{url}/api/v1/",
            headers={"Authorization": f"Bearer {member.token}"},
            timeout=60,
        )

    def get(self, path: str, **query: Any) -> Any:
        return self._answer(self._client.get(path, params=query), {200})

    def text(self, path: str) -> str:
        return self._client.get(path).raise_for_status().text

    def post(self, path: str, body: Mapping[str, Any], *, expect: int = 201) -> Any:
        return self._answer(self._client.post(path, json=body), {expect})

    def make(self, path: str, body: Mapping[str, Any]) -> bool:
        """Create something unless it is there already; True when it is new."""
        answer = self._client.post(path, json=body)
        self._answer(answer, {201, 409})
        return answer.status_code == 201

    def put(self, path: str, yaml: str) -> Any:
        answer = self._client.put(path, content=yaml, headers={"Content-Type": "text/yaml"})
        return self._answer(answer, {200})

    def download(self, url: str) -> bytes:
        return self._client.get(url).raise_for_status().content

    def _answer(self, response: httpx.Response, expected: set[int]) -> Any:
        if response.status_code not in expected:
            raise Unexpected(
                f"{self.name}: {response.request.method} {response.request.url} answered "
                f"{response.status_code} instead of {sorted(expected)}:\n{response.text[:2000]}"
            )
        return response.json()


class MainJob:
    def __init__(self, url: str, cast: Mapping[str, Member], data: Path, jobs: Path) -> None:
        self.data = data
        self.url = url
        self.ada, self.ben, self.cleo, self.dora, self.admin, self.production = (
            Caller(url, cast[name])
            for name in ("ada", "ben", "cleo", "dora", "admin", "production")
        )
        self.repository = data / "repositories" / "greeter.git"
        # Beside the jobs' folders, where a job gets to that has a user of its own. What it is to
        # write in must be open to whichever user that is.
        self.deployed = jobs / "deployed"
        self.deployed.mkdir(parents=True, exist_ok=True)
        self.deployed.chmod(0o777)
        self.steps = 0

    def run(self) -> None:
        self.set_up()
        first, second = self.next_versions()
        self.build_and_publish(first)
        self.promote(first, "staging", approver=self.ben, show_own_refused=True)
        self.promote(first, "production", approver=self.cleo)
        self.deploy(first)
        self.build_and_publish(second)
        self.refuse_unpromoted(second, instead=first)
        self.promote(second, "staging", approver=self.cleo)
        self.promote(second, "production", approver=self.ben)
        self.deploy(second)
        self.roll_back(second, to=first)
        self.deploy(first)
        self.show_history()
        self.verify()

    # ---- Steps ----------------------------------------------------------------------------------
    def set_up(self) -> None:
        self.step("Environments, a repository and two pipelines")
        for name, rank, policy in (
            ("staging", 1, {"approvals": 1}),
            ("production", 2, {"approvals": 1, "upstream": "staging"}),
        ):
            new = self.admin.make("environments/", {"name": name, "rank": rank, "policy": policy})
            self.say(f"environment {name}: {'made' if new else 'found'}")
        new = self.ada.make(
            "repositories/", {"name": REPOSITORY, "description": "Applications, validated."}
        )
        self.say(f"repository {REPOSITORY}: {'made' if new else 'found'}")
        greeter.commit(self.repository, "0.0.0")
        # The production pipeline refers to a package, which its first run needs, not its check.
        for slug, file in (("pre-release", "pre-release.yaml"), ("production", "production.yaml")):
            yaml = (EXAMPLES / file).read_text(encoding="utf-8")
            yaml = yaml.replace("REPOSITORY", self.repository.as_uri())
            if not self.ada.make("pipelines/", {"id": slug, "name": "", "yaml": yaml}):
                self.ada.put(f"pipelines/{slug}/definition/", yaml)
            found = self.ada.get(f"pipelines/{slug}/")
            self.say(f"pipeline {slug}: revision {found['revision']}")

    def next_versions(self) -> tuple[str, str]:
        """1.0.0 and 1.1.0; when they exist, the pair of the next free major number: a version's
        name is never used twice."""
        packages = self.ada.get(f"repositories/{REPOSITORY}/packages/")["results"]
        if not packages:
            return "1.0.0", "1.1.0"
        versions = self.ada.get(f"{self.package}/versions/", page_size=200)["results"]
        major = 1 + max(int(each["version"].split(".")[0]) for each in versions)
        return f"{major}.0.0", f"{major}.1.0"

    def build_and_publish(self, version: str) -> None:
        self.step(f"The pre-release pipeline builds, tests and uploads {PACKAGE} {version}")
        commit = greeter.commit(self.repository, version)
        run = self.run_pipeline(self.ada, "pre-release", {"comment": f"Release {version}"})
        self.expect("commit", run["sources"]["greeter_repo"]["commit"], commit)
        log = self.ada.text(
            f"pipelines/pre-release/runs/{run['number']}/jobs/build_stage/build_job/log/"
        )
        if f"greeter {version}: Hello, world!" not in log:
            raise Unexpected(f"The log does not show the new application:\n{log}")
        reference = "$[stages.build_stage.build_job.upload_step.artifacts.default]"
        artifact = self.ada.get(
            f"pipelines/pre-release/runs/{run['number']}/resolve/", reference=reference
        )
        self.say(f"{reference} is artifact {artifact['id']}, sha256 {artifact['sha256'][:12]}…")
        self.step(f"The artifact is published as {PACKAGE} {version}")
        published = self.ada.post(
            f"{self.package}/versions/", {"version": version, "artifact": artifact["id"]}
        )
        self.expect("manifest digest", published["manifest_digest"], artifact["digest"])
        self.expect("commit of the provenance", published["provenance"]["commit"], commit)
        self.say(f"{PACKAGE} {version} = {published['manifest_digest']}")

    def promote(
        self, version: str, environment: str, *, approver: Caller, show_own_refused: bool = False
    ) -> None:
        self.step(f"{PACKAGE} {version} is promoted to {environment}")
        item = {"repository": REPOSITORY, "package": PACKAGE, "version": version}
        body: dict[str, Any] = {"environment": environment, "items": [item]}
        plan = self.ada.post("promotions/plan/", body, expect=200)
        requested = self.ada.post(
            "promotions/",
            {**body, "plan_digest": plan["plan_digest"], "comment": f"{version} is ready."},
        )
        self.say(f"ada requests promotion {requested['id']}, plan {plan['plan_digest'][:19]}…")
        decision = {"plan_digest": requested["plan_digest"], "comment": "Looks right."}
        if show_own_refused:
            refused = self.ada.post(f"promotions/{requested['id']}/approve/", decision, expect=403)
            self.expect("refusal", refused["code"], "self_approval")
            self.say(f"ada may not approve it herself: {refused['detail']}")
        self.decide(requested, decision, approver)

    def decide(self, requested: Any, decision: Mapping[str, Any], approver: Caller) -> None:
        path = f"promotions/{requested['id']}/"
        approver.post(f"{path}approve/", decision, expect=200)
        done = self.wait(lambda: approver.get(path), lambda each: each["state"] in DECIDED)
        self.expect("state", done["state"], "completed", why=done["reason"])
        self.say(f"{approver.name} approves; it is {done['state']}")

    def refuse_unpromoted(self, version: str, *, instead: str) -> None:
        self.step(f"Production cannot take {version} yet")
        body = {
            "repository": REPOSITORY,
            "package": PACKAGE,
            "environment": "production",
            "version": version,
        }
        refused = self.production.post("selections/", body, expect=409)
        self.expect("refusal", refused["code"], "not_promoted")
        self.expect("what is there", refused["current"], instead)
        self.say(refused["detail"])

    def deploy(self, version: str) -> None:
        self.step(f"The production pipeline takes exactly {version} and deploys it")
        receipt = self.production.post(
            "selections/",
            {
                "repository": REPOSITORY,
                "package": PACKAGE,
                "environment": "production",
                "consumer": "demo",
            },
        )
        self.expect("selected version", receipt["version"], version)
        replayed = self.production.get(f"selections/{receipt['id']}/")
        self.expect("replayed receipt", replayed, receipt)
        data = self.production.download(receipt["artifact"]["downloadUrl"])
        self.expect("downloaded SHA-256", hashlib.sha256(data).hexdigest(), receipt["sha256"])
        self.say(
            f"selection {receipt['id']}: {version}, {receipt['explanation']['rule']}, "
            f"ledger size {receipt['ledger_size']}; {len(data)} bytes match their SHA-256"
        )
        run = self.run_pipeline(
            self.production, "production", {"variables": {"DEPLOY_DIR": str(self.deployed)}}
        )
        self.expect("pinned version", run["sources"]["greeter"]["version"], version)
        release = self.ada.get(f"{self.package}/versions/{version}/")
        for file in release["files"]:
            there = (self.deployed / "current" / file["path"]).read_bytes()
            self.expect(file["path"], hashlib.sha256(there).hexdigest(), file["sha256"])
        said = subprocess.run(
            [sys.executable, str(self.deployed / "current" / "greeter.pyz"), "production"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        self.expect("what is deployed", said, f"greeter {version}: Hello, production!")
        self.say(f"deployed: {said}")

    def roll_back(self, bad: str, *, to: str) -> None:
        self.step(f"Production is rolled back from {bad}")
        requested = self.ada.post(
            "promotions/rollback/",
            {
                "environment": "production",
                "repository": REPOSITORY,
                "package": PACKAGE,
                "comment": f"{bad} greets too loudly.",
            },
        )
        self.expect("version", requested["items"][0]["version"], to)
        decision = {"plan_digest": requested["plan_digest"], "comment": "Back it goes."}
        self.decide(requested, decision, self.cleo)

    def show_history(self) -> None:
        self.step("dora reads the promotion history")
        entries = self.dora.get("history/", package=PACKAGE, page_size=200)["results"]
        for entry in reversed(entries):
            if not entry["type"].startswith("promotion."):
                continue
            data = entry["data"]
            placed = ", ".join(each["version"] for each in data.get("placed", ()))
            detail = placed or data.get("comment") or data.get("reason") or ""
            self.say(
                f"{entry['sequence']:>4}  {entry['at'][:19]}  {entry['type']:<20} "
                f"{entry['actor'] or 'sluice':<8} {data['environment']:<11} {detail}"
            )
        completed = [each for each in entries if each["type"] == "promotion.completed"]
        if len(completed) < 5:
            raise Unexpected(f"The history shows {len(completed)} placements, not at least 5.")

    def verify(self) -> None:
        self.step("The ledger and everything it speaks of are verified")
        done = subprocess.run(
            [sys.executable, "manage.py", "verify"],
            cwd=EXAMPLES.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        for line in done.stdout.strip().splitlines():
            self.say(line)
        self.expect("status of verify", done.returncode, 0, why=done.stderr)

    # ---- Tools ----------------------------------------------------------------------------------
    @property
    def package(self) -> str:
        return f"repositories/{REPOSITORY}/packages/{PACKAGE}"

    def run_pipeline(self, who: Caller, slug: str, body: Mapping[str, Any]) -> Any:
        started = who.post(f"pipelines/{slug}/runs/", body)
        path = f"pipelines/{slug}/runs/{started['number']}/"
        run = self.wait(lambda: who.get(path), lambda each: each["status"] in FINAL)
        if run["status"] != "succeeded":
            for stage in run["stages"]:
                for job in stage["jobs"]:
                    print(who.text(f"{path}jobs/{stage['id']}/{job['id']}/log/"))
        self.expect(f"status of {slug} #{run['number']}", run["status"], "succeeded",
                    why=run["error"])  # fmt: skip
        jobs = ", ".join(
            f"{job['id']} {job['status']}" for stage in run["stages"] for job in stage["jobs"]
        )
        self.say(f"run {slug} #{run['number']}: {run['status']} ({jobs})")
        return run

    def wait(self, ask: Callable[[], Any], is_done: Callable[[Any], bool]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not is_done(answer := ask()):
            if time.monotonic() > deadline:
                raise Unexpected(f"Still not done after {PATIENCE:.0f} s: {answer}")
            time.sleep(0.1)
        return answer

    def step(self, title: str) -> None:
        self.steps += 1
        print(f"\n{self.steps:>2}. {title}", flush=True)

    def say(self, text: str) -> None:
        print(f"    {text}", flush=True)

    def expect(self, what: str, found: Any, expected: Any, *, why: str = "") -> None:
        if found != expected:
            raise Unexpected(f"{what}: expected {expected!r}, found {found!r}. {why}".strip())
