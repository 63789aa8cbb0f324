"""The table `[auth]`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lro_gateway.config.loading import ConfigError, load


def mistakes(file: Path) -> list[str]:
    """Return the mistakes of a file, without its name."""
    with pytest.raises(ConfigError) as caught:
        load(file)
    return [each.removeprefix(f"{file}: ") for each in caught.value.mistakes]


def test_without_the_table_nobody_is_identified(write: Callable[[str], Path]) -> None:
    """This is the default."""
    assert load(write("")).auth is None


def test_a_name_of_a_claim_may_be_alone_or_in_a_list(write: Callable[[str], Path]) -> None:
    """The address of the gateway may be that of its MCP endpoint."""
    file = write("""
        [auth]
        resource = "https://lro.acme.example/x/mcp/"
        [[auth.issuers]]
        issuer = "https://login.acme.example"
        audience = "api"
        claims = { tenant = "org_id", groups = ["groups", "realm_access.roles"] }
    """)
    auth = load(file).auth
    assert auth is not None
    (issuer,) = auth.issuers
    assert auth.resource == "https://lro.acme.example/x"
    assert auth.identifies_http
    assert (issuer.audience, issuer.claims.tenant) == (("api",), ("org_id",))
    assert issuer.claims.groups == ("groups", "realm_access.roles")


ISSUER = '[[auth.issuers]]\nissuer = "https://login.acme.example"\n'
NOTHING = (
    "auth: nothing identifies callers: add tokens, [[auth.issuers]], [auth.certificates],"
    " [auth.proxy] or [auth.stdio]"
)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("[auth]", NOTHING),
        ('[auth]\nresource = "https://a"', NOTHING),
        ("[[auth.issuers]]", "auth.issuers[0].issuer: is missing"),
        (
            '[[auth.issuers]]\nissuer = "http://login.acme.example"',
            "auth.issuers[0].issuer: a URL with https is needed; http is allowed only on loopback",
        ),
        (
            '[[auth.issuers]]\nissuer = "login.acme.example"',
            "auth.issuers[0].issuer: a URL is needed, such as https://login.acme.example",
        ),
        (
            '[[auth.issuers]]\nissuer = "https://a:secret@login.acme.example"',
            "auth.issuers[0].issuer: a URL with a user or a password is not allowed",
        ),
        (ISSUER + ISSUER, "auth: two issuers are https://login.acme.example; write one of them"),
        (
            ISSUER + 'algorithms = ["HS256"]',
            "'HS256' is not an algorithm of signatures by public keys; these are: RS256",
        ),
        (
            ISSUER + 'algorithms = ["none"]',
            "'none' is not an algorithm of signatures by public keys; these are: RS256",
        ),
        (ISSUER + 'jwks_file = "none.json"', "auth.issuers[0].jwks_file: there is no file"),
        (
            ISSUER + 'jwks_url = "https://a/b"\njwks_file = "gateway.toml"',
            "auth.issuers[0]: jwks_url and jwks_file cannot both be set; remove one of them",
        ),
        (
            ISSUER + "clock_skew = 30",
            'auth.issuers[0].clock_skew: the unit is missing: write "30s"',
        ),
        (
            ISSUER + "claims = { tenant = 1 }",
            "auth.issuers[0].claims.tenant: a list is needed, such as [...]",
        ),
        (ISSUER + 'claims = { tenants = "x" }', "there is no such key; did you mean tenant?"),
        (
            '[auth]\nscopes = ["offline_access"]\n' + ISSUER,
            "auth.scopes[0]: offline_access is a matter of the client",
        ),
        ('[auth]\nscopes = ["a b"]\n' + ISSUER, "auth.scopes[0]: 'a b' is not a scope"),
        ("[auth.stdio]", "auth.stdio.subject: is missing"),
        ('[auth]\ntoken = "x"\n' + ISSUER, "auth.token: there is no such key; did you mean tokens"),
    ],
)
def test_a_wrong_setting_is_a_mistake(
    text: str, mistake: str, write: Callable[[str], Path]
) -> None:
    """The text names the key and the cure, and has no password."""
    found = mistakes(write(text))
    assert any(mistake in each for each in found), found
    assert "secret" not in str(found)


MISSING = "auth.resource is missing; it is the public URL of the gateway"


@pytest.mark.parametrize(
    ("server", "more", "is_mistake"),
    [
        ("", "", False),
        ('host = "0.0.0.0"', "", True),
        ('host = "0.0.0.0"\nallowed_hosts = ["lro.acme.example"]', "", False),
        ('host = "0.0.0.0"\nallowed_hosts = ["*.acme.example"]', "", True),
        ('allowed_hosts = ["*.acme.example"]', "", True),
        ('host = "0.0.0.0"', 'audience = "api"', False),
    ],
)
def test_nobody_can_choose_the_audience_by_the_host_of_a_request(
    server: str, more: str, is_mistake: bool, write: Callable[[str], Path]
) -> None:
    """Otherwise a token for another service would be valid with the Host of that service."""
    file = write(f"[server]\n{server}\n{ISSUER}{more}")
    if is_mistake:
        assert any(MISSING in each for each in mistakes(file))
        file = write(f'[server]\n{server}\n[auth]\nresource = "https://a"\n{ISSUER}{more}')
    assert load(file).auth is not None


def test_an_identity_of_stdio_alone_identifies_nobody_over_http(
    write: Callable[[str], Path],
) -> None:
    """Then HTTP is as without the table."""
    auth = load(write('[auth.stdio]\nsubject = "agent"')).auth
    assert auth is not None
    assert not auth.identifies_http
