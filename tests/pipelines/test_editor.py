"""The pages on which definitions are written: the check as one types, impact, differences."""

import html
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from pipelines import definitions, impact
from pipelines.errors import Forbidden, Invalid, PreconditionFailed, WouldBreak
from pipelines.flow.text import SIZE_LIMIT
from pipelines.models import Pipeline
from tests.cast import ROLES, YAML, Site, make_pipeline, token_of
from tests.pipelines.test_impact import FOLLOWER
from tests.world import nothing_changes, refused

RENAMED = YAML.replace("upload_step", "keep_step")

#: A billion laughs: nine levels of ten aliases each.
BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
HOSTILE = "<script>alert(1)</script>"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def ada(site: Site) -> Client:
    return signed_in(site.cast.ada)


@pytest.fixture
def follower(site: Site) -> Pipeline:
    return make_pipeline(site.cast.ada, "follower", FOLLOWER)


@contextmanager
def keeps_revision(pipeline: Pipeline) -> Iterator[None]:
    """Like nothing_changes, where a token notes its last use."""
    before = list(pipeline.revisions.values_list())
    yield
    assert list(pipeline.revisions.values_list()) == before


def check(client: Client, text: str, status: int = 200, **fields: str) -> str:
    """What the editor is answered; nothing may be kept of it."""
    with nothing_changes():
        answer = client.post(reverse("pipelines:definition_check"), {"yaml": text, **fields})
    assert answer.status_code == status
    return html.unescape(answer.content.decode())


def save(client: Client, text: str, expected: int = 1, **fields: str) -> tuple[int, str]:
    answer = client.post(
        reverse("pipelines:definition", args=["app"]),
        {"yaml": text, "expected": expected, **fields},
    )
    return answer.status_code, html.unescape(answer.content.decode())


# ---- The check as one types ---------------------------------------------------------------------
def test_the_check_tells_each_problem_with_its_place_and_remedy(ada: Client) -> None:
    said = check(ada, YAML.replace("step: Command", "step: Comand"))
    assert "Line 9, column 19" in said
    assert "did you mean" in said
    assert "unknown_step" in said
    assert "1 error, 1 hint" in said


def test_a_text_without_problems_is_said_to_have_none(ada: Client) -> None:
    used = YAML + (
        "      use_job: {steps: {use: {step: Command, "
        "with: {run: 'ls $[jobs.build_job.upload_step.artifacts.app]'}}}}\n"
    )
    said = check(ada, used)
    assert "No problems" in said
    assert "Nothing is wrong with it" in said


def test_every_reference_is_listed_with_what_it_leads_to(ada: Client, site: Site) -> None:
    said = check(ada, FOLLOWER)
    assert "sources.upstream.stages.build_stage.build_job.upload_step.artifacts.app" in said
    assert f'href="{reverse("pipelines:pipeline", args=["app"])}"' in said
    assert "leads nowhere" not in said
    assert "leads nowhere" in check(ada, FOLLOWER.replace("upload_step", "uplod_step"))
    assert "only a run knows" in check(ada, FOLLOWER.replace("upload_step", "${STEP}"))


def test_the_graph_comes_along_and_another_pipeline_in_it_leads_to_its_page(
    ada: Client, site: Site
) -> None:
    said = check(ada, FOLLOWER)
    assert "<svg" in said
    assert "takes app from app" in said
    assert "too many to draw" in check(
        ada, "stages: {one: {jobs: {" + ", ".join(f"j{n}: {{}}" for n in range(61)) + "}}}"
    )


def test_the_check_says_whom_saving_would_break(ada: Client, follower: Pipeline) -> None:
    said = check(ada, RENAMED, pipeline="app")
    assert "Saving this breaks 1 other pipeline" in said
    assert f'href="{reverse("pipelines:pipeline", args=["follower"])}"' in said
    assert "line 14" in said
    assert "Saving this breaks" not in check(ada, YAML, pipeline="app")
    assert 'id="breaks"' not in check(ada, RENAMED, slug="app"), "a new one has no place for it"


@pytest.mark.parametrize("slug", ["", "no such pipeline", "../..", "x" * 500, HOSTILE])
def test_the_id_beside_the_text_may_be_anything(ada: Client, slug: str) -> None:
    assert "unused_artifact" in check(ada, YAML, slug=slug)
    assert "unused_artifact" in check(ada, YAML, pipeline=slug)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("", "empty_document", id="nothing"),
        pytest.param(BOMB, "alias_limit", id="billion laughs"),
        pytest.param("[" * 100_000, "too_deep", id="deep"),
        pytest.param("a: " + "x" * (2 * SIZE_LIMIT), "too_large", id="2 MB"),
        pytest.param("stages: !!python/object:os.system {}", "tag", id="a tag"),
        pytest.param("stages:\n\t- a", "tab", id="a tab"),
    ],
)
def test_hostile_texts_are_located_problems(ada: Client, text: str, code: str) -> None:
    said = check(ada, text)
    assert code in said
    assert "Line " in said


def test_a_body_beyond_all_bounds_is_refused_unread(ada: Client) -> None:
    check(ada, "x" * (6 * 1024**2), status=400)


def test_a_text_with_nul_is_refused(ada: Client) -> None:
    check(ada, "a\x00b", status=422)


def test_thousands_of_problems_and_references_stay_a_page(ada: Client) -> None:
    many = "\n".join(f"echo $[jobs.nobody{n}.a.artifacts.b]" for n in range(3000))
    text = "stages: {s: {jobs: {j: {steps: {a: {step: Command, with: {run: " + json.dumps(many)
    said = check(ada, text + "}}}}}}}")
    assert "mend these first" in said
    assert "more are not shown" in said
    assert len(said) < 1_000_000


@pytest.mark.parametrize("member", sorted(ROLES))
def test_everyone_with_a_role_may_check_and_nobody_else(site: Site, member: str) -> None:
    client = signed_in(site.cast.everyone()[member])
    said = check(client, YAML, status=403 if member == "mallory" else 200)
    assert ("unused_artifact" in said) is (member != "mallory")


def test_who_is_not_signed_in_is_sent_to_the_door() -> None:
    answer = Client().post(reverse("pipelines:definition_check"), {"yaml": YAML})
    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("login"))


def test_the_check_is_asked_by_post_alone(ada: Client) -> None:
    assert ada.get(reverse("pipelines:definition_check")).status_code == 405


def test_the_check_wants_the_token_against_forgery(site: Site) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(site.cast.ada)
    assert client.post(reverse("pipelines:definition_check"), {"yaml": YAML}).status_code == 403


# ---- The editor ---------------------------------------------------------------------------------
def test_the_editor_opens_with_the_text_and_what_is_to_be_said_of_it(ada: Client) -> None:
    answer = ada.get(reverse("pipelines:definition", args=["app"]))
    said = html.unescape(answer.content.decode())
    assert "1 hint" in said
    assert "<svg" in said
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert ' style="' not in said
    assert " onclick" not in said


def test_without_scripts_a_button_checks_and_saves_nothing(ada: Client) -> None:
    broken = YAML.replace("Command", "Comand")
    for address in (
        reverse("pipelines:definition", args=["app"]),
        reverse("pipelines:pipeline_new"),
    ):
        with nothing_changes():
            answer = ada.post(address, {"yaml": broken, "check": "yes"})
        said = html.unescape(answer.content.decode())
        assert answer.status_code == 200
        assert "unknown_step" in said
        assert 'id="S-9"' in said, "the lines that the problems link to are on the page"
        assert broken.strip() in said


def test_a_definition_with_errors_is_refused_with_its_text_and_problems(ada: Client) -> None:
    broken = YAML.replace("Command", "Comand")
    with nothing_changes():
        status, said = save(ada, broken)
    assert status == 422
    assert "unknown_step" in said
    assert broken.strip() in said


def test_a_revision_that_came_in_between_is_named_and_can_be_compared(
    ada: Client, site: Site
) -> None:
    definitions.revise(site.pipeline, YAML + "# theirs\n", by=site.cast.ada)
    with nothing_changes():
        status, said = save(ada, YAML + "# mine\n")
    assert status == 412
    assert "# mine" in said
    assert reverse("pipelines:revision_diff", args=["app", 1, 2]) in said
    assert save(ada, YAML + "# mine\n", expected=99)[0] == 412


# ---- Impact -------------------------------------------------------------------------------------
def test_breaking_another_pipeline_is_told_first_and_saved_with_consent(
    ada: Client, site: Site, follower: Pipeline
) -> None:
    with nothing_changes():
        status, said = save(ada, RENAMED)
    assert status == 409
    assert "Save all the same" in said
    assert "has no step" in said
    assert f'href="{reverse("pipelines:pipeline", args=["follower"])}"' in said
    assert RENAMED.strip() in said, "the text is kept"
    assert save(ada, RENAMED, confirmed="yes")[0] == 303
    site.pipeline.refresh_from_db()
    assert site.pipeline.revision is not None
    assert site.pipeline.revision.yaml == RENAMED


def test_a_change_that_breaks_nobody_asks_nothing(ada: Client, follower: Pipeline) -> None:
    assert save(ada, YAML + "# more\n")[0] == 303


def test_the_verb_refuses_with_the_pipelines_and_their_problems(
    site: Site, follower: Pipeline
) -> None:
    by = site.cast.ada
    refusal = refused(WouldBreak, lambda: impact.revise(site.pipeline, RENAMED, by=by))
    (broken,) = refusal.extra["breaks"]
    assert broken["pipeline"] == "follower"
    assert [(each["line"], each["code"]) for each in broken["problems"]] == [
        (14, "unknown_step_id")
    ]
    assert "follower" in refusal.detail
    assert impact.revise(site.pipeline, RENAMED, by=by, accept_broken=True).number == 2


def test_what_else_speaks_against_saving_is_told_before_the_impact(
    site: Site, follower: Pipeline
) -> None:
    def save_as(user: User, yaml: str, expected: int) -> None:
        impact.revise(site.pipeline, yaml, by=user, expected=expected)

    refused(Forbidden, lambda: save_as(site.cast.dora, RENAMED, 1))
    refused(Invalid, lambda: save_as(site.cast.ada, RENAMED.replace("Command", "Comand"), 1))
    refused(PreconditionFailed, lambda: save_as(site.cast.ada, RENAMED, 7))


def test_the_api_refuses_with_the_same_and_takes_the_same_consent(
    site: Site, follower: Pipeline
) -> None:
    client = Client(headers={"Authorization": f"Bearer {token_of(site.cast.ada)}"})
    address = "/api/v1/pipelines/app/definition/"
    with keeps_revision(site.pipeline):
        answer = client.put(address, json.dumps({"yaml": RENAMED}), "application/json")
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["code"] == "would_break"
    assert [each["pipeline"] for each in problem["breaks"]] == ["follower"]
    assert client.put(f"{address}?accept_broken=maybe", RENAMED, "text/yaml").status_code == 422
    answer = client.put(f"{address}?accept_broken=1", RENAMED, "text/yaml")
    assert (answer.status_code, answer.json()["revision"]) == (200, 2)


def test_the_apis_check_names_whom_it_would_break_where_it_is_told_the_pipeline(
    site: Site, follower: Pipeline
) -> None:
    client = Client(headers={"Authorization": f"Bearer {token_of(site.cast.dora)}"})

    def breaks(**body: str) -> list[str]:
        answer = client.post(
            "/api/v1/definitions/check/", json.dumps({"yaml": RENAMED, **body}), "application/json"
        )
        assert answer.status_code == 200
        return [each["pipeline"] for each in answer.json()["breaks"]]

    assert breaks(pipeline="app") == ["follower"]
    assert breaks(pipeline="other") == breaks() == []


def test_a_pipeline_says_whom_it_refers_to_and_who_refers_to_it(
    ada: Client, follower: Pipeline
) -> None:
    assert [(each.pipeline.slug, each.references) for each in impact.counted_referrers("app", 9)] \
        == [("follower", 1)]  # fmt: skip
    app = ada.get(reverse("pipelines:pipeline", args=["app"])).content.decode()
    assert "1 reference<" in app
    there = ada.get(reverse("pipelines:pipeline", args=["follower"])).content.decode()
    assert "through upstream" in " ".join(there.split())
    assert "<svg" in there


# ---- Revisions and their differences ------------------------------------------------------------
def difference(client: Client, old: int, new: int, status: int = 200) -> str:
    answer = client.get(reverse("pipelines:revision_diff", args=["app", old, new]))
    assert answer.status_code == status
    return html.unescape(" ".join(answer.content.decode().split()))


def test_any_two_revisions_can_be_compared(ada: Client, site: Site) -> None:
    by = site.cast.ada
    definitions.revise(site.pipeline, YAML.replace("name: Example", "name: Other"), by=by)
    definitions.revise(site.pipeline, RENAMED, by=by)
    said = difference(ada, 1, 3)
    assert "build_stage.build_job.keep_step" in said
    assert "+1" in said
    assert "−1" in said
    assert "unchanged lines" in said
    assert "build_stage.build_job.upload_step" in difference(ada, 3, 1)
    assert "name: Other" in difference(ada, 1, 2)
    assert "Nothing: the two texts are the same" in difference(ada, 2, 2)
    difference(ada, 1, 4, status=404)
    difference(ada, 99999999999999999999, 1, status=404)


def test_the_form_leads_to_the_page_of_the_two_that_were_chosen(ada: Client, site: Site) -> None:
    choose = reverse("pipelines:revision_choose", args=["app"])
    answer = ada.get(choose, {"old": "1", "new": "2"})
    assert answer.status_code == 302
    assert answer["Location"] == reverse("pipelines:revision_diff", args=["app", 1, 2])
    for wrong in ({}, {"old": "1"}, {"old": "-1", "new": "x"}, {"old": "٣", "new": "1"}):
        assert ada.get(choose, wrong).status_code == 422


def test_who_has_no_role_sees_none_of_these_pages(site: Site) -> None:
    mallory = signed_in(site.cast.mallory)
    for address in (
        reverse("pipelines:pipeline_new"),
        reverse("pipelines:definition", args=["app"]),
        reverse("pipelines:language"),
        reverse("pipelines:revision", args=["app", 1]),
        reverse("pipelines:revision_choose", args=["app"]),
        reverse("pipelines:revision_diff", args=["app", 1, 1]),
    ):
        assert mallory.get(address).status_code == 403


def test_who_may_not_write_is_refused_the_editor(site: Site) -> None:
    dora = signed_in(site.cast.dora)
    assert dora.get(reverse("pipelines:definition", args=["app"])).status_code == 403
    assert dora.get(reverse("pipelines:pipeline_new")).status_code == 403


# ---- Hostile names ------------------------------------------------------------------------------
NAMED_BADLY = f"""
name: "{HOSTILE}"
sources:
  up: {{type: packages, name: "{HOSTILE}", repo: "{HOSTILE}", artifact: "{HOSTILE}", version: "1"}}
stages:
  one:
    name: "{HOSTILE}"
    jobs:
      a:
        name: "{HOSTILE}"
        steps:
          s: {{step: Command, with: {{run: "`{HOSTILE}` $[sources.up]"}}}}
          u: {{step: ArtifactUpload, with: {{artifact: "{HOSTILE}", filePath: x}}}}
"""


def test_markup_in_names_is_text_on_every_page(ada: Client, site: Site) -> None:
    with_error = NAMED_BADLY + f'  "{HOSTILE}": {{jobs: {{}}}}\n'
    answer = ada.post(reverse("pipelines:definition_check"), {"yaml": with_error})
    pages = [answer.content.decode()]
    make_pipeline(site.cast.ada, "hostile", NAMED_BADLY)
    ada.post(
        reverse("pipelines:definition", args=["hostile"]),
        {"yaml": NAMED_BADLY.replace("s: {", "t: {"), "expected": 1},
    )
    for name, args in (
        ("pipeline", ["hostile"]),
        ("definition", ["hostile"]),
        ("revision", ["hostile", 1]),
        ("revision_diff", ["hostile", 1, 2]),
    ):
        answer = ada.get(reverse(f"pipelines:{name}", args=args))
        assert answer.status_code == 200
        pages.append(answer.content.decode())
    for page in pages:
        assert HOSTILE not in page
        assert html.escape(HOSTILE) in page


# ---- The language -------------------------------------------------------------------------------
def test_the_language_page_shows_every_declaration_and_what_runs_here(ada: Client) -> None:
    said = html.unescape(ada.get(reverse("pipelines:language")).content.decode())
    catalog = definitions.catalog()
    for name, step in catalog.steps.items():
        assert f"{step.kind}s-{name}" in said
        assert step.example in said
        for field in step.fields:
            assert f"<code>{field.name}</code>" in said
    for source in catalog.sources.values():
        assert f"sources-{source.type}" in said
    available = [each.available for each in catalog.steps.values()]
    available += [each.available for each in catalog.sources.values()]
    assert said.count("Runs here") == available.count(True)
    assert said.count("Checked only") == available.count(False)
