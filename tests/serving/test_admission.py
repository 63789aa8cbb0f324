"""The hosts and origins that a gateway accepts, without a request."""

from __future__ import annotations

import pytest

from lro_gateway.config.models import ServerConfig
from lro_gateway.serving.admission import Admission


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("https://gateway.test", "gateway.test", True),
        ("https://gateway.test", "gateway.test:443", True),
        ("http://gateway.test", "gateway.test:443", False),
        ("https://gateway.test:8443", "Gateway.test:8443", True),
        ("https://gateway.test:8443", "gateway.test", False),
        ("https://evil.test", "gateway.test", False),
        ("null", "gateway.test", False),
        ("https://gateway.test", "", False),
    ],
)
def test_the_origin_of_the_gateway_is_the_one_with_its_host(
    origin: str, host: str, own: bool
) -> None:
    """The default port of the origin's scheme may be missing in either."""
    assert Admission(ServerConfig(host="192.0.2.1")).is_own(origin, host) is own


def test_without_allowed_hosts_every_host_is_allowed_beyond_loopback() -> None:
    """On loopback the names of loopback are allowed, and the address of the server."""
    assert Admission(ServerConfig(host="192.0.2.1")).allows_host("\x00")
    loopback = Admission(ServerConfig(host="127.0.0.5"))
    assert loopback.allows_host("127.0.0.5:80")
    assert not loopback.allows_host("127.0.0.6")
    assert loopback.is_local("localhost:1")
    assert not loopback.is_local("127.0.0.1@evil.test")
