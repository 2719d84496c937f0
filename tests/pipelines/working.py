"""Write short pipelines, run them in this process, and read what they left."""

import json
from typing import Any

from pipelines import logs, runs
from pipelines.models import Job, Run
from tests.cast import Site, make_pipeline, work_off


def command(script: str) -> dict[str, Any]:
    return {"step": "Command", "with": {"run": script}}


def upload(path: str | list[str], name: str = "app", **more: Any) -> dict[str, Any]:
    return {"step": "ArtifactUpload", "with": {"artifact": name, "filePath": path, **more}}


def job(*steps: dict[str, Any] | str, **fields: Any) -> dict[str, Any]:
    """A job of scripts and other steps, which are called s1, s2 and so on."""
    each = [command(step) if isinstance(step, str) else step for step in steps]
    return {**fields, "steps": {f"s{number}": step for number, step in enumerate(each, 1)}}


def yaml(*stages: dict[str, Any], **top: Any) -> str:
    """A definition whose stages are called stage1, stage2 and so on. JSON is YAML."""
    named = {f"stage{number}": {"jobs": jobs} for number, jobs in enumerate(stages, 1)}
    return json.dumps({**top, "stages": named})


def started(site: Site, definition: str, slug: str = "work", **options: Any) -> Run:
    return runs.start(make_pipeline(site.cast.ada, slug, definition), by=site.cast.ada, **options)


def worked(site: Site, definition: str, slug: str = "work", **options: Any) -> Run:
    return work_off(started(site, definition, slug, **options))


def one_job(site: Site, *steps: dict[str, Any] | str, **options: Any) -> Run:
    """A run of one job, done."""
    return worked(site, yaml({"only": job(*steps)}), **options)


def job_of(run: Run, key: str = "only") -> Job:
    return run.jobs.get(key=key)


def log_of(run: Run, key: str = "only") -> str:
    return "".join(logs.read(job_of(run, key)))


def said(run: Run, key: str = "only") -> list[str]:
    """The lines of a job's log that its programs wrote."""
    return [line for line in log_of(run, key).splitlines() if not line.startswith("[sluice] ")]


def states(run: Run) -> dict[str, str]:
    return {each.key: str(each.state) for each in run.jobs.all()}


def steps(run: Run, key: str = "only") -> list[str]:
    return [str(step.state) for step in job_of(run, key).steps.all()]
