"""Which job waits for which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.flow.order import effective_needs, find_cycles, implied_needs, reachable

from .documents import checked, codes

GRAPHS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.lists(st.sampled_from("abcdefg"), max_size=3).map(tuple),
    max_size=6,
)


@given(GRAPHS)
def test_a_circle_is_found_exactly_where_something_waits_for_itself(
    graph: dict[str, tuple[str, ...]],
) -> None:
    circles = find_cycles(graph)
    known = {node: tuple(n for n in needs if n in graph) for node, needs in graph.items()}
    assert bool(circles) == any(node in reachable(known, node) for node in graph)
    for circle in circles:
        for job, need in zip(circle, (*circle[1:], circle[0]), strict=True):
            assert need in graph[job]


def test_a_chain_as_long_as_a_document_is_no_circle() -> None:
    graph: dict[str, tuple[str, ...]] = {str(n): (str(n + 1),) for n in range(50_000)}
    graph["50000"] = ()
    assert find_cycles(graph) == []
    assert find_cycles(graph | {"50000": ("0",)}) != []


STAGE = """\
stages:
  s:
    jobs:
      a: {steps: {u: {step: ArtifactUpload, with: {filePath: x}}}}
      b: {needs: [a], steps: {u: {step: ArtifactUpload, with: {filePath: x}}}}
      c:
        needs: b
        runsOn: {container: "$[stages.s.a.u.artifacts.default]"}
        steps:
          one: {step: Command, with: {run: "$[jobs.b.u.artifacts.default]"}}
          two: {step: Command, with: {run: "$[jobs.c.one.artifacts.x] $[stages.z.y.x.artifacts.w]"}}
          three: {step: Command, with: {run: "$[jobs.nobody.u.artifacts.default]"}}
        plugins: [{text: "$[jobs.d.u.artifacts.default]"}]
      d: {steps: {u: {step: ArtifactUpload, with: {filePath: x}}}}
"""


def test_references_imply_needs_within_the_stage_only() -> None:
    definition = checked(STAGE).definition
    assert definition is not None
    stage = definition.stages[0]
    job = stage.job("c")
    assert job is not None
    assert implied_needs(stage, job) == ("a", "b", "d")
    assert effective_needs(stage, job) == ("b", "a", "d")


@pytest.mark.parametrize("text", ["$[jobs.b.u.artifacts.default]", "$[stages.s.b.u.artifacts.x]"])
def test_two_jobs_that_refer_to_one_another_are_a_circle(text: str) -> None:
    other = "$[jobs.a.u.artifacts.x]"
    report = checked(
        "stages:\n  s:\n    jobs:\n"
        f"      a: {{steps: {{u: {{step: ArtifactUpload, with: {{artifact: x, filePath: '{text}'"
        "}}}}\n"
        f"      b: {{steps: {{u: {{step: ArtifactUpload, with: {{artifact: x, filePath: '{other}'"
        "}}}}\n"
    )
    (circle,) = [p for p in report.problems if p.code == "needs_cycle"]
    assert (circle.line, circle.column) == (4, 7)
    assert "a → b → a" in circle.message
    assert "later_job" not in codes(report)


def test_every_reference_against_the_written_order_is_told() -> None:
    run = "{run: '$[jobs.z.u.artifacts.x]'}"
    jobs = "".join(
        f"      u{n}: {{steps: {{c: {{step: Command, with: {run}}}}}}}\n" for n in range(5)
    )
    report = checked(
        "stages:\n  s:\n    jobs:\n"
        "      z:\n        needs: [u0, u1, u2, u3, u4]\n"
        "        steps: {u: {step: ArtifactUpload, with: {artifact: x, filePath: y}}}\n" + jobs
    )
    assert [p.line for p in report.problems if p.code == "later_job"] == [7, 8, 9, 10, 11]
    assert "needs_cycle" not in codes(report)


def test_a_job_may_come_before_the_one_it_refers_to() -> None:
    report = checked(
        "stages:\n  s:\n    jobs:\n"
        "      use: {steps: {c: {step: Command, with: {run: '$[jobs.make.u.artifacts.x]'}}}}\n"
        "      make: {steps: {u: {step: ArtifactUpload, with: {artifact: x, filePath: y}}}}\n"
    )
    assert report.problems == ()
