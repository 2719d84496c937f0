"""Pipelines that pushes start, and deliveries to their hooks."""

import time
from dataclasses import dataclass

from pipelines import hooks
from pipelines.hooks import Received
from pipelines.models import Pipeline, PushHook, Run
from tests.cast import Site, make_pipeline
from tests.pipelines.pushes.deliveries import Delivery, signed, signed_by_gitee

HOOKED = """
sources:
  repo:
    type: github
    endpoint: https://github.com/shop/app.git
    branch: main
    triggerEvents: [push, tagPush, mergeRequestMerged, mergeRequestOpenedOrUpdate]
    pathFilter: ["src/", "!*.md"]
  quiet: {type: git, endpoint: https://git.example.com/shop/quiet.git}
  upstream: {type: flowPipeline, flowPipeline: app, triggerEvents: buildSuccess}
defaultWorkspace: repo
stages:
  build_stage:
    jobs:
      build_job:
        steps:
          build_step: {step: Command, with: {run: make}}
"""


@dataclass
class Hooked:
    """A pipeline with a hook for its source `repo`, and who has its secret."""

    pipeline: Pipeline
    hook: PushHook
    secret: str

    def deliver(self, delivery: Delivery, *, secret: str | None = None) -> Received:
        """As the server would, with a signature of now."""
        whole = signed(delivery, self.secret if secret is None else secret)
        return hooks.receive(self.pipeline.slug, "repo", whole.headers, whole.body)

    def signed_by_time(self, delivery: Delivery, *, ago: float = 0) -> Delivery:
        stamp = str(int((time.time() - ago) * 1000))
        return signed_by_gitee(delivery, stamp, self.secret)

    @property
    def runs(self) -> list[Run]:
        return list(Run.objects.filter(pipeline=self.pipeline).order_by("number"))

    @property
    def last(self) -> PushHook:
        return PushHook.objects.select_related("last_run").get(pk=self.hook.pk)


def make_hooked(site: Site, yaml: str = HOOKED) -> Hooked:
    """Its upstream has a success to take, so that its runs start."""
    site.publish("1.0.0")
    pipeline = make_pipeline(site.cast.ada, "hooked", yaml)
    return Hooked(pipeline, *hooks.make(pipeline, "repo", by=site.cast.ada))
