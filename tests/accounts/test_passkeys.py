"""Passkeys: made by the browser for this site, added and removed by whoever knows the password."""

import json
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client, override_settings

from accounts import passkeys
from accounts.models import Passkey, User
from accounts.passkeys import PasskeyRefused
from accounts.relying import RelyingParty, relying_party
from promotion.models import LedgerEntry
from tests.accounts.authenticator import PRESENT, Authenticator
from tests.cast import Cast
from tests.promotion.verifying import broken
from tests.world import nothing_changes


def begin(user: User, session: SessionStore, password: str = "") -> dict[str, Any]:
    return passkeys.begin(
        user, name="Key", password=password or f"{user.username}'s password", session=session
    )


def refused(user: User, credential: str, session: SessionStore, why: str) -> None:
    with nothing_changes(), pytest.raises(PasskeyRefused, match=why):
        passkeys.finish(user, credential, session=session)


# ---- Adding ------------------------------------------------------------------------------------
def test_ben_adds_a_passkey_and_the_ledger_says_whose_it_is(cast: Cast) -> None:
    key = Authenticator()
    made = key.register(cast.ben, " Yellow key ")
    assert (made.user, made.name, made.credential_id) == (
        cast.ben, "Yellow key", key.credential_id,
    )  # fmt: skip
    assert (made.sign_count, made.transports) == (1, ["usb"])
    assert list(Passkey.objects.usable_by(cast.ben)) == [made]
    entry = LedgerEntry.objects.get(type="passkey.added")
    said = json.loads(bytes(entry.body))
    assert said["actor"] == "ben"
    assert said["data"]["public_key"] == made.public_key
    assert broken() == {}


def test_nothing_is_begun_without_the_right_password(cast: Cast) -> None:
    session = SessionStore()
    with nothing_changes(), pytest.raises(PasskeyRefused, match="not your password"):
        begin(cast.ben, session, "ada's password")
    assert list(session.keys()) == []


def test_a_challenge_is_answered_once(cast: Cast) -> None:
    session, key = SessionStore(), Authenticator()
    answer = key.make(begin(cast.ben, session))
    passkeys.finish(cast.ben, answer, session=session)
    refused(cast.ben, answer, session, "not begun here")


def test_a_challenge_that_waited_too_long_is_not_answered(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, key = SessionStore(), Authenticator()
    monkeypatch.setattr(passkeys, "PATIENCE", -1)
    refused(cast.ben, key.make(begin(cast.ben, session)), session, "too long")


def test_the_challenge_of_another_session_is_not_answered(cast: Cast) -> None:
    mine, theirs, key = SessionStore(), SessionStore(), Authenticator()
    begin(cast.ben, mine)
    refused(cast.ben, key.make(begin(cast.cleo, theirs)), mine, "challenge")


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        ({"origin": "https://evil.example"}, "origin"),
        ({"rp_id": "evil.example"}, "RP ID"),
        ({"flags": PRESENT}, "verif"),
        ({"type": "webauthn.get"}, "type"),
        ({"challenge": "AAAA"}, "challenge"),
    ],
)
def test_a_key_made_for_something_else_is_not_added(
    lie: dict[str, Any], why: str, cast: Cast
) -> None:
    session = SessionStore()
    answer = Authenticator().make(begin(cast.ben, session), **lie)
    refused(cast.ben, answer, session, why)


@pytest.mark.parametrize(
    "answer", ["", "x", "[]", "{}", "[" * 60_000, '{"id": 1}', "x" * 200_000], ids=range(7)
)
def test_what_is_no_answer_of_a_browser_is_refused(answer: str, cast: Cast) -> None:
    session = SessionStore()
    begin(cast.ben, session)
    refused(cast.ben, answer, session, "Begin again")


def test_one_key_is_the_passkey_of_one_person(cast: Cast) -> None:
    key = Authenticator()
    key.register(cast.ben)
    session = SessionStore()
    refused(cast.cleo, key.make(begin(cast.cleo, session)), session, "known here already")


def test_there_is_an_end_to_how_many_one_has(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passkeys, "MOST", 1)
    Authenticator().register(cast.ben)
    with nothing_changes(), pytest.raises(PasskeyRefused, match="Remove one"):
        begin(cast.ben, SessionStore())
    Authenticator().register(cast.cleo)


# ---- Removing ----------------------------------------------------------------------------------
def test_ben_removes_his_passkey_and_its_row_stays(cast: Cast) -> None:
    made = Authenticator().register(cast.ben)
    removed = passkeys.remove(cast.ben, made.pk, password="ben's password")
    assert removed == made
    assert not Passkey.objects.usable_by(cast.ben).exists()
    assert Passkey.objects.get().removed_at is not None
    assert LedgerEntry.objects.filter(type="passkey.removed", actor=cast.ben).count() == 1
    assert broken() == {}
    with nothing_changes():
        assert passkeys.remove(cast.ben, made.pk, password="ben's password") is None


def test_nobody_removes_another_s_passkey_or_without_the_password(cast: Cast) -> None:
    made = Authenticator().register(cast.ben)
    with nothing_changes():
        assert passkeys.remove(cast.cleo, made.pk, password="cleo's password") is None
        with pytest.raises(PasskeyRefused, match="not your password"):
            passkeys.remove(cast.ben, made.pk, password="cleo's password")


# ---- The site ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "party"),
    [
        ("https://sluice.example.com", RelyingParty("sluice.example.com", "https://sluice.example.com")),
        ("https://Sluice.Example.com:443", RelyingParty("sluice.example.com", "https://sluice.example.com")),
        ("https://sluice.example.com:8443/x", RelyingParty("sluice.example.com", "https://sluice.example.com:8443")),
        ("http://localhost:8000", RelyingParty("localhost", "http://localhost:8000")),
        ("http://127.0.0.1:8000", RelyingParty("localhost", "http://localhost:8000")),
        ("http://[::1]:80", RelyingParty("localhost", "http://localhost")),
        ("http://sluice.example.com", None),
        ("https://10.0.0.7", None),
    ],
)  # fmt: skip
def test_a_site_is_known_by_its_domain(url: str, party: RelyingParty | None) -> None:
    with override_settings(SITE_URL=url):
        assert relying_party() == party


def test_where_no_browser_offers_passkeys_it_is_said_what_is_missing(cast: Cast) -> None:
    with override_settings(SITE_URL="http://sluice.example.com"):
        with nothing_changes(), pytest.raises(PasskeyRefused, match="SLUICE_URL"):
            begin(cast.ben, SessionStore())
        client = Client()
        client.force_login(cast.ben)
        assert b"as\n      SLUICE_URL" in client.get("/account/").content


# ---- The page ----------------------------------------------------------------------------------
def signed_in(user: User) -> Client:
    client = Client(headers={"host": "localhost:8000"})
    client.force_login(user)
    return client


def test_the_page_adds_lists_and_removes(cast: Cast) -> None:
    client, key = signed_in(cast.ben), Authenticator()
    assert "Add passkey" in client.get("/account/").content.decode()
    sent = {"name": "Yellow key", "password": "ben's password"}
    options = client.post("/account/passkeys/begin/", sent).json()
    answer = client.post(
        "/account/passkeys/finish/", {"credential": key.make(options)}, follow=True
    )
    assert "Yellow key" in answer.content.decode()
    assert "can sign your approvals" in answer.content.decode()
    made = Passkey.objects.get()
    address = f"/account/passkeys/{made.pk}/remove/"
    assert b"not your password" in client.post(address, {"password": "x"}, follow=True).content
    assert signed_in(cast.cleo).post(address, {"password": "cleo's password"}).status_code == 404
    assert made in Passkey.objects.usable_by(cast.ben)
    removed = client.post(address, {"password": "ben's password"}, follow=True)
    assert b"signs nothing any more" in removed.content
    assert not Passkey.objects.usable_by(cast.ben).exists()


def test_what_the_page_refuses_is_said(cast: Cast) -> None:
    client = signed_in(cast.ben)
    wrong = client.post("/account/passkeys/begin/", {"name": "x", "password": "y"})
    assert (wrong.status_code, wrong.json()["detail"][:24]) == (403, "That is not your passwor")
    assert client.post("/account/passkeys/begin/", {"name": ""}).status_code == 422
    assert client.get("/account/passkeys/begin/").status_code == 405
    without = client.post("/account/passkeys/finish/", {"name": "x"}, follow=True)
    assert b"needs a browser with scripts" in without.content
    assert not Passkey.objects.exists()


def test_the_page_names_the_address_at_which_passkeys_work(cast: Cast) -> None:
    client = Client(headers={"host": "127.0.0.1:8000"})
    client.force_login(cast.ben)
    page = client.get("/account/").content.decode()
    assert "http://localhost:8000/account/" in page
    assert "data-passkey-begin" not in page
