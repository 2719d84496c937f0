"""Deliveries as GitHub, GitLab, Gitee and Codeup make them: headers, bodies, signatures."""

import base64
import copy
import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote_plus

from pipelines.pushes import Headers, Nothing, Push, read

SECRET = "whsec-0123456789"
NOW = 1_760_000_000.0
BEFORE = "0f" * 20
AFTER = "c0ffee00" * 5
TAGGED = "dead" * 10
NONE = "0" * 40
#: What the servers' clocks show, in milliseconds.
STAMP = str(int(NOW * 1000))


@dataclass(frozen=True)
class Delivery:
    """One request; changed copies of it are other requests."""

    headers: Headers
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)

    def read(self) -> Push | Nothing:
        return read(self.headers, self.body)

    def push(self) -> Push:
        found = self.read()
        assert isinstance(found, Push), found
        return found

    def nothing(self) -> str:
        found = self.read()
        assert isinstance(found, Nothing), found
        return found.why

    def having(self, **changes: Any) -> "Delivery":
        """The same with other values: `head_commit__id=…` is what lies deeper. Unsigned."""
        content = copy.deepcopy(self.content)
        for path, value in changes.items():
            *above, last = path.split("__")
            place = content
            for key in above:
                place = place[key]
            place[last] = value
        return replace(self, body=json.dumps(content).encode())

    def titled(self, **changes: str) -> "Delivery":
        """The same with other headers."""
        more = {name.replace("_", "-"): value for name, value in changes.items()}
        return replace(self, headers={**self.headers, **more})


def _delivery(content: Any, **headers: str) -> Delivery:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Delivery({"content-type": "application/json", **named}, json.dumps(content).encode())


def signed_by_github(delivery: Delivery, secret: str = SECRET) -> Delivery:
    signature = hmac.new(secret.encode(), delivery.body, hashlib.sha256).hexdigest()
    return delivery.titled(x_hub_signature_256=f"sha256={signature}")


def signed_by_gitee(
    delivery: Delivery, stamp: str = STAMP, secret: str = SECRET, *, encoded: bool = False
) -> Delivery:
    mac = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256)
    signature = base64.b64encode(mac.digest()).decode()
    return delivery.titled(
        x_gitee_timestamp=stamp, x_gitee_token=quote_plus(signature) if encoded else signature
    )


def signed(delivery: Delivery, secret: str = SECRET) -> Delivery:
    """As its server proves that it knows the secret; Gitee by the secret itself."""
    if "x-github-event" in delivery.headers:
        return signed_by_github(delivery, secret)
    for server in ("gitlab", "gitee", "codeup"):
        if f"x-{server}-event" in delivery.headers:
            return delivery.titled(**{f"x_{server}_token": secret})
    raise AssertionError(f"nobody sends {dict(delivery.headers)}")


def _commit(commit: str, message: str, **paths: Any) -> dict[str, Any]:
    return {
        "id": commit,
        "message": message,
        "timestamp": "2025-10-09T08:53:20Z",
        "author": {"name": "Alice", "email": "alice@example.com"},
        "added": [],
        "removed": [],
        "modified": [],
        **paths,
    }


COMMITS = [
    _commit("ab" * 20, "Add a test", added=["tests/test_app.py"]),
    _commit(AFTER, "Fix the build\n\nIt was broken.", modified=["src/app.py"], removed=["old.txt"]),
]
PATHS = ("tests/test_app.py", "src/app.py", "old.txt")

# ---- GitHub --------------------------------------------------------------------------------------
_GITHUB_REPOSITORY = {
    "id": 7,
    "full_name": "shop/app",
    "html_url": "https://github.com/shop/app",
    "clone_url": "https://github.com/shop/app.git",
    "ssh_url": "git@github.com:shop/app.git",
    "default_branch": "main",
    "pushed_at": 1_760_000_000,
}
GITHUB_PUSH = _delivery(
    {
        "ref": "refs/heads/main",
        "before": BEFORE,
        "after": AFTER,
        "created": False,
        "deleted": False,
        "forced": False,
        "commits": COMMITS,
        "head_commit": COMMITS[-1],
        "repository": _GITHUB_REPOSITORY,
        "pusher": {"name": "alice", "email": "alice@example.com"},
        "sender": {"login": "alice", "id": 3},
    },
    x_github_event="push",
    x_github_delivery="72d3162e-cc78-11e3-81ab-4c9367dc0958",
)
GITHUB_TAG = GITHUB_PUSH.having(
    ref="refs/tags/v1.0", before=NONE, after=TAGGED, created=True, commits=[]
)
GITHUB_DELETION = GITHUB_PUSH.having(
    after=NONE, deleted=True, commits=[], head_commit=None
)  # fmt: skip
_GITHUB_SIDE = {"id": 7, "full_name": "shop/app"}
GITHUB_PULL_REQUEST = _delivery(
    {
        "action": "opened",
        "number": 12,
        "pull_request": {
            "number": 12,
            "title": "Sell by weight",
            "merged": False,
            "merge_commit_sha": "99" * 20,
            "head": {"ref": "weights", "sha": AFTER, "repo": _GITHUB_SIDE},
            "base": {"ref": "main", "sha": BEFORE, "repo": _GITHUB_SIDE},
        },
        "repository": _GITHUB_REPOSITORY,
        "sender": {"login": "alice"},
    },
    x_github_event="pull_request",
    x_github_delivery="0b9cbd26-0000-11ef-9a4f-000000000001",
)
GITHUB_MERGED = GITHUB_PULL_REQUEST.having(action="closed", pull_request__merged=True)

# ---- GitLab --------------------------------------------------------------------------------------
_GITLAB_PROJECT = {
    "id": 15,
    "path_with_namespace": "shop/app",
    "web_url": "https://gitlab.example.com/shop/app",
    "git_ssh_url": "git@gitlab.example.com:shop/app.git",
    "git_http_url": "https://gitlab.example.com/shop/app.git",
}
_GITLAB_HEADERS = {
    "x_gitlab_event_uuid": "13792a34-cac6-4fda-95a8-c58e00a3954e",
    "x_gitlab_instance": "https://gitlab.example.com",
}
GITLAB_PUSH = _delivery(
    {
        "object_kind": "push",
        "event_name": "push",
        "before": BEFORE,
        "after": AFTER,
        "ref": "refs/heads/main",
        "checkout_sha": AFTER,
        "user_name": "Alice",
        "user_username": "alice",
        "project_id": 15,
        "project": _GITLAB_PROJECT,
        "commits": COMMITS,
        "total_commits_count": 2,
    },
    x_gitlab_event="Push Hook",
    **_GITLAB_HEADERS,
)
GITLAB_TAG = GITLAB_PUSH.having(
    object_kind="tag_push", ref="refs/tags/v1.0", before=NONE, after=TAGGED, commits=[],
    total_commits_count=0,
).titled(x_gitlab_event="Tag Push Hook")  # fmt: skip
GITLAB_DELETION = GITLAB_PUSH.having(
    after=NONE, checkout_sha=None, commits=[], total_commits_count=0
)
GITLAB_MERGE_REQUEST = _delivery(
    {
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "user": {"name": "Alice", "username": "alice"},
        "project": _GITLAB_PROJECT,
        "object_attributes": {
            "iid": 12,
            "title": "Sell by weight",
            "action": "open",
            "state": "opened",
            "source_branch": "weights",
            "target_branch": "main",
            "source_project_id": 15,
            "target_project_id": 15,
            "last_commit": {"id": AFTER, "message": "Weigh"},
            "merge_commit_sha": None,
        },
    },
    x_gitlab_event="Merge Request Hook",
    **_GITLAB_HEADERS,
)
GITLAB_MERGED = GITLAB_MERGE_REQUEST.having(
    object_attributes__action="merge", object_attributes__merge_commit_sha="99" * 20
)

# ---- Gitee ---------------------------------------------------------------------------------------
_GITEE_REPOSITORY = {
    "id": 31,
    "full_name": "shop/app",
    "path_with_namespace": "shop/app",
    "html_url": "https://gitee.com/shop/app",
    "git_http_url": "https://gitee.com/shop/app.git",
    "git_ssh_url": "git@gitee.com:shop/app.git",
}
_GITEE_COMMITS = [
    {**COMMITS[0], "removed": None, "modified": None},
    {**COMMITS[1], "added": None},
]
GITEE_PUSH = _delivery(
    {
        "hook_name": "push_hooks",
        "hook_id": 4,
        "timestamp": STAMP,
        "ref": "refs/heads/main",
        "before": BEFORE,
        "after": AFTER,
        "created": False,
        "deleted": False,
        "commits": _GITEE_COMMITS,
        "head_commit": _GITEE_COMMITS[-1],
        "total_commits_count": 2,
        "commits_more_than_ten": False,
        "repository": _GITEE_REPOSITORY,
        "sender": {"login": "alice", "name": "Alice"},
    },
    x_gitee_event="Push Hook",
    x_gitee_timestamp=STAMP,
)
GITEE_TAG = GITEE_PUSH.having(
    hook_name="tag_push_hooks", ref="refs/tags/v1.0", before=NONE, after=TAGGED, created=True,
    commits=[],
).titled(x_gitee_event="Tag Push Hook")  # fmt: skip
GITEE_DELETION = GITEE_PUSH.having(after=NONE, deleted=True, commits=[], head_commit=None)
GITEE_PULL_REQUEST = _delivery(
    {
        "hook_name": "merge_request_hooks",
        "timestamp": STAMP,
        "action": "open",
        "pull_request": {
            "number": 12,
            "title": "Sell by weight",
            "merge_commit_sha": None,
            "updated_at": "2025-10-09T16:53:20+08:00",
            "head": {"ref": "weights", "sha": AFTER, "repo": {"id": 31}},
            "base": {"ref": "main", "sha": BEFORE, "repo": {"id": 31}},
        },
        "repository": _GITEE_REPOSITORY,
        "sender": {"login": "alice"},
    },
    x_gitee_event="Merge Request Hook",
    x_gitee_timestamp=STAMP,
)
GITEE_MERGED = GITEE_PULL_REQUEST.having(
    action="merge", pull_request__merge_commit_sha="99" * 20
)  # fmt: skip

# ---- Codeup --------------------------------------------------------------------------------------
CODEUP_PUSH = _delivery(
    {
        "object_kind": "push",
        "before": BEFORE,
        "after": AFTER,
        "ref": "refs/heads/main",
        "user_name": "alice",
        "project_id": 15,
        "repository": {
            "name": "app",
            "url": "git@codeup.aliyun.com:shop/app.git",
            "homepage": "https://codeup.aliyun.com/shop/app",
            "git_http_url": "https://codeup.aliyun.com/shop/app.git",
        },
        "commits": [{"id": AFTER, "message": "Fix the build\n", "author": {"name": "Alice"}}],
        "total_commits_count": 1,
    },
    x_codeup_event="Push Hook",
)
CODEUP_TAG = CODEUP_PUSH.having(
    object_kind="tag_push", ref="refs/tags/v1.0", before=NONE
).titled(x_codeup_event="Tag Push Hook")  # fmt: skip
CODEUP_DELETION = CODEUP_PUSH.having(after=NONE, commits=[])

PUSHES = {
    "github": GITHUB_PUSH, "gitlab": GITLAB_PUSH, "gitee": GITEE_PUSH, "codeup": CODEUP_PUSH,
}  # fmt: skip
TAGS = {"github": GITHUB_TAG, "gitlab": GITLAB_TAG, "gitee": GITEE_TAG, "codeup": CODEUP_TAG}
DELETIONS = {
    "github": GITHUB_DELETION,
    "gitlab": GITLAB_DELETION,
    "gitee": GITEE_DELETION,
    "codeup": CODEUP_DELETION,
}
REQUESTS = {
    "github": GITHUB_PULL_REQUEST,
    "gitlab": GITLAB_MERGE_REQUEST,
    "gitee": GITEE_PULL_REQUEST,
}
MERGES = {"github": GITHUB_MERGED, "gitlab": GITLAB_MERGED, "gitee": GITEE_MERGED}
