"""The cast, and short ways to the states that tests begin from. All through the real verbs.

ada develops and requests, ben and cleo approve, dora audits, admin operates, production is a
machine that selects and deploys, mallory has no role at all.
"""

from dataclasses import dataclass
from typing import Any

from accounts import tokens
from accounts.models import Role, User
from pipelines import artifacts, blobs, definitions, execution, runs
from pipelines.models import Artifact, ExecutionState, Job, Pipeline, Run
from promotion import policies, promoting, publishing
from promotion.models import (
    Environment,
    Package,
    Placement,
    Promotion,
    Repository,
    Version,
)

ROLES: dict[str, list[Role]] = {
    "ada": [Role.DEVELOPER],
    "ben": [Role.RELEASE_MANAGER],
    "cleo": [Role.RELEASE_MANAGER],
    "dora": [Role.AUDITOR],
    "admin": [Role.OPERATOR],
    "production": [Role.DEPLOYER],
    "mallory": [],
}

YAML = """
name: Example
stages:
  build_stage:
    jobs:
      build_job:
        steps:
          build_step:
            step: Command
            with:
              run: mkdir target && echo "built $BUILD_NUMBER" > target/app.txt
          upload_step:
            step: ArtifactUpload
            with:
              uploadType: flowPublic
              artifact: app
              filePath: [target/]
"""


@dataclass(frozen=True)
class Cast:
    ada: User
    ben: User
    cleo: User
    dora: User
    admin: User
    production: User
    mallory: User

    def everyone(self) -> dict[str, User]:
        return {name: getattr(self, name) for name in ROLES}


def make_cast() -> Cast:
    return Cast(
        **{
            name: User.objects.create_user(
                name,
                password=f"{name}'s password",
                roles=[role.value for role in roles],
                is_machine=name == "production",
                is_staff=name == "admin",
                is_superuser=name == "admin",
            )
            for name, roles in ROLES.items()
        }
    )


def token_of(user: User) -> str:
    return tokens.issue(user, name="test")[1]


def make_pipeline(by: User, slug: str = "app", yaml: str = YAML) -> Pipeline:
    return definitions.create(slug, "", yaml, by=by)


def work_off(run: Run) -> Run:
    """Do in this process what workers would do, until the run can go no further."""
    runs.begin(run.pk)
    while True:
        runs.advance(run.pk)
        waiting = Job.objects.filter(
            run=run, state=ExecutionState.QUEUED, dispatched_at__isnull=False
        )
        todo = list(waiting.values_list("pk", flat=True))
        if not todo:
            break
        for pk in todo:
            execution.execute(pk)
    run.refresh_from_db()
    return run


def external_run(by: User, pipeline: Pipeline) -> Run:
    return runs.report(pipeline, by=by)


def make_artifact(
    by: User, pipeline: Pipeline, files: dict[str, bytes] | None = None, name: str = "app"
) -> Artifact:
    """An artifact of a succeeded external run; its bytes are unlike any other's by default."""
    run = external_run(by, pipeline)
    content = files or {"app.txt": f"{pipeline.slug} {run.number}".encode()}
    kept = [artifacts.NamedBlob(path, blobs.keep_bytes([data])) for path, data in content.items()]
    place = artifacts.Place("build", "build", "upload")
    made = artifacts.report_files(run, place, name, kept, by=by)
    runs.finish(run, ExecutionState.SUCCEEDED, by=by)
    return Artifact.objects.select_related("run__pipeline", "run__revision", "bundle").get(
        pk=made.pk
    )


@dataclass(frozen=True)
class Site:
    """A site with a pipeline, a repository and two environments, production after staging."""

    cast: Cast
    pipeline: Pipeline
    repository: Repository
    staging: Environment
    production: Environment

    def publish(self, name: str, package: str = "app", **files: Any) -> Version:
        artifact = make_artifact(self.cast.ada, self.pipeline, **files)
        return publishing.publish(
            self.repository, package, name, artifact, by=self.cast.ada
        ).version

    def request(self, environment: Environment, *versions: Version) -> Promotion:
        return promoting.request(environment, versions, by=self.cast.ada)

    def promote(self, environment: Environment, *versions: Version) -> Promotion:
        """Requested by ada, approved by ben, carried out."""
        promotion = self.request(environment, *versions)
        promoting.approve(promotion, by=self.cast.ben, plan=promotion.plan_digest)
        promoting.execute(promotion.pk)
        promotion.refresh_from_db()
        return promotion

    def placed(self, environment: Environment, package: Package) -> str | None:
        found = (
            Placement.objects.current()
            .filter(environment=environment, package=package)
            .values_list("version__name", flat=True)
        )
        return found.first()


def make_site() -> Site:
    cast = make_cast()
    return Site(
        cast=cast,
        pipeline=make_pipeline(cast.ada),
        repository=publishing.create_repository("apps", by=cast.ada),
        staging=policies.create_environment("staging", rank=1, by=cast.admin),
        production=policies.create_environment(
            "production", rank=2, by=cast.admin, policy={"upstream": "staging"}
        ),
    )
