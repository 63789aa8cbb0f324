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
