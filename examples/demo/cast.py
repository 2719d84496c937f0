"""The people of the demo: made once, with passwords that only this machine's demo.json knows."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from django.contrib.auth.models import Group

from accounts import tokens
from accounts.models import Role, Token, User

TOKEN_NAME = "demo"
TEAM = "greeter"


@dataclass(frozen=True, slots=True)
class Member:
    username: str
    password: str
    token: str
    roles: list[str]


ROLES: dict[str, list[Role]] = {
    "ada": [Role.DEVELOPER],
    "ben": [Role.RELEASE_MANAGER],
    "cleo": [Role.RELEASE_MANAGER],
    "dora": [Role.AUDITOR],
    "admin": [Role.OPERATOR],
    "production": [Role.DEPLOYER],
}
MACHINES = {"production"}


def gather(file: Path, url: str) -> dict[str, Member]:
    """Make the cast or find it again, and write `file` with their sign-ins for people to use."""
    known = _known_passwords(file)
    cast = {name: _member(name, roles, known.get(name, "")) for name, roles in ROLES.items()}
    text = json.dumps({"url": url, "users": [asdict(each) for each in cast.values()]}, indent=2)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text + "\n")
    return cast


def _known_passwords(file: Path) -> dict[str, str]:
    try:
        users = json.loads(file.read_text(encoding="utf-8"))["users"]
        return {user["username"]: user["password"] for user in users}
    except (OSError, ValueError, KeyError):
        return {}


def _member(name: str, roles: list[Role], password: str) -> Member:
    is_machine = name in MACHINES
    user, _ = User.objects.get_or_create(username=name)
    user.roles = [role.value for role in roles]
    user.is_machine = is_machine
    user.is_staff = user.is_superuser = name == "admin"
    if is_machine:
        user.set_unusable_password()
    else:
        password = password or secrets.token_urlsafe(9)
        if not user.check_password(password):
            user.set_password(password)
    user.save()
    if not is_machine:
        # Service connections belong to teams.
        user.groups.add(Group.objects.get_or_create(name=TEAM)[0])
    # A token is shown once, so each demo issues new ones in place of the last demo's.
    Token.objects.filter(user=user, name=TOKEN_NAME).delete()
    _, secret = tokens.issue(user, name=TOKEN_NAME)
    return Member(name, "" if is_machine else password, secret, [role.value for role in roles])
