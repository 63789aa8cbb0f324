"""The addresses to which a delivery may connect."""

from __future__ import annotations

import pytest

from lro_gateway.deliveries.addresses import AddressFilter, address_of, is_public, parse_address


@pytest.mark.parametrize("text", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_address_is_allowed(text: str) -> None:
    """So is one of IPv4 in the form of IPv6."""
    assert is_public(parse_address(text))


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
        *("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.1"),
        *("224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "192.88.99.1"),
        *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "2001:db8::1"),
        *("::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
        *("2002:7f00:1::", "2001:0:1::1", "::7f00:1", "64:ff9b:1::1", "::ffff:0:127.0.0.1"),
        *("100:0:0:1::1", "1::1", "3fff::1", "4000::1", "5f00::1", "8000::1"),
    ],
)
def test_any_other_address_is_refused(text: str) -> None:
    """Private, loopback, link-local, multicast, metadata and reserved addresses are not public.

    Nor are addresses of IPv6 that stand for one of these, or for a relay.
    """
    assert not is_public(parse_address(text))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        *((each, "127.0.0.1") for each in ("127.0.0.1", "127.1", "2130706433", "0x7f000001")),
        *((each, "127.0.0.1") for each in ("0177.0.0.1", "017700000001", "0x7f.0.1", "127.0.1")),
        *((each, "::1") for each in ("::1", "::1%25eth0", "0:0:0:0:0:0:0:1")),
        *((each, None) for each in ("hooks.example", "localhost", "a1", "127.0.0.1.example", "")),
    ],
)
def test_a_host_is_an_address_in_each_form_of_a_resolver(host: str, address: str | None) -> None:
    """All others are names."""
    found = address_of(host)
    assert (None if found is None else str(found)) == address


def test_one_allowed_address_allows_no_other() -> None:
    """Not the next one, not one of its network, and not another loopback address."""
    only = AddressFilter([parse_address("10.0.0.5")])
    allowed = [
        text
        for text in (
            *("10.0.0.5", "::ffff:10.0.0.5", "64:ff9b::a00:5", "10.0.0.4", "10.0.0.6", "10.0.1.5"),
            *("127.0.0.1", "::1", "192.168.0.5", "169.254.169.254", "::a00:5", "2002:a00:5::"),
            "8.8.8.8",
        )
        if only.allows(parse_address(text))
    ]
    assert allowed == ["10.0.0.5", "::ffff:10.0.0.5", "64:ff9b::a00:5", "8.8.8.8"]


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.0/8", "10.1", "0x7f000001", "fe80::1%1"])
def test_only_a_whole_address_is_an_address(text: str) -> None:
    """Names, networks, short forms and zones are refused."""
    with pytest.raises(ValueError, match=r"."):
        parse_address(text)
