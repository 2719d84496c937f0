"""Calls on runs and their jobs."""

import functools
import json
from collections.abc import Iterator

from django.db.models import QuerySet
from django.http import Http404, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines import following, logs, runners, runs
from pipelines.api.base import ApiView, NoBody, StrictSerializer, idempotent, page, query, read
from pipelines.api.pipelines import as_number, find_pipeline
from pipelines.api.schema import (
    IDEMPOTENCY,
    operation,
    page_of,
    shape,
)
from pipelines.api.shapes import RunAnswer, run_answer
from pipelines.errors import Invalid, UnknownField
from pipelines.models import ExecutionState, Job, Run
from pipelines.tails import Place, RawLine

TAG = "Runs"


class StartBody(StrictSerializer):
    variables = serializers.DictField(child=serializers.CharField(allow_blank=True), default=dict)
    sources = serializers.DictField(child=serializers.DictField(), default=dict)
    comment = serializers.CharField(max_length=500, default="", allow_blank=True)
    external = serializers.BooleanField(default=False)
    url = serializers.CharField(max_length=200, default="", allow_blank=True)
    commit = serializers.CharField(max_length=64, default="", allow_blank=True)


class FinishBody(StrictSerializer):
    status = serializers.ChoiceField(
        [ExecutionState.SUCCEEDED, ExecutionState.FAILED, ExecutionState.CANCELLED]
    )


class GateBody(StrictSerializer):
    """May be left out altogether."""

    comment = serializers.CharField(max_length=500, default="", allow_blank=True)


def whole_runs() -> QuerySet[Run]:
    return (
        Run.objects.with_names()
        .select_related("again_of")
        .prefetch_related("jobs__steps", "jobs__decisions__by")
    )


def find_run(pipeline: str, number: str) -> Run:
    found = whole_runs().filter(pipeline__slug=pipeline, number=as_number(number, "a run")).first()
    if found is None:
        raise Http404
    return found


def find_job(pipeline: str, number: str, stage: str, job: str) -> Job:
    return get_object_or_404(
        Job.objects.select_related("run__pipeline"),
        run__pipeline__slug=pipeline,
        run__number=as_number(number, "a run"),
        stage=stage,
        key=job,
    )


class RunsView(ApiView):
    @operation(
        "List the runs of a pipeline",
        {200: page_of(RunAnswer)},
        refusals=(404, 422),
        query={"status": "Only runs in this state."},
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request, pipeline: str) -> Response:
        wanted = query(request, "status")
        rows = whole_runs().filter(pipeline=find_pipeline(pipeline))
        if status := wanted.get("status"):
            if status not in ExecutionState.values:
                raise Invalid(f"status is one of: {', '.join(ExecutionState.values)}.")
            rows = rows.filter(state=status)
        # Each group is looked for once, however many jobs of the page wait for it.
        why_nobody = functools.cache(runners.why_nobody)
        return page(self, request, rows, lambda run: run_answer(run, why_nobody))

    @operation(
        "Start a run, or report one that another CI system executes",
        {201: shape(RunAnswer)},
        refusals=(404, 409, 410, 415, 422),
        body=StartBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, pipeline: str) -> Response:
        body = read(StartBody, request)
        found = find_pipeline(pipeline)
        if body["external"]:
            for field in ("variables", "sources"):
                if body[field]:
                    raise UnknownField(f"An external run takes no {field}: its CI system has them.")
            run = runs.report(
                found,
                by=caller(request),
                url=body["url"],
                commit=body["commit"],
                comment=body["comment"],
            )
        else:
            for field in ("url", "commit"):
                if body[field]:
                    raise UnknownField(f'Only a run with "external": true takes {field}.')
            run = runs.start(
                found,
                by=caller(request),
                variables=body["variables"],
                asked=body["sources"],
                comment=body["comment"],
            )
        return Response(run_answer(find_run(pipeline, str(run.number))), status=201)


class RunView(ApiView):
    @operation("One run", {200: shape(RunAnswer)}, refusals=(404,), tag=TAG)
    def get(self, request: Request, pipeline: str, number: str) -> Response:
        query(request, is_list=False)
        return Response(run_answer(find_run(pipeline, number)))


class CancelView(ApiView):
    @operation("Cancel a run", {202: shape(RunAnswer)}, refusals=(404, 409, 413, 415), tag=TAG)
    def post(self, request: Request, pipeline: str, number: str) -> Response:
        read(NoBody, request)
        runs.cancel(find_run(pipeline, number), by=caller(request))
        return Response(run_answer(find_run(pipeline, number)), status=202)


class RetryView(ApiView):
    @operation(
        "Have what did not succeed begun anew, on the same inputs",
        {202: shape(RunAnswer)},
        refusals=(404, 409, 413, 415),
        tag=TAG,
    )
    def post(self, request: Request, pipeline: str, number: str) -> Response:
        read(NoBody, request)
        runs.retry(find_run(pipeline, number), by=caller(request))
        return Response(run_answer(find_run(pipeline, number)), status=202)


class AgainView(ApiView):
    @operation(
        "Start a new run of the same revision on the same inputs",
        {201: shape(RunAnswer)},
        refusals=(404, 409, 413, 415, 422),
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, pipeline: str, number: str) -> Response:
        read(NoBody, request)
        again = runs.start_again(find_run(pipeline, number), by=caller(request))
        return Response(run_answer(find_run(pipeline, str(again.number))), status=201)


class FinishView(ApiView):
    @operation(
        "End a run that another CI system executed",
        {200: shape(RunAnswer)},
        refusals=(404, 409, 415, 422),
        body=FinishBody,
        tag=TAG,
    )
    def post(self, request: Request, pipeline: str, number: str) -> Response:
        status = ExecutionState(read(FinishBody, request)["status"])
        runs.finish(find_run(pipeline, number), status, by=caller(request))
        return Response(run_answer(find_run(pipeline, number)))


class GateView(ApiView):
    """A manual gate. `passes` says on which side of it the address lies."""

    passes = True

    @operation(
        "Decide on a job that waits at a manual gate",
        {200: shape(RunAnswer)},
        refusals=(404, 409, 415, 422),
        body=GateBody,
        tag=TAG,
    )
    def post(self, request: Request, pipeline: str, number: str, stage: str, job: str) -> Response:
        comment = read(GateBody, request)["comment"]
        decide = runs.pass_job if self.passes else runs.refuse_job
        decide(find_job(pipeline, number, stage, job), by=caller(request), comment=comment)
        return Response(run_answer(find_run(pipeline, number)))


class LogView(ApiView):
    @operation(
        "The log of a job as text, or followed live as server-sent events",
        {(200, "text/plain"): str, (200, "text/event-stream"): str},
        refusals=(404, 503),
        query={
            "follow": "1: events until the job has ended. The data of an event without a name are "
            "lines of the log, its id is the place behind them; `state` tells of the job's state, "
            "`end` that it has ended: JSON with its `status`. A stream ends after five minutes "
            "at the latest: come back with the last id.",
            "after": "The place behind which to begin to follow: the id of an event.",
        },
        headers={"Last-Event-ID": "Like `after`, and above it: what a client sends by itself."},
        tag=TAG,
    )
    def get(
        self, request: Request, pipeline: str, number: str, stage: str, job: str
    ) -> HttpResponseBase:
        wanted = query(request, "follow", "after", is_list=False)
        follow = wanted.get("follow", "0")
        if follow not in {"0", "1"}:
            raise Invalid("follow is 1 or 0.")
        if "after" in wanted and follow == "0":
            raise Invalid("after goes with follow=1.")
        found = find_job(pipeline, number, stage, job)
        if follow == "1":
            after = request.headers.get("Last-Event-ID") or wanted.get("after", "")
            return following.answer(found, _place(after), RawTeller())
        response = StreamingHttpResponse(
            _encoded(logs.read(found)), content_type="text/plain; charset=utf-8"
        )
        response["X-Content-Type-Options"] = "nosniff"
        return response


def _place(text: str) -> Place:
    place = Place.read(text)
    if text and not place.attempt:
        raise Invalid("The place is not one of ours: send the id of an event as it is.")
    return place


class RawTeller:
    """Lines as they were written. Of a line that was redrawn, what stood last."""

    def lines(self, job: Job, found: list[RawLine], after: Place) -> tuple[str, Place]:
        shown = [line.text.rstrip("\r").rpartition("\r")[2] for line in found]
        return "\n".join(shown), after.after(found[-1])

    def state(self, job: Job) -> str:
        return json.dumps({"status": job.state, "attempt": job.attempt})


def _encoded(pieces: Iterator[str]) -> Iterator[bytes]:
    return (piece.encode("utf-8", "replace") for piece in pieces)
