"""The settings for proxies are parsed, or refused with the reason."""

from __future__ import annotations

import ipaddress
import re

import pytest
from pydantic import ValidationError

from lro_gateway.config.models import ServerConfig
from lro_gateway.config.proxies import checked_prefix


@pytest.mark.parametrize(
    ("entry", "network"),
    [
        ("127.0.0.1", "127.0.0.1/32"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        (" ::1 ", "::1/128"),
        ("fd00::/8", "fd00::/8"),
    ],
)
def test_a_trusted_proxy_is_an_address_or_a_network(entry: str, network: str) -> None:
    """An address is a network of one address."""
    server = ServerConfig.model_validate({"trusted_proxies": [entry]})
    assert server.trusted_proxies == (ipaddress.ip_network(network),)


@pytest.mark.parametrize("entry", ["*", "nginx", "10.0.0.1/8", "10.0.0.256", "", 7, "unix:"])
def test_a_trusted_proxy_that_is_neither_is_refused(entry: object) -> None:
    """A host name is refused too, because the gateway compares the addresses of connections."""
    with pytest.raises(ValidationError, match="is neither an address nor a network"):
        ServerConfig.model_validate({"trusted_proxies": [entry]})


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("", ""), ("/", ""), ("lro", "/lro"), ("/lro/", "/lro"), ("/a/b-1.2_~", "/a/b-1.2_~")],
)
def test_a_prefix_gets_a_slash_at_its_start_and_none_at_its_end(text: str, prefix: str) -> None:
    """An empty prefix is no prefix."""
    assert checked_prefix(text) == prefix


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("/a//b", "is not a prefix of paths"),
        ("/a/../b", "is not a prefix of paths"),
        ("/<script>", "is not a prefix of paths"),
        ("/a b", "is not a prefix of paths"),
        ("https://gateway.test/lro", "is not a prefix of paths"),
        ("/v1", "looks like a version"),
    ],
)
def test_a_malformed_prefix_is_refused(text: str, problem: str) -> None:
    """The error has the reason."""
    with pytest.raises(ValueError, match=re.escape(problem)):
        checked_prefix(text)
