"""What a connection tells of its peer."""

from __future__ import annotations

import ipaddress
from typing import Any

from lro_gateway.access.peer import CERTIFICATE_KEY, certificate_of, is_in, keep_peer, peer_of


def test_the_address_of_the_connection_stays_when_a_proxy_names_the_client() -> None:
    """A client may send X-Forwarded-For too, so it must not decide who is trusted."""
    scope: dict[str, Any] = {"client": ("192.0.2.1", 40000)}
    assert peer_of(scope) == "192.0.2.1"
    keep_peer(scope)
    scope["client"] = ("198.51.100.7", 0)
    assert peer_of(scope) == "192.0.2.1"


def test_a_peer_at_a_unix_socket_has_no_address_and_may_get_none_by_a_header() -> None:
    """The scope of such a connection has no client."""
    scope: dict[str, Any] = {"client": None}
    assert peer_of(scope) == ""
    keep_peer(scope)
    scope["client"] = ("127.0.0.1", 0)
    assert peer_of(scope) == ""


def test_only_the_connection_names_a_certificate() -> None:
    """A header cannot."""
    headers = [(b"x-client-cert", b"MIIB"), (CERTIFICATE_KEY.encode(), b"MIIB")]
    assert certificate_of({"headers": headers}) is None
    assert certificate_of({CERTIFICATE_KEY: b"der"}) == b"der"


def test_a_trusted_proxy_is_found_in_both_forms_of_its_address() -> None:
    """A socket for IPv6 shows an IPv4 address in another form."""
    networks = [ipaddress.ip_network("10.0.0.0/8")]
    assert is_in("10.1.2.3", networks)
    assert is_in("::ffff:10.1.2.3", networks)
    assert not is_in("11.0.0.1", networks)
    assert not is_in("unknown", networks)
