"""Secrets in a stream of text: no form of one comes through, however the stream is cut."""

import base64
import random
import secrets as tokens
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.masking import MASK, Masker

#: Characters of which no form of a secret below has any.
NOISE = "#;|<>\n\t~^"
SECRETS = st.text(
    st.characters(codec="utf-8", exclude_characters=NOISE, exclude_categories=["Z", "C"]),
    min_size=4,
    max_size=200,
)
NOISES = st.text(NOISE, max_size=20)


def base64_forms(data: bytes) -> list[str]:
    made = [base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()]
    return [*made, *(each.rstrip("=") for each in made)]


def forms(secret: str) -> list[str]:
    escaped = [quote(secret), quote(secret, safe=""), quote_plus(secret)]
    lower = [
        "".join(part.lower() if part[:1] == "%" else part for part in _split(each))
        for each in escaped
    ]
    return [secret, *escaped, *lower, *base64_forms(secret.encode())]


def _split(escaped: str) -> list[str]:
    made, at = [], 0
    while at < len(escaped):
        size = 3 if escaped[at] == "%" else 1
        made.append(escaped[at : at + size])
        at += size
    return made


def cores(secret: str) -> list[str]:
    """What of base64 does not depend on what stands before and after the secret."""
    data = secret.encode()
    made = []
    for before in range(3):
        low = base64.b64encode(b"\x00" * before + data + b"\x00" * 3).decode()
        high = base64.b64encode(b"\xff" * before + data + b"\xff" * 3).decode()
        same = [a == b for a, b in zip(low, high, strict=False)]
        first = same.index(True)
        last = same.index(False, first) if False in same[first:] else len(same)
        made += [low[first:last], low[first:last].replace("+", "-").replace("/", "_")]
    return made


def masked(masker: Masker, pieces: list[str]) -> str:
    return "".join([masker.feed(piece) for piece in pieces]) + masker.finish()


def cut(text: str, places: list[int]) -> list[str]:
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


@given(
    st.lists(SECRETS, min_size=1, max_size=4),
    st.data(),
    NOISES,
    st.lists(st.integers(0, 10**6), max_size=12),
)
def test_every_form_is_hidden_and_the_rest_stays_however_the_text_is_cut(
    given_secrets: list[str], data: st.DataObject, before: str, places: list[int]
) -> None:
    text, expected = before, before
    for secret in given_secrets:
        between = data.draw(st.text(NOISE, min_size=1, max_size=9))
        text += data.draw(st.sampled_from(forms(secret))) + between
        expected += MASK + between
    masker = Masker(given_secrets)
    assert masked(masker, cut(text, places)) == expected


@given(SECRETS, st.binary(max_size=9), st.binary(max_size=9), st.lists(st.integers(0, 10**6)))
def test_a_secret_inside_of_base64_is_hidden_wherever_it_begins(
    secret: str, before: bytes, after: bytes, places: list[int]
) -> None:
    for text in base64_forms(before + secret.encode() + after):
        shown = masked(Masker([secret]), cut(text, places))
        assert MASK in shown
        assert not [core for core in cores(secret) if core in shown]


@given(SECRETS, st.text(max_size=300), st.lists(st.integers(0, 10**6)))
def test_cutting_changes_nothing_of_any_text(secret: str, text: str, places: list[int]) -> None:
    text = text[:100] + secret[:-1] + text[100:] + secret[:2]
    assert masked(Masker([secret]), cut(text, places)) == masked(Masker([secret]), [text])


@given(st.text(), st.lists(st.integers(0, 10**6)))
def test_a_text_without_a_secret_stays_as_it_is(text: str, places: list[int]) -> None:
    secret = "\N{SNOWMAN}" * 9
    if secret not in text:
        assert masked(Masker([secret]), cut(text, places)) == text


@pytest.mark.parametrize("offset", range(80))
def test_base64_that_is_broken_into_lines_hides_nearly_all_of_it(offset: int) -> None:
    secret = "correct-horse-battery-staple-and-some-more-of-it-to-fill-two-lines-of-base64"
    text = base64.encodebytes(b"x" * offset + secret.encode() + b"y" * 9).decode()
    shown = masked(Masker([secret]), [text])
    assert shown.count("\n") == text.count("\n")
    joined = shown.replace("\n", "")
    for core in cores(secret):
        assert not [at for at in range(len(core) - 8) if core[at : at + 8] in joined]


# ---- Examples ----------------------------------------------------------------------------------
def test_the_longer_of_two_secrets_goes_first_and_touching_ones_share_a_mask() -> None:
    assert masked(Masker(["pass", "password"]), ["a passw", "ord b pass c"]) == "a *** b *** c"
    assert masked(Masker(["abcd", "wxyz"]), ["-abcdwxyz-"]) == "-***-"


@pytest.mark.parametrize("secret", ["", "a", "abc", "  abc\n", "a\nb\nc\n", "short\nlines\n"])
def test_a_secret_that_is_too_short_is_said_to_be_so(secret: str) -> None:
    masker = Masker()
    assert not masker.add(secret)
    assert masked(masker, ["abc a short lines"]) == "abc a short lines"


def test_a_secret_may_be_added_while_text_flows() -> None:
    masker = Masker(["first-one"])
    made = masker.feed("first-one second")
    assert masker.add("second-one")
    assert made + masker.feed("-one, second-one, first-") + masker.finish() == (
        "*** second-one, ***, first-"
    )


def test_little_is_held_back_and_no_line_that_is_at_its_end() -> None:
    masker = Masker(["correct-horse-battery-staple" * 50])
    for nth in range(1000):
        line = f"{nth} an ordinary line of output\n"
        assert masker.feed(line) == line
    assert masker.feed("see correct-horse") == "see "
    assert masker.feed(" is no secret\n") == "correct-horse is no secret\n"
    made = masker.feed("c" * 100_000)
    assert len(made) > 99_000


PEM = "\n".join(
    ["-----BEGIN PRIVATE KEY-----"]
    + [base64.b64encode(random.Random(nth).randbytes(48)).decode() for nth in range(20)]
    + ["-----END PRIVATE KEY-----", ""]
)


@pytest.mark.parametrize("made_of", [PEM, PEM.replace("\n", "\r\n"), PEM.replace("\n", "\\n")])
def test_a_private_key_is_hidden_line_by_line(made_of: str) -> None:
    shown = masked(Masker([PEM]), ["  ", made_of, "!"])
    assert set(shown) <= {"*", "\r", "\n", "\\", "n", " ", "!"}
    lines = PEM.splitlines()
    assert masked(Masker([PEM]), [f"one {lines[3]} only"]) == "one *** only"
    encoded = masked(Masker([PEM]), [base64.b64encode(b"k: " + PEM.encode()).decode()])
    for core in [core for line in lines for core in cores(line)]:
        assert core not in encoded


def test_values_of_a_kubeconfig_and_of_a_json_key_are_hidden_without_their_names() -> None:
    kubeconfig = "users:\n- name: u\n  user:\n    token: eyJhbGciOi.JSUzI1\n    client: {}\n"
    account = '{\n  "type": "x",\n  "private_key": "-----BEGIN-----\\nMIIEvQIBAD\\n"\n}'
    masker = Masker([kubeconfig, account])
    text = "token is eyJhbGciOi.JSUzI1, key is -----BEGIN-----\nMIIEvQIBAD\n"
    assert masked(masker, [text]) == "token is ***, key is ***\n***\n"


def test_the_signature_of_a_link_is_hidden_though_nobody_told() -> None:
    text = "GET https://x/download/?signature=1sXyZ:abc-def_9%3D HTTP/1.1\nsignature=\n"
    for size in (1, 7, 1000):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert masked(Masker(), pieces) == (
            "GET https://x/download/?signature=*** HTTP/1.1\nsignature=\n"
        )


def test_many_long_secrets_are_taken_in_and_looked_for_together() -> None:
    many = [tokens.token_urlsafe(300) for _ in range(50)]
    shown = masked(Masker(many), ["\n".join(many), "\nthe end\n"])
    assert shown == "***\n" * 50 + "the end\n"
