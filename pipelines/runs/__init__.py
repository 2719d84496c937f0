"""Runs: start, begin, advance, finish, cancel, decide, retry. The only writer of run state.

`starting` makes runs, `advancing` moves them on, `working` is what a worker reports, `deciding`
what people do; `gates` says who may, and `ending` how things end.
"""

from pipelines.runs.advancing import advance, begin
from pipelines.runs.deciding import cancel, finish, may_decide, pass_job, refuse_job, retry
from pipelines.runs.ending import ADVANCE, BEGIN, EXECUTE, FOLLOW, after_success
from pipelines.runs.gates import validators_of
from pipelines.runs.starting import report, start, start_again, start_by_event, start_followers
from pipelines.runs.working import (
    begin_step,
    claim,
    end_job,
    end_step,
    pause_job,
    renew,
    take_over,
)

__all__ = [
    "ADVANCE",
    "BEGIN",
    "EXECUTE",
    "FOLLOW",
    "advance",
    "after_success",
    "begin",
    "begin_step",
    "cancel",
    "claim",
    "end_job",
    "end_step",
    "finish",
    "may_decide",
    "pass_job",
    "pause_job",
    "refuse_job",
    "renew",
    "report",
    "retry",
    "start",
    "start_again",
    "start_by_event",
    "start_followers",
    "take_over",
    "validators_of",
]
