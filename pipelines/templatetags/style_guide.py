"""Examples for the style guide: one value for each shape that the components take.

The page shows every component in every state, so that a change of style is seen
in one place. The examples live here because no page of the product needs them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from types import SimpleNamespace
from typing import Any

from django import forms, template

from pipelines.flow.catalog import LANGUAGE
from pipelines.flow.check import check
from pipelines.flow.graph import Graph, draw
from pipelines.flow.manual import EXAMPLE

register = template.Library()


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


class ExampleForm(forms.Form):
    version = forms.CharField(help_text="Never used again, not even after a recall.")
    notes = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), required=False)
    environment = forms.ChoiceField(choices=[("staging", "staging"), ("production", "production")])
    decision = forms.ChoiceField(
        choices=[("approve", "Approve"), ("reject", "Reject")], widget=forms.RadioSelect
    )
    file = forms.FileField(required=False)
    notify = forms.BooleanField(
        label="Tell the requester", required=False, help_text="By the webhook of the project."
    )


def _log() -> str:
    lines = [
        "$ python -m pip install --requirement requirements.txt",
        "Successfully installed shop-api-1.1.0",
        "$ python -m pytest -q",
        "\x1b[32m........................................................\x1b[0m [100%]",
        "56 passed in 2.31s",
        "",
        "$ sha256sum dist/shop-api-1.1.0.tar.gz   <script>alert('still text')</script>",
        f"{_digest('shop-api 1.1.0').removeprefix('sha256:')}  dist/shop-api-1.1.0.tar.gz",
    ]
    return "\n".join(lines)


DEFINITION = """\
sources:
  app:
    type: git
    endpoint: https://git.example/shop-api.git
stages:
  build:
    jobs:
      package:
        steps:
          archive:
            step: ArtifactUpload
            with:
              uploadType: flowPublic
"""


def _graph() -> Graph | None:
    report = check(EXAMPLE, LANGUAGE)
    return draw(report.definition, report.references, LANGUAGE) if report.definition else None


@register.simple_tag
def style_guide_samples() -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC)

    def ago(**distance: float) -> dt.datetime:
        return now - dt.timedelta(**distance)

    def job(name: str, state: str, duration: float | None = None, current: bool = False) -> Any:
        return SimpleNamespace(
            name=name, state=state, duration=duration, url="#graph", current=current
        )

    return {
        "now": now,
        "times": [ago(seconds=5), ago(minutes=7), ago(hours=3), ago(days=2), ago(days=200)],
        "soon": ago(hours=-4),
        "digest": _digest("shop-api 1.1.0"),
        "sizes": [512, 1_468_006, 268_435_456],
        "seconds": [0.34, 4.2, 92, 7500],
        "problems": [
            {
                "line": 9,
                "column": 15,
                "path": "stages.build.jobs.package.steps.archive.step",
                "code": "unknown_step",
                "severity": "error",
                "message": "There is no step `ArtefactUpload`; did you mean `ArtifactUpload`?",
            },
            {
                "line": 4,
                "column": 5,
                "path": "sources.app",
                "code": "unknown_key",
                "severity": "warning",
                "message": "The language has no key `endpont` here; it is ignored.",
            },
            {
                "line": 12,
                "column": 15,
                "path": "",
                "code": "unused_artifact",
                "severity": "hint",
                "message": "Nothing in this pipeline refers to the artifact `archive`.",
            },
        ],
        "gates": [
            {
                "name": "Tests passed",
                "open": True,
                "reason": "A verified test result says that 56 of 56 tests passed.",
                "inputs": {"evidence": _digest("tests"), "signed by": "build key 2"},
            },
            {
                "name": "Two approvals",
                "open": False,
                "reason": "1 of 2: ben has approved; the requester, ada, does not count.",
            },
        ],
        "stages": [
            {
                "name": "Build",
                "state": "succeeded",
                "jobs": [job("Compile", "succeeded", 42.1), job("Package", "succeeded", 8.4)],
            },
            {
                "name": "Test",
                "state": "running",
                "jobs": [
                    job("Unit tests", "succeeded", 92),
                    job("Browser tests", "running", 31, current=True),
                    job("Licences", "failed", 3.2),
                    job("Scan", "errored", 12),
                ],
            },
            {
                "name": "Release",
                "state": "queued",
                "jobs": [
                    job("Release manager agrees", "waiting"),
                    job("Upload", "queued"),
                    job("Announce", "skipped"),
                    job("Mirror", "cancelled"),
                ],
            },
        ],
        "log": _log(),
        "definition": DEFINITION,
        "graph": _graph(),
        "changes": [
            {
                "package": "shop-api",
                "repository": "releases",
                "kind": "upgrade",
                "before": "1.0.0",
                "after": "1.1.0",
                "before_digest": _digest("shop-api 1.0.0"),
                "after_digest": _digest("shop-api 1.1.0"),
                "before_url": "#changes",
                "after_url": "#changes",
            },
            {
                "package": "shop-web",
                "repository": "releases",
                "kind": "rollback",
                "before": "2.4.0",
                "after": "2.3.7",
                "before_digest": _digest("shop-web 2.4.0"),
                "after_digest": _digest("shop-web 2.3.7"),
            },
            {
                "package": "mailer",
                "repository": "images",
                "kind": "new",
                "before": None,
                "after": "0.9.0",
                "after_digest": _digest("mailer 0.9.0"),
            },
            {
                "package": "search",
                "repository": "images",
                "kind": "unchanged",
                "before": "5.0.2",
                "after": "5.0.2",
            },
        ],
        "environments": ["dev", "staging", "production"],
        "board": [
            {
                "package": "shop-api",
                "repository": "releases",
                "cells": [
                    {"version": "1.2.0-rc.1", "since": ago(minutes=12)},
                    {"version": "1.1.0", "since": ago(hours=5)},
                    {
                        "version": "1.0.0",
                        "since": ago(days=9),
                        "behind": True,
                        "pending": "1.1.0",
                        "pending_state": "requested",
                    },
                ],
            },
            {
                "package": "shop-web",
                "repository": "releases",
                "cells": [
                    {"version": "2.4.0", "since": ago(days=1), "state": "recalled"},
                    {"version": "2.3.7", "since": ago(days=3)},
                    {"version": "2.3.7", "since": ago(days=2)},
                ],
            },
            {
                "package": "mailer",
                "repository": "images",
                "cells": [
                    {"version": "0.9.0", "since": ago(minutes=2)},
                    {"version": None, "pending": "0.9.0", "pending_state": "executing"},
                    {"version": None},
                ],
            },
        ],
        "timeline": [
            {"state": "requested", "title": "Requested", "who": "ada", "at": ago(hours=3)},
            {
                "state": "approved",
                "title": "Approved",
                "who": "ben",
                "at": ago(hours=2),
                "note": "Read the test report.\nThe one slow test is known.",
                "digest": _digest("plan"),
            },
            {"state": "executing", "title": "Execution began", "at": ago(minutes=90)},
            {"state": "completed", "title": "Placed in production", "at": ago(minutes=89)},
        ],
        "tabs": [
            {"url": "#navigation", "label": "Overview", "current": True},
            {"url": "#navigation", "label": "Artifacts", "count": 3},
            {"url": "#navigation", "label": "Definition"},
            {"url": "#navigation", "label": "Evidence", "count": 0},
        ],
        "form": ExampleForm(prefix="empty"),
        "refused_form": ExampleForm({"wrong-version": ""}, prefix="wrong"),
    }
