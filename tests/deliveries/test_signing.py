"""Signatures of webhooks, which the library of Standard Webhooks verifies."""

from __future__ import annotations

import base64

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from lro_gateway.deliveries.signing import is_secret, new_secret, signed_headers


def test_each_secret_verifies_its_signature() -> None:
    """While a secret is replaced, the old one and the new one sign."""
    old, new, other = new_secret(), new_secret(), new_secret()
    body = '{"text": "\u00e4"}'.encode()
    headers = signed_headers([new, old], "evt_1", body)
    assert headers["webhook-id"] == "evt_1"
    assert [Webhook(each).verify(body, headers) for each in (old, new)] == [{"text": "\u00e4"}] * 2
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body + b" ", headers)


@pytest.mark.parametrize("length", [24, 32, 64])
def test_a_secret_has_24_to_64_bytes(length: int) -> None:
    """It is base64 after a prefix."""
    assert is_secret("whsec_" + base64.b64encode(bytes(length)).decode())


@pytest.mark.parametrize(
    "text",
    [
        *("", "whsec_", "whsec_" + base64.b64encode(bytes(23)).decode()),
        *("whsec_" + base64.b64encode(bytes(65)).decode(), base64.b64encode(bytes(32)).decode()),
        *("whsec_not base64 at all!", "whsec_" + "\u00e4" * 44),
    ],
)
def test_other_texts_are_no_secrets(text: str) -> None:
    """Too short, too long, without the prefix, or not base64."""
    assert not is_secret(text)
