"""Every way in which a definition can be wrong: its code, its place and its remedy."""

from textwrap import dedent

import pytest

from pipelines.flow import nodes, reader
from pipelines.flow.catalog import LANGUAGE
from pipelines.flow.check import check
from pipelines.flow.problems import CODES, PROBLEM_LIMIT, Problem, Problems, nearest
from pipelines.flow.text import SIZE_LIMIT

from .documents import builder

# A job that makes an artifact, and room for more beside it.
BUILD = """\
stages:
  build:
    jobs:
      make:
        steps:
          compile: {step: Command, with: {run: make}}
          upload: {step: ArtifactUpload, with: {artifact: app, filePath: out}}
"""
USE = (
    BUILD
    + """\
      use:
        steps:
          show:
            step: KubectlApply
            with:
              kubernetesCluster: c
              yamlPath: %s
"""
)


def use(value: str) -> str:
    return USE % value


def with_job(lines: str) -> str:
    return BUILD + "      other:\n" + "".join(f"        {line}\n" for line in lines.split("\n"))


def with_source(source: str) -> str:
    return f"sources:\n  src: {source}\n" + BUILD


COMMAND = "steps: {c: {step: Command, with: {run: make}}}"

# code, text, line, column, path, part of the message
CASES = [
    # The text
    ("not_utf8", b"name: caf\xe9\n", 1, 10, "", "save the file as UTF-8"),
    ("bad_character", "name: x\nother: \x07\n", 2, 8, "", "U+0007"),
    ("bad_character", "name: a\u2028b\n", 1, 8, "", "U+2028"),
    ("byte_order_mark", "\ufeff" + BUILD, 1, 1, "", "without one"),
    ("tab", "stages:\n\ta: 1\n", 2, 1, "", "spaces only"),
    ("yaml_syntax", "name: a: b\n", 1, 8, "", "quote text"),
    ("yaml_syntax", "name: 'a\nstages: x\n", 3, 1, "", "never closed"),
    ("yaml_syntax", "stages: [a, b\nname: c\n", 2, 5, "", "`[` list"),
    ("yaml_syntax", "a:\n  b: 1\n c: 2\n", 3, 2, "", "indentation"),
    ("multiple_documents", BUILD + "---\nname: x\n", 8, 1, "", "keep one"),
    ("empty_document", "", 1, 1, "", "`stages`"),
    ("empty_document", "# only a comment\n", 1, 1, "", "`stages`"),
    ("empty_document", "---\n", 1, 1, "", "`stages`"),
    ("tag", BUILD + "name: !!python/object x\n", 8, 7, "name", "remove it"),
    ("duplicate_key", BUILD + "      make: 1\n", 8, 7, "stages.build.jobs.make", "line 4"),
    ("bad_key", "? [a, b]\n: c\n" + BUILD, 1, 3, "", "plain word"),
    ("bad_key", "~: c\n" + BUILD, 1, 1, "", "plain word"),
    ("unknown_alias", "a: &one 1\nb: *onee\n", 2, 4, "b", "did you mean `one`?"),
    ("recursive_alias", "a: &x [1, *x]\n", 1, 11, "a[1]", "inside the value"),
    # The shape
    ("wrong_type", "- a\n- b\n", 1, 1, "", "a list"),
    ("wrong_type", "stages: 3\n", 1, 9, "stages", "`stages` must be a mapping"),
    ("wrong_type", "stages: {a: b}\n", 1, 13, "stages.a", "describes the stage"),
    ("wrong_type", "variables: x\n" + BUILD, 1, 12, "variables", "list"),
    ("wrong_type", "variables: [x]\n" + BUILD, 1, 13, "variables[0]", "mapping"),
    ("wrong_type", "name: [a]\n" + BUILD, 1, 7, "name", "text"),
    ("wrong_type", "a: {<<: 1}\n" + BUILD, 1, 5, "a.<<", "alias of a mapping"),
    (
        "wrong_type",
        with_job("runsOn: [a]\n" + COMMAND),
        9,
        17,
        "stages.build.jobs.other.runsOn",
        "mapping",
    ),
    (
        "wrong_type",
        with_job("runsOn: {vm: maybe}\n" + COMMAND),
        9,
        22,
        "stages.build.jobs.other.runsOn.vm",
        "true or false",
    ),
    (
        "wrong_type",
        with_job("needs: {a: b}\n" + COMMAND),
        9,
        16,
        "stages.build.jobs.other.needs",
        "list",
    ),
    (
        "wrong_type",
        with_job("timeoutMinutes: soon\n" + COMMAND),
        9,
        25,
        "stages.build.jobs.other.timeoutMinutes",
        "minutes",
    ),
    ("missing_key", "name: x\n", 1, 1, "", "needs `stages`"),
    ("missing_key", "stages:\n  a: {name: x}\n", 2, 3, "stages.a", "needs `jobs`"),
    ("missing_key", "stages: {}\n", 1, 1, "stages", "is empty"),
    ("missing_key", with_job("name: x"), 8, 7, "stages.build.jobs.other", "nothing to do"),
    ("missing_key", with_source("{endpoint: x}"), 2, 3, "sources.src", "needs a `type`"),
    (
        "missing_key",
        with_job("steps: {c: {name: x}}"),
        9,
        17,
        "stages.build.jobs.other.steps.c",
        "needs `step`",
    ),
    ("unknown_key", "nmae: x\n" + BUILD, 1, 1, "nmae", "did you mean `name`?"),
    (
        "unknown_key",
        with_job("need: [make]\n" + COMMAND),
        9,
        9,
        "stages.build.jobs.other.need",
        "did you mean `needs`?",
    ),
    (
        "conflicting_keys",
        with_job("component: ManualValidate\nwith: {validatorUsers: [a]}\n" + COMMAND),
        9,
        9,
        "stages.build.jobs.other.component",
        "two jobs",
    ),
    (
        "conflicting_keys",
        with_job(COMMAND + "\nwith: {run: x}"),
        10,
        9,
        "stages.build.jobs.other.with",
        "move it into the step",
    ),
    ("bad_id", "stages:\n  1st:\n    jobs: {}\n", 2, 3, "stages.1st", "begin with a letter"),
    (
        "bad_id",
        BUILD + f"      {'j' * 31}:\n        {COMMAND}\n",
        8,
        7,
        f"stages.build.jobs.{'j' * 31}",
        "30 characters",
    ),
    (
        "bad_choice",
        with_job("driven: manuel\n" + COMMAND),
        9,
        17,
        "stages.build.jobs.other.driven",
        "did you mean `manual`?",
    ),
    (
        "bad_choice",
        "variables: [{key: A, value: b, type: string}]\n" + BUILD,
        1,
        38,
        "variables[0].type",
        "did you mean `String`?",
    ),
    (
        "out_of_range",
        with_job("timeoutMinutes: 0\n" + COMMAND),
        9,
        25,
        "stages.build.jobs.other.timeoutMinutes",
        "between 1",
    ),
    # Sources and variables
    (
        "unknown_source_type",
        with_source("{type: gitt, endpoint: x}"),
        2,
        15,
        "sources.src.type",
        "did you mean `git`?",
    ),
    (
        "unknown_source",
        "defaultWorkspace: scr\n" + with_source("{type: git, endpoint: x}"),
        1,
        19,
        "defaultWorkspace",
        "did you mean `src`?",
    ),
    (
        "unknown_source",
        with_job("sourceOption: [nowhere]\n" + COMMAND),
        9,
        24,
        "stages.build.jobs.other.sourceOption[0]",
        "no source `nowhere`",
    ),
    (
        "unknown_source",
        with_job("steps: {c: {step: Command, workspace: w, with: {run: x}}}"),
        9,
        47,
        "stages.build.jobs.other.steps.c.workspace",
        "no source `w`",
    ),
    (
        "unknown_pipeline",
        with_source("{type: flowPipeline, flowPipeline: gone}"),
        2,
        43,
        "sources.src.flowPipeline",
        "no pipeline `gone`",
    ),
    (
        "missing_default_workspace",
        "sources:\n  a: {type: git, endpoint: x}\n  b: {type: git, endpoint: y}\n" + BUILD,
        3,
        3,
        "sources.b",
        "`defaultWorkspace: a`",
    ),
    ("bad_variable", "variables: [{key: a b}]\n" + BUILD, 1, 19, "variables[0]", "`key`"),
    ("bad_variable", "variables: [{value: b}]\n" + BUILD, 1, 13, "variables[0]", "`key`"),
    (
        "duplicate_variable",
        "variables:\n- {key: A, value: 1}\n- {key: A, value: 2}\n" + BUILD,
        3,
        9,
        "variables[1].key",
        "line 2",
    ),
    (
        "reserved_variable",
        "variables: [{key: BUILD_NUMBER, value: 1}]\n" + BUILD,
        1,
        19,
        "variables[0].key",
        "built in",
    ),
    (
        "unknown_variable",
        use("a/${BULID_NUMBER}"),
        14,
        27,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "did you mean `BUILD_NUMBER`?",
    ),
    (
        "bad_pattern",
        with_source('{type: git, endpoint: x, branchesFilter: "(a"}'),
        2,
        49,
        "sources.src.branchesFilter",
        "regular expression",
    ),
    # Steps and components
    (
        "unknown_step",
        with_job("steps: {c: {step: Comand}}"),
        9,
        27,
        "stages.build.jobs.other.steps.c.step",
        "did you mean `Command`?",
    ),
    (
        "unknown_step",
        with_job("steps: {c: {step: VMDeploy}}"),
        9,
        27,
        "stages.build.jobs.other.steps.c.step",
        "is a component",
    ),
    (
        "unknown_component",
        with_job("component: VmDeploy"),
        9,
        20,
        "stages.build.jobs.other.component",
        "did you mean `VMDeploy`?",
    ),
    (
        "unknown_component",
        with_job("component: Command"),
        9,
        20,
        "stages.build.jobs.other.component",
        "is a step",
    ),
    (
        "missing_field",
        with_job("steps: {c: {step: Command}}"),
        9,
        17,
        "stages.build.jobs.other.steps.c.with.run",
        "needs the field `run`",
    ),
    (
        "missing_field",
        with_source("{type: git}"),
        2,
        3,
        "sources.src.endpoint",
        "needs the field `endpoint`",
    ),
    (
        "unknown_field",
        with_job("steps: {c: {step: Command, with: {run: x, rnu: y}}}"),
        9,
        51,
        "stages.build.jobs.other.steps.c.with.rnu",
        "did you mean `run`?",
    ),
    (
        "wrong_field_type",
        with_job("steps: {c: {step: Command, with: {run: [x]}}}"),
        9,
        43,
        "stages.build.jobs.other.steps.c.with.run",
        "must be text",
    ),
    (
        "wrong_field_type",
        with_job("component: ManualValidate\nwith: {validatorUsers: {a: b}}"),
        10,
        16,
        "stages.build.jobs.other.with.validatorUsers",
        "list of texts",
    ),
    (
        "wrong_field_type",
        with_job(
            "steps: {c: {step: KubectlSetImage, with: {artifact: app, workload: w, container: c}}}"
        ),
        9,
        61,
        "stages.build.jobs.other.steps.c.with.artifact",
        "a reference to an artifact",
    ),
    (
        "bad_choice",
        with_source("{type: git, endpoint: x, triggerEvents: [push, tagpush]}"),
        2,
        55,
        "sources.src.triggerEvents[1]",
        "did you mean `tagPush`?",
    ),
    (
        "artifact_name",
        with_job("steps: {c: {step: ArtifactUpload, with: {artifact: a b, filePath: x}}}"),
        9,
        60,
        "stages.build.jobs.other.steps.c.with.artifact",
        "`default`",
    ),
    (
        "unused_artifact",
        BUILD,
        7,
        11,
        "stages.build.jobs.make.steps.upload",
        "the artifact `app`",
    ),
    # Order
    (
        "unknown_need",
        with_job("needs: [mak]\n" + COMMAND),
        9,
        17,
        "stages.build.jobs.other.needs[0]",
        "did you mean `make`?",
    ),
    (
        "unknown_need",
        BUILD + "  later:\n    jobs:\n      x:\n        needs: make\n        " + COMMAND + "\n",
        11,
        16,
        "stages.later.jobs.x.needs",
        "it is in stage `build`",
    ),
    (
        "needs_cycle",
        with_job("needs: [other]\n" + COMMAND),
        9,
        9,
        "stages.build.jobs.other.needs",
        "other → other",
    ),
    (
        "bad_condition",
        with_job("condition: always() && a = b\n" + COMMAND),
        9,
        34,
        "stages.build.jobs.other.condition",
        "compare with `==`",
    ),
    (
        "condition_order",
        with_job("condition: failed(make)\n" + COMMAND),
        9,
        27,
        "stages.build.jobs.other.condition",
        "add it to `needs`",
    ),
    (
        "condition_order",
        with_job("condition: failed(other)\n" + COMMAND),
        9,
        27,
        "stages.build.jobs.other.condition",
        "itself",
    ),
    (
        "unknown_job",
        with_job("condition: '! failed(mkae)'\n" + COMMAND),
        9,
        30,
        "stages.build.jobs.other.condition",
        "did you mean `make`?",
    ),
    # References
    (
        "bad_reference",
        use("x $[job.make.upload.artifacts.app]"),
        14,
        27,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "did you mean `jobs`?",
    ),
    (
        "reference_out_of_place",
        "variables: [{key: A, value: '$[jobs.make.upload.artifacts.app]'}]\n" + BUILD,
        1,
        30,
        "variables[0].value",
        "`with`",
    ),
    (
        "reference_out_of_place",
        with_source("{type: git, endpoint: '$[sources.src]'}"),
        2,
        31,
        "sources.src.endpoint",
        "`with`",
    ),
    (
        "dynamic_reference",
        use("$[jobs.${WHICH}.upload.artifacts.app]"),
        14,
        25,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "only a run knows",
    ),
    (
        "unknown_stage",
        use("$[stages.biuld.make.upload.artifacts.app]"),
        14,
        25,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "did you mean `build`?",
    ),
    (
        "unknown_job",
        use("$[jobs.mkae.upload.artifacts.app]"),
        14,
        25,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "did you mean `make`?",
    ),
    (
        "unknown_step_id",
        use("$[jobs.make.uplaod.artifacts.app]"),
        14,
        25,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "did you mean `upload`?",
    ),
    (
        "unknown_artifact",
        use("$[jobs.make.upload.artifacts.ap]"),
        14,
        25,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "it makes `app`",
    ),
    (
        "makes_no_artifact",
        use("$[jobs.make.compile.artifacts.app]"),
        14,
        25,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "`Command`",
    ),
    (
        "later_stage",
        use("$[stages.z.j.s.artifacts.a]") + "  z:\n    jobs: {j: {" + COMMAND + "}}\n",
        14,
        25,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "runs after",
    ),
    (
        "later_job",
        BUILD.replace("      make:\n", "      make:\n        needs: use\n")
        + use("$[jobs.make.upload.artifacts.app]").removeprefix(BUILD),
        15,
        25,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "waits for this one",
    ),
    (
        "later_step",
        BUILD.replace("run: make", "run: '$[jobs.make.upload.artifacts.app]'"),
        6,
        49,
        "stages.build.jobs.make.steps.compile.with.run",
        "move it up",
    ),
    (
        "unknown_source",
        with_source("{type: git, endpoint: x}") + use("$[sources.scr]").removeprefix(BUILD),
        16,
        25,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "did you mean `src`?",
    ),
    (
        "wrong_source_type",
        with_source("{type: git, endpoint: x}")
        + use("$[sources.src.downloadUrl]").removeprefix(BUILD),
        16,
        25,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "holds code",
    ),
    (
        "wrong_source_type",
        with_source("{type: git, endpoint: x}")
        + use("$[sources.src.stages.a.b.c.artifacts.d]").removeprefix(BUILD),
        16,
        25,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "`flowPipeline`",
    ),
    (
        "wrong_source_type",
        with_source("{type: flowPipeline, flowPipeline: builder01}")
        + use("$[sources.src]").removeprefix(BUILD),
        16,
        25,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "$[sources.src.stages.<stage>",
    ),
    (
        "wrong_property",
        use("$[jobs.make.upload.artifacts.app.dockerUrl]"),
        14,
        25,
        "stages.build.jobs.use.steps.show.with.yamlPath",
        "`downloadUrl`",
    ),
]


@pytest.mark.parametrize(
    ("code", "text", "line", "column", "path", "part"),
    CASES,
    ids=[f"{case[0]}_{number}" for number, case in enumerate(CASES)],
)
def test_a_fault_is_told_with_its_code_its_place_and_a_remedy(
    code: str, text: str | bytes, line: int, column: int, path: str, part: str
) -> None:
    found = [p for p in check(text, LANGUAGE, builder).problems if p.code == code]
    assert [(p.line, p.column, p.path) for p in found] == [(line, column, path)]
    assert part in found[0].message


LIMITS = {
    "too_large",
    "too_deep",
    "too_many_values",
    "too_many_jobs",
    "alias_limit",
    "too_many_problems",
    "not_available",
}


def test_every_code_has_a_case() -> None:
    assert {case[0] for case in CASES} | LIMITS == set(CODES)


def only(code: str, text: str | bytes) -> Problem:
    (found,) = [p for p in check(text, LANGUAGE).problems if p.code == code]
    return found


def test_a_document_past_the_size_limit_is_refused_where_it_passes_it() -> None:
    line = "# " + "x" * 97 + "\n"
    text = line * (SIZE_LIMIT // 100 + 1)
    found = only("too_large", text)
    assert (found.line, found.column) == (SIZE_LIMIT // 100 + 1, SIZE_LIMIT % 100 + 1)
    assert only("too_large", text.encode()) == found


def test_a_document_nested_too_deeply_is_refused_where_it_passes_the_limit() -> None:
    found = only("too_deep", "[" * 100_000)
    assert (found.line, found.column) == (1, nodes.DEPTH_LIMIT + 1)


def test_a_document_of_too_many_values_is_refused() -> None:
    found = only("too_many_values", "a: [" + "1," * nodes.VALUE_LIMIT + "]")
    assert found.line == 1


def test_a_definition_of_too_many_jobs_is_cut_and_says_so() -> None:
    jobs = "".join(f"      j{n}: {{component: X}}\n" for n in range(reader.JOB_LIMIT + 5))
    found = only("too_many_jobs", "stages:\n  s:\n    jobs:\n" + jobs)
    assert (found.line, found.column) == (reader.JOB_LIMIT + 4, 7)


def test_aliases_that_repeat_too_much_are_refused_at_the_one_that_does() -> None:
    text = "a: &a [1,2,3,4,5,6,7,8,9]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        text += f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    found = only("alias_limit", text)
    assert found.line == 5


def test_what_cannot_run_here_is_a_warning_and_not_an_error() -> None:
    here = LANGUAGE.with_available(steps={"ArtifactUpload"}, sources=set())
    report = check(with_source("{type: git, endpoint: x}"), here)
    found = [p for p in report.problems if p.code == "not_available"]
    assert [(p.line, p.column, p.severity) for p in found] == [
        (2, 15, "warning"),
        (8, 27, "warning"),
    ]
    assert report.valid


def test_a_thousand_problems_are_enough_and_the_rest_are_counted() -> None:
    text = "".join(f"unknown{n}: x\n" for n in range(PROBLEM_LIMIT + 7)) + BUILD
    problems = check(text, LANGUAGE).problems
    assert len([p for p in problems if p.severity == "warning"]) == PROBLEM_LIMIT
    assert problems[-1].code == "too_many_problems"
    assert problems[-1].message.startswith("7 more")


def test_many_warnings_never_hide_an_error() -> None:
    text = "".join(f"unknown{n}: x\n" for n in range(PROBLEM_LIMIT + 7)) + "stages: 1\n"
    assert not check(text, LANGUAGE).valid


def test_all_problems_of_a_document_are_told_at_once() -> None:
    text = dedent(
        """\
        nmae: x
        stages:
          s:
            jobs:
              1a:
                needs: [nobody]
                steps:
                  c: {step: Comand}
                  d: {step: Command, with: {run: "$[jobs.x.y.artifacts.z]"}}
        """
    )
    assert [p.code for p in check(text, LANGUAGE).problems] == [
        "unknown_key",
        "bad_id",
        "unknown_need",
        "unknown_step",
        "unknown_job",
    ]


def test_only_a_known_code_can_be_reported() -> None:
    with pytest.raises(KeyError):
        Problems().add("no_such_code", "", line=1, column=1)


def test_the_nearest_word_disregards_case_and_may_be_none() -> None:
    assert nearest("MAKE", ["build", "make"]) == "make"
    assert nearest("xyzzy", ["build", "make"]) is None
