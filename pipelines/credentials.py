"""What each kind of service connection holds, and what of it can be right. No secret is repeated
in a refusal: refusals are shown, kept and logged."""

import re
from collections.abc import Mapping

from django.views.decorators.debug import sensitive_variables

from pipelines import kubeconfig
from pipelines.errors import Invalid
from pipelines.models import ConnectionKind

K = ConnectionKind

#: The secrets of each kind. The first of each is needed.
SECRETS: Mapping[str, tuple[str, ...]] = {
    K.GIT: ("password",),
    K.REGISTRY: ("password",),
    K.KUBERNETES: ("kubeconfig",),
    K.SSH: ("private_key", "passphrase"),
    K.S3: ("secret_key",),
}
#: What of each kind is no secret and may be shown.
SHOWN: Mapping[str, tuple[str, ...]] = {
    K.GIT: ("username",),
    K.REGISTRY: ("username",),
    K.KUBERNETES: (),
    K.SSH: ("username",),
    K.S3: ("access_key", "bucket", "region"),
}
#: Kinds whose secret goes to one host alone, which must be named.
WITH_HOST = frozenset({K.GIT, K.REGISTRY, K.S3})
#: Secrets that are files, with lines.
FILES = frozenset({"kubeconfig", "private_key"})
LONGEST_SECRET = 64 * 1024
LONGEST_SETTING = 200
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
PRIVATE_KEY = re.compile(r"^-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----\s")


@sensitive_variables()
def checked_secrets(kind: str, given: Mapping[str, str]) -> dict[str, str]:
    known = SECRETS[kind]
    if not given.keys() <= set(known):
        # Whoever mixes up name and value must not find the value in the answer.
        raise Invalid(f"Among the secrets is one with an unknown name. {_has(kind, known)}")
    checked = {key: _checked_secret(key, value) for key, value in given.items()}
    needed = known[0]
    if not checked.get(needed, "").strip():
        raise Invalid(f"A {kind} connection needs its {needed}.")
    return {key: value for key, value in checked.items() if value}


@sensitive_variables()
def _checked_secret(key: str, value: object) -> str:
    if not isinstance(value, str) or "\x00" in value or len(value) > LONGEST_SECRET:
        raise Invalid(f"The secret {key} is a text of at most {LONGEST_SECRET} characters.")
    if key not in FILES:
        if CONTROL.search(value):
            raise Invalid(f"The secret {key} has a line break or a control character in it.")
        return value
    # Browsers send CRLF, which neither ssh nor a YAML reader expects.
    text = value.replace("\r\n", "\n")
    if key == "private_key" and text.strip():
        text = text.strip() + "\n"
        if not PRIVATE_KEY.match(text):
            raise Invalid(
                "The secret private_key is no private key: such a file begins with a line like "
                "-----BEGIN OPENSSH PRIVATE KEY-----."
            )
    if key == "kubeconfig" and text.strip():
        # What no run could use is better said to whoever stores it.
        kubeconfig.parse(text)
    return text


def checked_settings(kind: str, given: Mapping[str, str]) -> dict[str, str]:
    known = SHOWN[kind]
    for key, value in given.items():
        if key not in known:
            raise Invalid(f"There is no setting “{key[:40]}”. {_has(kind, known)}")
        if not isinstance(value, str) or CONTROL.search(value) or len(value) > LONGEST_SETTING:
            raise Invalid(
                f"The setting {key} is a text of one line and at most {LONGEST_SETTING} characters."
            )
    return {key: value.strip() for key, value in given.items() if value.strip()}


def _has(kind: str, known: tuple[str, ...]) -> str:
    return f"A {kind} connection has: {', '.join(known) or 'none'}."
