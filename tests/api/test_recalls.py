"""Over the API: whom a recall concerns, who knows, and what was placed as it was known."""

from datetime import timedelta

from pipelines import links
from pipelines.canonical import timestamp
from promotion import recalling
from promotion.models import Affected, Download, Placement, Version
from tests.api.caller import problem
from tests.api.conftest import People, Things

RECALLED = "repositories/apps/packages/app/versions/0.9.0/"
VERSION = "repositories/apps/packages/app/versions/1.0.0/"


def below_root(link: str) -> str:
    return "/" + link.split("/", 3)[3]


def fetched(version: str) -> list[str]:
    rows = Download.objects.filter(version__name=version, version__package__name="app")
    return sorted(rows.values_list("by__username", flat=True))


def test_whoever_used_a_recalled_version_is_listed_and_says_that_they_know(
    people: People, things: Things
) -> None:
    (listed,) = people.dora.get(RECALLED + "affected/").json["results"]
    assert (listed["owner"], listed["more"], listed["acknowledged_at"]) == ("ada", 0, None)
    assert [(use["how"], use["times"]) for use in listed["uses"]] == [("downloaded", 1)]
    address = f"{RECALLED}affected/{listed['id']}/acknowledge/"
    known = people.ada.post(address, {"note": "Gone."}, expect=200).json
    assert (known["acknowledged_by"], known["note"]) == ("ada", "Gone.")
    problem(people.ben.call("POST", address, {}), 409, "wrong_state")
    assert people.dora.get(VERSION + "affected/").json["results"] == []


def test_a_notice_is_not_under_another_version(people: People, things: Things) -> None:
    people.ada.refused(
        "POST", f"{VERSION}affected/{things.affected.pk}/acknowledge/", {}, status=404,
        code="not_found",
    )  # fmt: skip
    assert Affected.objects.unacknowledged().count() == 1


def test_a_download_is_theirs_who_sent_the_token(people: People, things: Things) -> None:
    people.production.get(VERSION + "download/")
    people.dora.get(VERSION + "files/readme.txt")
    people.dora.get(VERSION + "download/?format=zip")
    assert fetched("1.0.0") == ["dora", "production"]


def test_a_download_by_a_link_is_theirs_to_whom_the_link_was_given(
    people: People, things: Things
) -> None:
    link = below_root(people.ben.get(VERSION).json["artifact"]["downloadUrl"])
    content = people.nobody.get(link).content
    assert fetched("1.0.0") == ["ben"]
    # Whoever else sends a token is known by it.
    assert people.dora.get(link).content == content
    assert fetched("1.0.0") == ["ben", "dora"]


def test_a_link_says_whose_it_is_under_its_signature(people: People, things: Things) -> None:
    cast = things.site.cast
    link = below_root(people.ben.get(VERSION).json["artifact"]["downloadUrl"])
    before, _, signature = link.partition("signature=")
    owner, _, rest = signature.partition("%40")
    assert owner == str(cast.ben.pk)
    for other in (f"{cast.cleo.pk}%40{rest}", rest, f"{owner}%40{owner}%40{rest}", f"%40{rest}"):
        problem(people.nobody.call("GET", f"{before}signature={other}"), 403, "link_not_genuine")
    plain = links.signed(before.removesuffix("?")).partition("signature=")[2]
    problem(
        people.nobody.call("GET", f"{before}signature={owner}%40{plain}"), 403, "link_not_genuine"
    )
    assert fetched("1.0.0") == []


def test_a_link_that_names_nobody_is_good_and_nobodys(people: People, things: Things) -> None:
    path = "/api/v1/" + VERSION + "download/"
    people.nobody.get(below_root(links.signed(path)))
    people.nobody.get(below_root(links.signed(path, owner=99_999_999)))
    assert fetched("1.0.0") == []


def test_placements_name_a_recall_and_its_replacement(people: People, things: Things) -> None:
    second = Version.objects.get(name="1.0.1")
    recalling.recall(second, by=things.site.cast.ben, reason="Bad.", replacement=things.version)
    (placed,) = people.dora.get("environments/staging/placements/").json["results"]
    assert (placed["version"], placed["state"]) == ("1.0.1", "recalled")
    assert placed["replacement"] == "1.0.0"


def test_placements_are_answered_as_they_were_known(people: People, things: Things) -> None:
    first, second = Placement.objects.filter(environment=things.site.staging).order_by("pk")
    address = "environments/staging/placements/?known_at="
    between = timestamp(second.recorded_at - timedelta(microseconds=1))
    (then,) = people.dora.get(f"{address}{between}").json["results"]
    assert (then["version"], then["until"]) == ("1.0.0", None)
    (now,) = people.dora.get(f"{address}{timestamp(second.recorded_at)}").json["results"]
    assert (now["version"], now["until"]) == ("1.0.1", None)
    as_of = timestamp(first.since)
    (then,) = people.dora.get(f"{address}{timestamp(second.recorded_at)}&as_of={as_of}").json[
        "results"
    ]
    assert (then["version"], then["until"]) == ("1.0.0", timestamp(second.since))
    before = timestamp(first.recorded_at - timedelta(microseconds=1))
    assert people.dora.get(f"{address}{before}").json["results"] == []
    people.dora.refused("GET", address + "soon", status=422, code="invalid")
