"""What the gateway counts as one client."""

from __future__ import annotations

import ipaddress

import pytest

from lro_gateway.serving.addresses import counted_as, is_in


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_a_client_is_an_address_or_a_network(host: str, counted: str) -> None:
    """A proxy may report any text as the client."""
    assert counted_as(host) == counted


def test_a_trusted_proxy_is_found_in_both_forms_of_its_address() -> None:
    """A socket for IPv6 shows an IPv4 address in another form."""
    networks = [ipaddress.ip_network("10.0.0.0/8")]
    assert is_in("10.1.2.3", networks)
    assert is_in("::ffff:10.1.2.3", networks)
    assert not is_in("11.0.0.1", networks)
    assert not is_in("unknown", networks)
