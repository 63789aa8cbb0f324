"""What the gateway counts as one client."""

from __future__ import annotations

import pytest

from lro_gateway.serving.addresses import counted_as


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
