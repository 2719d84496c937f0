"""Talking to one registry: its paths, its logins, and what its refusals mean."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlencode, urljoin, urlsplit

from pipelines import outbound
from pipelines.errors import BadRequest, Unreachable
from pipelines.registry.naming import HUB, HUB_API, Credentials, CredentialsRefused, is_plain

MAX_MANIFEST = 4 * 1024 * 1024
CHALLENGE = re.compile(r'\b(?P<key>realm|service|scope)="(?P<value>[^"]*)"', re.I)
LINK = re.compile(r'<(?P<url>[^>]*)>\s*;[^,]*\brel="?next"?', re.I)
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Talk:
    """Questions to one registry about one repository, with one login for all of them.

    It asks for the right to read alone, unless `push` says that it will write. `mounting` names
    another repository of the same registry whose blobs are to be taken over.
    """

    def __init__(
        self,
        host: str,
        repository: str,
        credentials: Credentials | None,
        *,
        push: bool = False,
        mounting: str = "",
    ) -> None:
        self.host = host
        self.repository = repository
        self._credentials = credentials
        self._scopes = []
        if repository:
            self._scopes.append(f"repository:{repository}:{'pull,push' if push else 'pull'}")
        if mounting:
            self._scopes.append(f"repository:{mounting}:pull")
        scheme = "http" if is_plain(host) else "https"
        self._base = f"{scheme}://{HUB_API if host == HUB else host}"
        self._auth: outbound.Auth | None = None
        # A token that was taken once may have run out; one that never was, is not asked for again.
        self._was_taken = False

    @property
    def name(self) -> str:
        return f"{self.host}/{self.repository}"

    # ---- Ask -------------------------------------------------------------------------------------
    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes = b"",
    ) -> outbound.Answer:
        """Ask with the login that the registry wants; CredentialsRefused where it does not help."""
        # A question is answered at once or not at all, however slowly the bytes of its answer drip.
        with self.open(method, path, headers, body=body, seconds=outbound.SECONDS) as streamed:
            return outbound.Answer(streamed.status, streamed.headers, streamed.read(MAX_MANIFEST))

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes | Iterable[bytes] = b"",
        length: int | None = None,
        seconds: float = outbound.STREAM_SECONDS,
    ) -> Iterator[outbound.Streamed]:
        """Like `ask`, but bytes go and come as a stream. A body that is no bytes is sent once: log
        in before, by asking for something else."""
        url = f"{self._base}{path}"
        is_repeatable = isinstance(body, bytes)
        while True:
            with outbound.open(
                method,
                url,
                headers=headers,
                auth=self._auth,
                body=body,
                length=length,
                seconds=seconds,
            ) as streamed:
                if streamed.status != 401 or not (self._may_log_in and is_repeatable):
                    if streamed.status in {401, 403}:
                        raise self._refused()
                    self._was_taken = True
                    yield streamed
                    return
                challenge = streamed.headers.get("www-authenticate", "")
            self._was_taken = False
            self._auth = self._answered(challenge)

    @property
    def _may_log_in(self) -> bool:
        return self._auth is None or self._was_taken

    @contextmanager
    def open_elsewhere(
        self, path: str, *, seconds: float = outbound.STREAM_SECONDS
    ) -> Iterator[outbound.Streamed]:
        """GET what the registry may keep at another host. It is followed there once, without the
        login, and never from https to http."""
        with self.open("GET", path, seconds=seconds) as streamed:
            if streamed.status not in REDIRECTS:
                yield streamed
                return
            url = urljoin(f"{self._base}{path}", streamed.headers.get("location", ""))
        if self._base.startswith("https:") and not url.lower().startswith("https:"):
            where = url.partition("?")[0][:200]
            raise Unreachable(f"{self.host} sends its clients from https to {where}.")
        with outbound.open("GET", url, seconds=seconds) as streamed:
            yield streamed

    # ---- Read the answers ------------------------------------------------------------------------
    def require_ok(self, answer: outbound.Answer | outbound.Streamed, what: str) -> None:
        if answer.status == 429:
            raise Unreachable(f"{self.host} asks to be left alone for a while. Try again later.")
        if answer.status != 200:
            raise Unreachable(
                f"{self.host} answered HTTP {answer.status} when asked for {what}. Check that it "
                "is a registry of images and that it is well."
            )

    def require_done(self, answer: outbound.Answer, what: str, *statuses: int) -> None:
        """Refuse unless the registry took what was sent, with what it says about it."""
        if answer.status not in statuses:
            raise Unreachable(
                f"{self.name} did not take {what}: HTTP {answer.status}{_said(answer.body)}. Check "
                "that it is a registry of images, that it is well and has room."
            )

    def next_page(self, path: str, answer: outbound.Answer) -> str:
        """The path of the page after this one, or an empty text. It lies on the same registry."""
        link = LINK.search(answer.headers.get("link", ""))
        return "" if link is None else self._here(path, link["url"], "continues its list")

    def located(self, path: str, answer: outbound.Answer) -> str:
        """The path to which the registry wants an upload sent. It lies on the same registry."""
        location = answer.headers.get("location", "")
        return self._here(path, location, "wants what is uploaded")

    def _here(self, path: str, link: str, does: str) -> str:
        url = urljoin(f"{self._base}{path}", link)
        try:
            is_here = bool(link) and outbound.origin_of(url) == outbound.origin_of(self._base)
        except BadRequest:
            is_here = False
        if not is_here:
            # What follows the question mark may let its bearer in, so it is not shown.
            raise Unreachable(f"{self.host} {does} on another host: {url.partition('?')[0][:200]}.")
        parts = urlsplit(url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    # ---- Log in ----------------------------------------------------------------------------------
    def _answered(self, challenge: str) -> outbound.Auth:
        """What to send after the registry asked who we are."""
        kind = challenge.partition(" ")[0].lower()
        if kind == "bearer":
            return outbound.bearer(self._base, self._token(challenge))
        if kind != "basic" or self._credentials is None:
            raise self._refused()
        return outbound.basic(self._base, self._credentials.username, self._credentials.password)

    def _token(self, challenge: str) -> str:
        """Fetch a token from where the registry sends us (its realm).

        The realm is often another host, so whoever writes the challenge says where the password
        goes. The rule: the challenge must have come by https, whose certificate names the registry,
        or from a network that an operator opened and so answers for; `is_plain` sees to that, since
        nothing else is ever spoken to by http. A registry that turned evil learns nothing new: the
        password is its own. The realm is called by the same client as all else, so it too must be
        https, or lie in an opened network, before credentials are sent there, and it may lead
        inward only where an operator said so.
        """
        asked = {each["key"].lower(): each["value"] for each in CHALLENGE.finditer(challenge)}
        realm = asked.get("realm", "")
        # No more than is needed is asked for, whatever scope the challenge would have us take.
        query = [("service", asked.get("service", ""))]
        query += [("scope", scope) for scope in self._scopes]
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
        auth = None
        if self._credentials is not None:
            pair = self._credentials
            auth = outbound.basic(realm, pair.username, pair.password)
        answer = outbound.request("GET", url, auth=auth)
        if answer.status in {400, 401, 403}:
            raise self._refused()
        self.require_ok(answer, f"a token at {realm}")
        found = answer.json()
        token = found.get("token") or found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(token, str) or not token:
            raise Unreachable(f"{self.host}: {realm} answered without a token.")
        return token

    def _refused(self) -> CredentialsRefused:
        what = f" for “{self.repository}”" if self.repository else ""
        if self._credentials is None:
            return CredentialsRefused(
                f"{self.host} wants credentials{what}, and none were given. Name a service "
                "connection of this registry."
            )
        return CredentialsRefused(
            f"{self.host} does not take the credentials of “{self._credentials.username}”{what}. "
            "Check the user, the password and their rights in the service connection."
        )


def _said(body: bytes) -> str:
    """What a registry wrote of its refusal, as far as it is text of the form they all use."""
    found = re.search(rb'"message"\s*:\s*"([^"\\]{1,200})', body[:4096])
    text = found[1].decode("utf-8", "replace") if found else ""
    return f" ({text})" if text.isprintable() and text else ""
