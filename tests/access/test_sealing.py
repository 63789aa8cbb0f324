"""Sealed tokens: sealed bytes can be unsealed, and any other token is refused."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lro_gateway.access.sealing import Sealer, UnsealError

SEALER = Sealer(b"k" * 32)
TOKEN = SEALER.seal(b"backend/name", "page", ["alice"])
contexts = st.lists(st.text(), max_size=3)


@given(content=st.binary(), purpose=st.text(), context=contexts)
def test_sealed_bytes_can_be_unsealed(content: bytes, purpose: str, context: list[str]) -> None:
    """This holds for any bytes, purpose and context. The token has only URL-safe characters."""
    token = SEALER.seal(content, purpose, context)
    assert set(token) <= {*string.ascii_letters, *string.digits, "-", "_"}
    assert SEALER.unseal(token, purpose, context) == content


def test_equal_bytes_purpose_and_context_give_equal_tokens() -> None:
    """A token can therefore be an id."""
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
def test_a_token_is_valid_only_for_its_purpose_and_context(
    purpose: str, context: list[str]
) -> None:
    """Another purpose or another context does not unseal it."""
    with pytest.raises(UnsealError):
        SEALER.unseal(TOKEN, purpose, context)


def test_a_token_of_another_key_is_refused() -> None:
    """Each gateway without a configured key makes its own key."""
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
def test_a_text_that_is_no_token_is_refused(token: str) -> None:
    """Empty, extended and non-ASCII texts raise the same error."""
    with pytest.raises(UnsealError):
        SEALER.unseal(token, "page", ["alice"])


@pytest.mark.parametrize("length", range(len(TOKEN)))
def test_a_truncated_token_is_refused(length: int) -> None:
    """This holds for every length."""
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
    """This includes changes of bits that base64 does not use."""
    token = SEALER.seal(content, "page")
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]
    if changed != token:
        with pytest.raises(UnsealError):
            SEALER.unseal(changed, "page")


def test_the_first_key_of_a_ring_seals_and_every_key_unseals() -> None:
    """Keys can therefore be replaced while replicas serve."""
    old, new = b"k" * 32, b"n" * 40
    ring = Sealer(new, old)
    assert ring.unseal(TOKEN, "page", ["alice"]) == b"backend/name"
    sealed = ring.seal(b"backend/name", "page", ["alice"])
    assert sealed == Sealer(new).seal(b"backend/name", "page", ["alice"]) != TOKEN


def test_a_key_that_is_too_short_is_refused() -> None:
    """This holds for every key of the ring."""
    with pytest.raises(ValueError, match="32 random bytes"):
        Sealer(b"k" * 32, b"short")


def test_a_ring_shows_whether_its_key_was_made_for_this_process() -> None:
    """The tokens of such a key are not valid after the process ends."""
    assert Sealer().is_ephemeral
    assert not Sealer(b"k" * 32).is_ephemeral
