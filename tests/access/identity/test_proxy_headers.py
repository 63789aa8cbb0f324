"""Headers in which a proxy names the caller, and headers in which anyone else does."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from lro_gateway.access.identity.proxy_headers import HeaderNames, ProxyHeaders
from lro_gateway.access.peer import keep_peer
from lro_gateway.errors import Code, StatusError
from lro_gateway.principal import Principal

NAMES = HeaderNames("X-Forwarded-User", "X-Tenant", "X-Groups", "X-Scopes", "X-Client")
PROXY = ("10.0.0.5", 40000)
KIND = ProxyHeaders(NAMES, [ipaddress.ip_network("10.0.0.0/24")], "proxy", 60, lambda: 1000.0)


def scope_of(peer: tuple[str, int] | None, *headers: tuple[str, str | bytes]) -> dict[str, Any]:
    """Return the scope of a request with these headers."""
    raw = [(k.lower().encode(), v if isinstance(v, bytes) else v.encode()) for k, v in headers]
    return {"client": peer, "headers": raw}


async def refused(scope: dict[str, Any]) -> tuple[str, str]:
    """Return the reason and the text of a refusal."""
    with pytest.raises(StatusError) as caught:
        await KIND.identify(scope)
    assert caught.value.code is Code.UNAUTHENTICATED
    return str(caught.value.reason), caught.value.message


async def test_a_header_of_the_proxy_names_the_caller() -> None:
    """Each part of the caller has a header. The identification ends after a while."""
    scope = scope_of(
        PROXY,
        ("X-Forwarded-User", "ana"),
        ("X-Tenant", "acme"),
        ("X-Groups", "oncall, data,,"),
        ("X-Scopes", "read  start"),
        ("X-Client", "portal"),
    )
    caller = await KIND.identify(scope)
    assert caller == Principal(
        "ana",
        "proxy",
        "acme",
        groups=frozenset(["oncall", "data"]),
        scopes=frozenset(["read", "start"]),
        client="portal",
    )
    assert caller is not None
    assert caller.expires == 1060


@pytest.mark.parametrize(
    "headers", [(), (("X-Forwarded-User", ""),), (("X-Groups", "oncall"),), (("X-Other", "ana"),)]
)
async def test_a_request_without_a_user_has_no_credentials(
    headers: tuple[tuple[str, str], ...],
) -> None:
    """A proxy may let everyone through, and an address of the proxy alone proves nothing."""
    assert await KIND.identify(scope_of(PROXY, *headers)) is None


@pytest.mark.parametrize(
    "peer", [("10.0.1.5", 1), ("127.0.0.1", 1), ("::1", 1), ("unknown", 0), ("", 0), None]
)
@pytest.mark.parametrize("header", ["X-Forwarded-User", "x-forwarded-user", "X-Groups", "X-Tenant"])
async def test_a_header_from_another_address_is_refused(
    peer: tuple[str, int] | None, header: str
) -> None:
    """A connection at a Unix socket has no address, so it is not the proxy's either."""
    reason, text = await refused(scope_of(peer, (header, "root")))
    assert reason == "PROXY_NOT_TRUSTED"
    assert "root" not in text
    assert "which auth.proxy.addresses does not name" in text


async def test_an_ipv4_address_on_a_socket_for_ipv6_is_the_same_address() -> None:
    """Such a socket shows `::ffff:10.0.0.5`."""
    assert await KIND.identify(scope_of(("::ffff:10.0.0.5", 1), ("X-Forwarded-User", "ana")))
    other = scope_of(("::ffff:10.0.1.5", 1), ("X-Forwarded-User", "ana"))
    assert (await refused(other))[0] == "PROXY_NOT_TRUSTED"


async def test_an_address_in_a_header_decides_nothing() -> None:
    """Forwarding replaces `client` by X-Forwarded-For, in which a client may write anything."""
    forged = scope_of(("192.0.2.1", 1), ("X-Forwarded-User", "root"))
    keep_peer(forged)
    forged["client"] = PROXY
    assert (await refused(forged))[0] == "PROXY_NOT_TRUSTED"
    true = scope_of(PROXY, ("X-Forwarded-User", "ana"))
    keep_peer(true)
    true["client"] = ("192.0.2.1", 0)
    caller = await KIND.identify(true)
    assert caller is not None
    assert caller.subject == "ana"


@pytest.mark.parametrize("header", ["X-Forwarded-User", "X-Groups"])
async def test_a_header_that_is_there_twice_is_refused(header: str) -> None:
    """One of the two may be the client's own, which the proxy has passed on."""
    twice = [("X-Forwarded-User", "ana"), (header, "root"), (header.upper(), "ana")]
    assert await refused(scope_of(PROXY, *twice)) == (
        "PROXY_HEADER_INVALID",
        f"the header {header} is there twice",
    )


@pytest.mark.parametrize("value", [b"a\xff", b"a\x00", b"a\x1b[2J", "a\u202eb", "x" * 4097])
async def test_a_value_that_is_no_plain_text_is_refused(value: str | bytes) -> None:
    """A name that looks like another one in a log must not identify a caller."""
    reason, text = await refused(scope_of(PROXY, ("X-Forwarded-User", value)))
    assert reason == "PROXY_HEADER_INVALID"
    assert "\x1b" not in text
