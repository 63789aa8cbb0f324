"""The table `[deliveries]`."""

from __future__ import annotations

import ipaddress

import pytest

from lro_gateway.config.deliveries import DeliveriesConfig


def test_an_allowed_address_is_one_address() -> None:
    """Of either version."""
    config = DeliveriesConfig.model_validate({"allowed_addresses": ["10.0.0.5", "fd00::1"]})
    assert config.allowed_addresses == (
        ipaddress.ip_address("10.0.0.5"),
        ipaddress.ip_address("fd00::1"),
    )


@pytest.mark.parametrize("address", ["10.0.0.0/8", "hooks.example", "10.0.0.5:443", "", 10])
def test_anything_else_is_refused(address: object) -> None:
    """A network would open more than one address."""
    with pytest.raises(ValueError, match=r"one IP address is needed|text in quotes is needed"):
        DeliveriesConfig.model_validate({"allowed_addresses": [address]})


def test_a_receiver_that_needs_no_challenge_is_a_url() -> None:
    """Its address may be any, because `allowed_addresses` decides on that."""
    urls = ("https://hooks.acme.example/mcp/", "https://10.0.0.5:8443/")
    config = DeliveriesConfig.model_validate({"verified_receivers": [*urls]})
    assert config.verified_receivers == urls


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("hooks.acme.example", "its scheme must be https"),
        ("http://hooks.acme.example/", "its scheme must be https"),
        ("https://user@hooks.acme.example/", "it must not have a user"),
        ("https://hooks.acme.example/?a=1", "a URL without a query is needed"),
        ("https://hooks.acme.example/#a", "it must not have a fragment"),
        (5, "text in quotes is needed"),
    ],
)
def test_anything_else_needs_a_challenge(url: object, problem: str) -> None:
    """A part that is never compared would promise too much."""
    with pytest.raises(ValueError, match=problem):
        DeliveriesConfig.model_validate({"verified_receivers": [url]})
