"""What differs in where the bytes come from: commits, and the variables of the runs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit, urlunsplit

from promotion.comparing.lists import Change, Cut, change_of, cut

#: A variable's value longer than this is cut where it is shown.
LONGEST_VALUE = 500
#: Nothing in a definition declares a variable secret, so its name has to tell.
SECRET_NAME = re.compile(
    r"pass(word|wd|phrase|code)?(?![a-z])|pwd|secret|token|credential|private|signature"
    r"|(api|access|auth|sign|deploy|ssh|encryption)[_.-]?key",
    re.IGNORECASE,
)
COMMIT = re.compile(r"[0-9a-f]{7,64}\Z")


# ---- Commits -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Pin:
    """To which commit a run pinned one of its sources. `endpoint` is empty where nobody said."""

    commit: str
    endpoint: str = ""
    branch: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class BuiltFrom:
    """A run between the two, and the commit that it built."""

    run: int
    commit: str


@dataclass(frozen=True, slots=True)
class CommitChange:
    source: str
    change: Change
    before: str | None
    after: str | None
    endpoint: str
    branch: str
    #: Where the server of the repository shows what lies between; empty where it is not known.
    compare_url: str
    #: What Sluice itself saw between the two, newest first.
    between: Cut[BuiltFrom]


def compare_commits(
    before: Mapping[str, Pin],
    after: Mapping[str, Pin],
    between: Mapping[str, Cut[BuiltFrom]],
    *,
    is_back: bool = False,
) -> tuple[CommitChange, ...]:
    """By source. Where it goes `is_back`, what is taken back is what the link shows."""
    changes = []
    for source in sorted(before.keys() | after.keys()):
        old, new = before.get(source), after.get(source)
        if old and new and (old.commit, old.endpoint) == (new.commit, new.endpoint):
            continue
        named = new or old
        assert named is not None, "the source is in one of the two"
        url = ""
        if old and new and old.endpoint == new.endpoint:
            first, last = (new, old) if is_back else (old, new)
            url = compare_url(new.type, new.endpoint, first.commit, last.commit)
        changes.append(
            CommitChange(
                source=source,
                change=change_of(old, new),
                before=old.commit if old else None,
                after=new.commit if new else None,
                endpoint=shown_endpoint(named.endpoint),
                branch=named.branch,
                compare_url=url,
                between=between.get(source, Cut((), 0)),
            )
        )
    return tuple(changes)


def shown_endpoint(endpoint: str) -> str:
    """The address of a repository without the credentials that somebody wrote into it."""
    parts = _address(endpoint)
    if parts is None:
        return endpoint.rpartition("@")[2] if "://" in endpoint else endpoint
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


#: How the servers of each type of source show what lies between two commits.
COMPARE = {
    "github": "{base}/compare/{first}...{last}",
    "gitee": "{base}/compare/{first}...{last}",
    "gitlab": "{base}/-/compare/{first}...{last}",
    "bitbucket": "{base}/branches/compare/{last}..{first}",
}
SERVER_OF_TYPE = {
    "githubApp": "github",
    "gitlabAPI": "gitlab",
    "customGitlab": "gitlab",
    **{name: name for name in COMPARE},
}
SERVER_OF_HOST = {
    "github.com": "github",
    "gitee.com": "gitee",
    "gitlab.com": "gitlab",
    "bitbucket.org": "bitbucket",
}


def compare_url(source_type: str, endpoint: str, first: str, last: str) -> str:
    """The page on the repository's own server; empty where it has none that is known."""
    parts = _address(endpoint)
    if parts is None or not (COMMIT.match(first) and COMMIT.match(last)):
        return ""
    server = SERVER_OF_HOST.get(parts.hostname or "") or SERVER_OF_TYPE.get(source_type, "")
    if not server:
        return ""
    place = urlsplit(shown_endpoint(endpoint))
    path = place.path.rstrip("/").removesuffix(".git")
    base = urlunsplit((place.scheme, place.netloc, path, "", ""))
    return COMPARE[server].format(base=base, first=first, last=last)


def _address(endpoint: str) -> SplitResult | None:
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        return None
    return parts if parts.scheme in {"http", "https"} and parts.hostname else None


# ---- Variables ---------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class VariableChange:
    """`of` says who set it: the definition, or whoever started the run. Secrets have no values."""

    name: str
    of: str
    change: Change
    before: str | None
    after: str | None
    is_secret: bool


def compare_variables(
    of: str, before: Mapping[str, str], after: Mapping[str, str], *, most: int
) -> Cut[VariableChange]:
    return cut(
        [
            _variable(name, of, before.get(name), after.get(name))
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        ],
        most,
    )


def _variable(name: str, of: str, before: str | None, after: str | None) -> VariableChange:
    is_secret = SECRET_NAME.search(name) is not None
    old, new = (None, None) if is_secret else (_short(before), _short(after))
    return VariableChange(name, of, change_of(before, after), old, new, is_secret)


def _short(value: str | None) -> str | None:
    if value is None or len(value) <= LONGEST_VALUE:
        return value
    return f"{value[:LONGEST_VALUE]}…"
