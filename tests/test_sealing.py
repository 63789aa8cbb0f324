"""Sealed tokens: what was sealed comes back, and nothing else does."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.sealing import Sealer, UnsealError

SEALER = Sealer(b"k" * 32)
TOKEN = SEALER.seal(b"backend/name", "page", ["alice"])
contexts = st.lists(st.text(), max_size=3)


@given(content=st.binary(), purpose=st.text(), context=contexts)
def test_what_was_sealed_comes_back(content: bytes, purpose: str, context: list[str]) -> None:
    """Any bytes, the empty ones too, for any use; the token can stand in a URL."""
    token = SEALER.seal(content, purpose, context)
    assert set(token) <= {*string.ascii_letters, *string.digits, "-", "_"}
    assert SEALER.unseal(token, purpose, context) == content


def test_the_same_bytes_for_the_same_use_give_the_same_token() -> None:
    """A token can be an id."""
    assert Sealer(b"k" * 32).seal(b"backend/name", "page", ["alice"]) == TOKEN


@pytest.mark.parametrize(
    ("purpose", "context"),
    [
        ("task", ["alice"]),
        ("page", ["bob"]),
        ("page", []),
        ("page", ["alice", ""]),
        ("pagealice", []),
        ("page\ud800", ["alice"]),
    ],
)
def test_a_token_is_good_for_its_own_use_only(purpose: str, context: list[str]) -> None:
    """Another purpose or another context does not open it."""
    with pytest.raises(UnsealError):
        SEALER.unseal(TOKEN, purpose, context)


def test_a_token_of_another_key_is_refused() -> None:
    """Each gateway without a configured key has one of its own."""
    with pytest.raises(UnsealError):
        Sealer().unseal(TOKEN, "page", ["alice"])


@pytest.mark.parametrize(
    "token",
    [
        "",
        "A",
        "AAAA",
        "=",
        TOKEN + "=",
        TOKEN + "==",
        TOKEN + "A",
        TOKEN + "AAAA",
        TOKEN + "\n",
        " " + TOKEN,
        "é" + TOKEN[1:],
        "\ud800",
        "\0",
        "not a token",
        "x" * 100_000,
    ],
    ids=lambda token: ascii(token)[:30],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    """Empty, truncated, extended, non-ASCII: all are refused alike."""
    with pytest.raises(UnsealError):
        SEALER.unseal(token, "page", ["alice"])


@pytest.mark.parametrize("length", range(len(TOKEN)))
def test_a_truncated_token_is_refused(length: int) -> None:
    """At whatever place it was cut."""
    with pytest.raises(UnsealError):
        SEALER.unseal(TOKEN[:length], "page", ["alice"])


@given(
    content=st.binary(max_size=40),
    position=st.integers(min_value=0),
    character=st.sampled_from(string.ascii_letters + string.digits + "-_+/"),
)
def test_a_token_with_one_character_changed_is_refused(
    content: bytes, position: int, character: str
) -> None:
    """Each token has one spelling: even bits that base64 does not use may not differ."""
    token = SEALER.seal(content, "page")
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]
    if changed != token:
        with pytest.raises(UnsealError):
            SEALER.unseal(changed, "page")


def test_the_first_key_of_a_ring_seals_and_every_key_unseals() -> None:
    """So that keys can be replaced while replicas serve."""
    old, new = b"k" * 32, b"n" * 40
    ring = Sealer(new, old)
    assert ring.unseal(TOKEN, "page", ["alice"]) == b"backend/name"
    sealed = ring.seal(b"backend/name", "page", ["alice"])
    assert sealed == Sealer(new).seal(b"backend/name", "page", ["alice"]) != TOKEN


def test_a_key_is_long_enough() -> None:
    """A short one is refused at the start, wherever in the ring it is."""
    with pytest.raises(ValueError, match="32 random bytes"):
        Sealer(b"k" * 32, b"short")


def test_a_ring_says_whether_it_ends_with_the_process() -> None:
    """Its tokens do too, then."""
    assert Sealer().is_ephemeral
    assert not Sealer(b"k" * 32).is_ephemeral
