"""How two definitions differ, line by line and in what they do."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.flow import difference
from pipelines.flow.difference import CONTEXT, compare_definitions, compare_texts
from pipelines.flow.parser import parse

from .documents import ACROSS_STAGES, SAME_STAGE

TEXTS = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=30).map("\n".join)


def parts(old: str, new: str) -> set[tuple[str, str, str]]:
    one, other = parse(old).definition, parse(new).definition
    assert one is not None
    assert other is not None
    return {(each.change, each.kind, each.name) for each in compare_definitions(one, other)}


@given(TEXTS, TEXTS)
def test_each_line_of_both_texts_is_shown_or_folded_once_in_its_order(old: str, new: str) -> None:
    found = compare_texts(old, new)
    lines = [line for block in found.blocks for line in block.lines]
    folded = found.folded + sum(block.folded for block in found.blocks)
    kept = {mark: [each for each in lines if each.mark == mark] for mark in ("added", "removed")}
    same = sum(each.mark == "same" for each in lines)
    assert same + folded + len(kept["removed"]) == len(difference._split(old))
    assert same + folded + len(kept["added"]) == len(difference._split(new))
    assert (found.added, found.removed) == (len(kept["added"]), len(kept["removed"]))
    for numbers in ([each.old for each in lines], [each.new for each in lines]):
        present = [number for number in numbers if number is not None]
        assert present == sorted(set(present))


def test_unchanged_runs_are_folded_to_three_lines_around_a_change() -> None:
    old = "\n".join(map(str, range(40)))
    found = compare_texts(old, old.replace("20", "twenty"))
    (block,) = found.blocks
    assert (block.folded, found.folded) == (20 - CONTEXT, 19 - CONTEXT)
    assert [line.text for line in block.lines if line.mark != "same"] == ["20", "twenty"]
    assert [line.old for line in block.lines][:3] == [18, 19, 20]


def test_the_same_text_has_no_difference() -> None:
    assert compare_texts(SAME_STAGE, SAME_STAGE).blocks == ()


def test_texts_too_long_to_match_are_taken_as_rewritten() -> None:
    count = difference.COMPARED_LINES + 2
    old, new = ("\n".join(f"{word} {n % 7}" for n in range(count)) for word in ("a", "b"))
    found = compare_texts(old, new)
    assert found.added == found.removed == count
    shown = sum(len(block.lines) for block in found.blocks)
    assert (shown, found.left_out) == (difference.SHOWN_LINES, 2 * count - shown)


def test_what_comes_goes_and_changes_is_told_at_its_place() -> None:
    assert parts(SAME_STAGE, SAME_STAGE.replace("# makes the image", "# another")) == set()
    assert parts(SAME_STAGE, SAME_STAGE.replace("team/shop:1.0", "team/shop:2.0")) == {
        ("changed", "step", "ship.image_job.build_image")
    }
    assert parts(SAME_STAGE, SAME_STAGE.replace("login:", "sign_in:")) == {
        ("removed", "step", "ship.image_job.login"),
        ("added", "step", "ship.image_job.sign_in"),
    }
    assert parts(SAME_STAGE, SAME_STAGE.replace("codeup", "git")) == {("changed", "source", "shop")}
    assert parts(
        ACROSS_STAGES, ACROSS_STAGES.replace("executeUser: root", "executeUser: shop")
    ) == {("changed", "job", "deploy_stage.deploy_job")}
    assert parts(SAME_STAGE, ACROSS_STAGES) == {
        ("changed", "source", "shop"),
        ("removed", "stage", "ship"),
        ("added", "stage", "build_stage"),
        ("added", "stage", "deploy_stage"),
    }
