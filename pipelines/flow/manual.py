"""The language reference, generated from the declarations that the checker and runner read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pipelines.flow.conditions import FUNCTIONS
from pipelines.flow.document import BUILT_IN_VARIABLES, as_text
from pipelines.flow.problems import CODES
from pipelines.flow.schema import (
    ARTIFACT_PROPERTIES,
    TYPE_WORDS,
    Catalog,
    Field,
    SourceSchema,
    StepSchema,
)

INTRODUCTION: Final = """\
# The language of pipelines

This page is generated from the declarations that the checker and the workers read
(`manage.py describe_language`), so it says what this version really takes. Things marked
*checked only* are known to the language, but no worker of this version can run them yet.
"""

ABOUT: Final = """\
A pipeline is one YAML document: `sources` say where its input comes from, `stages` run one after
another, the `jobs` of a stage run side by side unless one needs another, and a job is either
`steps` that share one workspace or one `component`.
"""

EXAMPLE: Final = """\
name: Example
sources:
  app:
    type: git
    endpoint: https://git.example.com/team/app.git
    branch: main
stages:
  build_stage:
    jobs:
      build_job:
        steps:
          test_step:
            step: Command
            with:
              run: make test
          upload_step:
            step: ArtifactUpload
            with:
              uploadType: flowPublic
              filePath: [dist/]
      report_job:
        steps:
          say_step:
            step: Command
            with:
              # Referring to another job of the stage implies `needs` on it.
              run: echo "$[jobs.build_job.upload_step.artifacts.default.md5]"
"""

REFERENCES: Final = (
    ("$[jobs.<job>.<step>.artifacts.<artifact>]", "an artifact of another job of the same stage"),
    (
        "$[stages.<stage>.<job>.<step>.artifacts.<artifact>]",
        "an artifact of an earlier stage",
    ),
    (
        "$[sources.<source>.stages.<stage>.<job>.<step>.artifacts.<artifact>]",
        "an artifact of another pipeline's run; the source is of type `flowPipeline`",
    ),
    ("$[sources.<source>]", "what an artifact source gives"),
)

ON_REFERENCES: Final = """\
`artifacts.default` is the step's own artifact, whatever its name. `${VARIABLE}` is replaced inside
a reference too. In a text a reference becomes the download address or the image; a field that takes
an artifact gets all of it. A property may follow:
"""

ON_VARIABLES: Final = """\
A caller's variables come before those of the definition. A script finds them in its
environment; everywhere else `${NAME}` is replaced.\
"""

ON_CONDITIONS: Final = """\
A job whose `condition` is false is skipped. `==`, `!=`, `&&`, `||`, `!` and parentheses
join texts in quotes, `${VARIABLE}` and these functions:\
"""


def manual(catalog: Catalog) -> str:
    """The whole reference as Markdown, ending with a line feed."""
    return "\n".join(_lines(catalog)) + "\n"


def _lines(catalog: Catalog) -> Iterator[str]:
    yield INTRODUCTION
    yield ABOUT
    yield f"```yaml\n{EXAMPLE}```\n\n## References\n"
    yield from _table(
        ("Written", "Means"), ((f"`{written}`", means) for written, means in REFERENCES)
    )
    yield f"\n{ON_REFERENCES}"
    yield from _table(
        ("Artifact", "Properties"),
        (
            (f"`{made}`", ", ".join(f"`.{name}`" for name in names))
            for made, names in ARTIFACT_PROPERTIES.items()
        ),
    )
    for heading, kind in (("Steps", "step"), ("Components", "component")):
        yield f"\n## {heading}"
        for step in sorted(catalog.steps.values(), key=lambda each: each.name):
            if step.kind == kind:
                yield from _entry(step.name, step)
    yield "\n## Sources"
    for source in catalog.sources.values():
        yield from _entry(source.type, source)
    yield "\n## Variables\n"
    yield "These are set for every job, and nothing else can set them:\n"
    yield from _table(
        ("Variable", "Is"), ((f"`{key}`", said) for key, said in BUILT_IN_VARIABLES.items())
    )
    yield f"\n{ON_VARIABLES}"
    yield "\n## Conditions\n"
    yield f"{ON_CONDITIONS}\n"
    for said in FUNCTIONS.values():
        call, _, meaning = said.partition(": ")
        yield f"- `{call}`: {meaning}"
    yield "\n## Problems\n"
    yield "What the checker can find, by the code that stands beside each message:\n"
    yield from _table(("Code", "Means"), ((f"`{code}`", said) for code, said in CODES.items()))


def _entry(name: str, schema: StepSchema | SourceSchema) -> Iterator[str]:
    mark = "" if schema.available else " *(checked only)*"
    yield f"\n### `{name}`{mark}\n"
    yield f"{schema.title}. {schema.help}\n"
    if isinstance(schema, StepSchema) and schema.makes:
        yield f"Makes an artifact of type `{schema.makes}`.\n"
    yield from _table(
        ("Field", "Takes", "Default", "Meaning"), (field_texts(field) for field in schema.fields)
    )
    if schema.example:
        yield "\n```yaml"
        yield schema.example.rstrip("\n")
        yield "```"


def field_texts(field: Field) -> tuple[str, str, str, str]:
    """Its name, what it takes, its default and its meaning, with code between backticks."""
    takes = ", ".join(f"`{choice}`" for choice in field.choices) or TYPE_WORDS[field.type]
    if field.required:
        default = "*required*"
    else:
        default = f"`{as_text(field.default)}`" if field.default is not None else ""
    also = f" Also written {', '.join(f'`{each}`' for each in field.aliases)}." * bool(
        field.aliases
    )
    return f"`{field.name}`", takes, default, field.help + also


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    titles = list(head)
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(each.replace('|', chr(92) + '|') for each in row)} |"
