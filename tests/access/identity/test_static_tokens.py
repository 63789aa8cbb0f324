"""Static tokens: the file has hashes, and is read again when it changes."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from lro_gateway.access.identity.static_tokens import (
    ISSUER,
    StaticTokens,
    TokensError,
    new_token,
    read_tokens,
)
from lro_gateway.errors import StatusError
from lro_gateway.principal import Principal


def reason(tokens: StaticTokens, token: str) -> str | None:
    """Return the reason why a token is refused."""
    with pytest.raises(StatusError) as caught:
        tokens.principal(token)
    assert token not in str(caught.value) or not token
    return caught.value.reason


def test_the_file_has_only_the_hash(tmp_path: Path) -> None:
    """The line can be read back, whatever characters the names have."""
    token, entry = new_token(
        'c"i\\\u00e9', tenant="infra", groups=["b", "a"], scopes=["read"], expires=2e9
    )
    file = tmp_path / "tokens.toml"
    file.write_text(entry.line + "\n")
    assert token.split("_", 2)[2] not in file.read_text()
    assert token not in repr(entry)
    tokens = StaticTokens(file)
    assert len(tokens) == 1
    assert tokens.principal(token) == Principal(
        'c"i\\\u00e9',
        ISSUER,
        "infra",
        groups=frozenset({"a", "b"}),
        scopes=frozenset({"read"}),
    )
    assert tokens.principal(token).expires == 2e9
    (line,) = tomllib.loads(entry.line).values()
    assert line["expires"].isoformat() == "2033-05-18T03:33:20+00:00"


def test_a_wrong_token_is_refused(tmp_path: Path) -> None:
    """This holds for another secret of the same id too."""
    (token, entry), (other, _) = new_token("a"), new_token("a")
    file = tmp_path / "tokens.toml"
    file.write_text(entry.line)
    tokens = StaticTokens(file)
    id_ = token.split("_")[1]
    for wrong in (
        other,
        f"lro_{id_}_{other.split('_', 2)[2]}",
        token + "x",
        token[:-1],
        "lro_",
        "",
    ):
        assert reason(tokens, wrong) == "TOKEN_UNKNOWN"


def test_a_token_ends(tmp_path: Path) -> None:
    """It is valid before its end, and not at its end."""
    token, entry = new_token("a", expires=1000.0)
    file = tmp_path / "tokens.toml"
    file.write_text(entry.line)
    assert StaticTokens(file, clock=lambda: 999.0).principal(token).subject == "a"
    assert reason(StaticTokens(file, clock=lambda: 1000.0), token) == "TOKEN_EXPIRED"


def write(file: Path, text: str, version: int) -> None:
    """Write a file, with a time of its own."""
    file.write_text(text)
    os.utime(file, (version, version))


def test_the_file_is_read_again_when_it_has_changed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake in it leaves the last tokens valid, and a removed file leaves none."""
    (first, one), (second, two) = new_token("a"), new_token("b")
    file, now = tmp_path / "tokens.toml", [0.0]
    write(file, one.line, 1)
    tokens = StaticTokens(file, ticks=lambda: now[0])
    write(file, two.line, 2)
    assert tokens.principal(first).subject == "a"
    now[0] += 1.0
    assert tokens.principal(second).subject == "b"
    assert reason(tokens, first) == "TOKEN_UNKNOWN"
    write(file, "broken", 3)
    now[0] += 1.0
    assert tokens.principal(second).subject == "b"
    assert "the changed file of tokens is not used" in caplog.text
    file.unlink()
    now[0] += 1.0
    assert reason(tokens, second) == "TOKEN_UNKNOWN"
    assert "does not exist any more" in caplog.text
    write(file, one.line, 4)
    now[0] += 1.0
    assert tokens.principal(first).subject == "a"


HASH = 'hash = "sha256:' + "0" * 64 + '"'


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("broken", "is not TOML"),
        ("[tokens]", "'tokens' is no entry of a token"),
        ("abcdefgh = 1", "'abcdefgh' is no entry of a token"),
        ("lro_abcdefgh_secret = 1", "a token itself is no name of an entry; append the second"),
        (f'abcdefgh = {{ {HASH}, subject = "a", name = "x" }}', "abcdefgh.name: there is no such"),
        ('abcdefgh = { hash = "secret", subject = "a" }', "abcdefgh.hash: a text such as sha256:"),
        (f"abcdefgh = {{ {HASH} }}", "abcdefgh.subject: text in quotes"),
        (f'abcdefgh = {{ {HASH}, subject = "a", tenant = 1 }}', "abcdefgh.tenant: text in quotes"),
        (f'abcdefgh = {{ {HASH}, subject = "a", scopes = "r" }}', "abcdefgh.scopes: a list of"),
        (
            f'abcdefgh = {{ {HASH}, subject = "a", expires = 2030-01-01 }}',
            "abcdefgh.expires: a time",
        ),
        (
            f'abcdefgh = {{ {HASH}, subject = "a", expires = 2030-01-01T00:00:00 }}',
            "abcdefgh.expires: a time with an offset",
        ),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, mistake: str, tmp_path: Path) -> None:
    """The text has no token, which somebody may have written there by mistake."""
    file = tmp_path / "tokens.toml"
    file.write_text(text)
    with pytest.raises(TokensError) as caught:
        read_tokens(file)
    assert mistake in str(caught.value)
    assert "secret" not in str(caught.value)
