"""What a declared field accepts, and what it makes of it."""

import pytest

from pipelines.flow.catalog import LANGUAGE
from pipelines.flow.document import Value
from pipelines.flow.schema import Field, FieldType

REFERENCE = "$[jobs.a.b.artifacts.c]"


@pytest.mark.parametrize(
    ("type_", "value", "accepted", "coerced"),
    [
        ("string", "x", True, "x"),
        ("string", 1.8, True, "1.8"),
        ("string", True, True, "true"),
        ("string", ["x"], False, ["x"]),
        ("text", {"a": "b"}, False, {"a": "b"}),
        ("artifact", REFERENCE, True, REFERENCE),
        ("integer", 3, True, 3),
        ("integer", "3", True, 3),
        ("integer", "${N}", True, "${N}"),
        ("integer", "three", False, "three"),
        ("integer", True, False, True),
        ("integer", 1.5, False, 1.5),
        ("number", 1.5, True, 1.5),
        ("number", "1.10", True, 1.1),
        ("number", "many", False, "many"),
        ("boolean", True, True, True),
        ("boolean", "True", True, True),
        ("boolean", "FALSE", True, False),
        ("boolean", "${FLAG}", True, "${FLAG}"),
        ("boolean", "yes", False, "yes"),
        ("boolean", 1, False, 1),
        ("list", ["a"], True, ["a"]),
        ("list", "${ALL}", True, "${ALL}"),
        ("list", "a", False, "a"),
        ("string_or_list", "a", True, ["a"]),
        ("string_or_list", [1, "b"], True, ["1", "b"]),
        ("string_or_list", [["a"]], False, [""]),
        ("mapping", {"a": "b"}, True, {"a": "b"}),
        ("mapping", REFERENCE, True, REFERENCE),
        ("mapping", "a", False, "a"),
        ("any", {"a": ["b"]}, True, {"a": ["b"]}),
    ],
)
def test_a_field_accepts_what_is_beyond_doubt_and_reads_it(
    type_: FieldType, value: Value, accepted: bool, coerced: Value
) -> None:
    field = Field("f", type_)
    assert field.accepts(value) is accepted
    assert field.coerce(value) == coerced
    assert type(field.coerce(value)) is type(coerced)


def test_a_name_that_is_not_declared_cannot_be_made_available() -> None:
    with pytest.raises(KeyError):
        LANGUAGE.with_available(steps={"Comand"})
    here = LANGUAGE.with_available(steps={"Command"})
    assert [name for name, each in here.steps.items() if each.available] == ["Command"]
    assert all(each.available for each in here.sources.values())


def test_steps_and_components_are_told_apart() -> None:
    assert LANGUAGE.step("Command") is not None and LANGUAGE.component("Command") is None
    assert LANGUAGE.component("VMDeploy") is not None and LANGUAGE.step("VMDeploy") is None


def test_an_absent_field_has_its_default_and_an_unknown_one_is_left_out() -> None:
    arguments = LANGUAGE.steps["ArtifactUpload"].arguments({"filePath": None, "x": 1})
    assert arguments["uploadType"] == "flowPublic"
    assert arguments["filePath"] is None and "x" not in arguments
    assert LANGUAGE.steps["Command"].argument("x", {"x": 1}) is None


@pytest.mark.parametrize("schema", LANGUAGE.steps.values(), ids=lambda each: each.name)
def test_each_declaration_explains_itself(schema) -> None:  # type: ignore[no-untyped-def]
    assert schema.title and schema.help and schema.example
    assert all(each.help for each in schema.fields)
    assert schema.makes is None or schema.artifact_default is not None
