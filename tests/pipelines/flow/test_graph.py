"""The graph of a definition: what is joined to what, and a layout that holds for any document."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.flow.catalog import LANGUAGE
from pipelines.flow.check import check
from pipelines.flow.graph import JOB_LIMIT, SIDE_LIMIT, Edge, Graph, Node, draw

from .documents import ACROSS_PIPELINES, ACROSS_STAGES, SAME_STAGE, builder, checked
from .test_robustness import JOBS, TREES


def graph_of(text: str) -> Graph:
    report = checked(text)
    assert report.definition is not None
    return draw(report.definition, report.references, LANGUAGE)


def named(graph: Graph) -> dict[str, Node]:
    return {node.name: node for node in graph.nodes}


def edge(graph: Graph, start: str, end: str) -> Edge:
    nodes = named(graph)
    ends = (nodes[start].key, nodes[end].key)
    (found,) = [each for each in graph.edges if (each.start, each.end) == ends]
    return found


def chain(count: int, stage: str = "one") -> str:
    jobs = "".join(
        f"      j{n}: {{needs: [{f'j{n - 1}' if n else ''}], "
        "steps: {a: {step: Command, with: {run: x}}}}\n"
        for n in range(count)
    )
    return f"stages:\n  {stage}:\n    jobs:\n{jobs}"


def test_an_artifact_of_the_same_stage_is_an_edge_with_its_name_and_implies_the_need() -> None:
    found = edge(graph_of(SAME_STAGE), "Image", "roll_out")
    assert (found.kind, found.artifacts, found.implied) == ("artifact", ("shop-image",), True)


def test_an_artifact_flows_across_stages_under_the_name_that_its_step_gives_it() -> None:
    found = edge(graph_of(ACROSS_STAGES), "build_job", "deploy_job")
    assert (found.kind, found.artifacts) == ("artifact", ("Artifacts_${PIPELINE_ID}",))
    assert not found.implied, "stages follow one another; nobody needs to say so"


def test_another_pipeline_is_a_node_whose_artifact_flows_in() -> None:
    graph = graph_of(ACROSS_PIPELINES)
    assert named(graph)["builder01"].pipeline == "builder01"
    assert edge(graph, "builder01", "Roll out").artifacts == ("shop-image",)


def test_a_reference_that_leads_nowhere_is_no_artifact_edge() -> None:
    graph = graph_of(ACROSS_STAGES.replace("build_job.upload_step", "build_job.uplod_step"))
    assert [each.kind for each in graph.edges] == ["source"]


def test_a_written_need_is_an_edge_and_a_later_job_stands_further_right() -> None:
    graph = graph_of(chain(3))
    nodes = named(graph)
    assert edge(graph, "j0", "j1").kind == "need"
    assert not edge(graph, "j0", "j1").implied
    assert nodes["j0"].x < nodes["j1"].x < nodes["j2"].x


def test_a_source_leads_to_the_jobs_that_work_on_it_and_to_no_others() -> None:
    graph = graph_of(
        """
        sources: {app: {type: git, endpoint: https://code.example.com/app.git}}
        stages:
          one:
            jobs:
              with_it: {steps: {a: {step: Command, with: {run: x}}}}
              without: {sourceOption: [], steps: {a: {step: Command, with: {run: x}}}}
        """
    )
    (found,) = graph.edges
    assert found == edge(graph, "app", "with_it")
    assert found.kind == "source"


def test_circles_and_jobs_that_wait_for_themselves_are_drawn_all_the_same() -> None:
    graph = graph_of(
        """
        stages:
          one:
            jobs:
              a: {needs: [b], steps: {s: {step: Command, with: {run: x}}}}
              b: {needs: [a, b, nobody], steps: {s: {step: Command, with: {run: x}}}}
        """
    )
    assert len(graph.nodes) == 2
    assert len(graph.edges) == 2


def test_no_two_nodes_overlap() -> None:
    graph = graph_of(ACROSS_STAGES + chain(2, "later").removeprefix("stages:\n"))
    boxes = [(node.x, node.y, node.x + node.width, node.y + node.height) for node in graph.nodes]
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0]
            assert apart or one[3] <= other[1] or other[3] <= one[1]


def test_the_words_say_what_the_drawing_shows() -> None:
    (sources, build, deploy) = graph_of(ACROSS_STAGES).groups
    assert [each.name for each in sources.entries] == ["shop"]
    assert build.entries[0].takes == ("works on shop",)
    assert deploy.entries[0].takes == ("takes Artifacts_${PIPELINE_ID} from build_job",)


def test_sixty_jobs_are_drawn_and_one_more_is_a_list() -> None:
    assert graph_of(chain(JOB_LIMIT)).drawn
    graph = graph_of(chain(JOB_LIMIT + 1))
    assert (graph.drawn, graph.jobs, graph.nodes) == (False, JOB_LIMIT + 1, ())
    (group,) = graph.groups
    assert len(group.entries) + group.more == JOB_LIMIT + 1


def test_too_many_sources_or_stages_are_a_list_too() -> None:
    many = range(SIDE_LIMIT + 1)
    sources = "".join(f"  s{n}: {{type: git, endpoint: https://x.example.com/{n}}}\n" for n in many)
    assert not graph_of(f"sources:\n{sources}{chain(1)}").drawn
    stages = "".join(chain(1, f"s{n}").removeprefix("stages:\n") for n in many)
    assert not graph_of(f"stages:\n{stages}").drawn


def test_long_names_are_cut_to_their_box_and_wide_letters_count_twice() -> None:
    graph = graph_of(
        f"""
        stages:
          one:
            jobs:
              a: {{name: {"x" * 80}, steps: {{s: {{step: Command, with: {{run: x}}}}}}}}
              b: {{name: {"发" * 80}, steps: {{s: {{step: Command, with: {{run: x}}}}}}}}
        """
    )
    latin, chinese = graph.nodes
    assert len(latin.title) == 24
    assert len(chinese.title) == 12
    assert latin.name == "x" * 80


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.fixed_dictionaries(
        {"stages": st.dictionaries(st.sampled_from("abc"), st.fixed_dictionaries({"jobs": JOBS}))},
        optional={"sources": TREES, "variables": TREES},
    )
    | TREES
)
def test_whatever_the_document_the_graph_is_whole_and_the_same_again(document: Any) -> None:
    report = check(json.dumps(document), LANGUAGE, builder, "app")
    if report.definition is None:
        return
    graph = draw(report.definition, report.references, LANGUAGE)
    assert graph == draw(report.definition, report.references, LANGUAGE)
    if not graph.drawn:
        return
    keys = [node.key for node in graph.nodes]
    jobs = sum(len(stage.jobs) for stage in report.definition.stages)
    assert len(set(keys)) == len(keys) == jobs + len(report.definition.sources)
    for each in graph.edges:
        assert {each.start, each.end} <= set(keys)
    for node in graph.nodes:
        assert 0 <= node.x <= graph.width - node.width
        assert 0 <= node.y <= graph.height - node.height
