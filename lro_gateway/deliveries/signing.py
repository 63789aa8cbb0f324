"""Signatures of webhooks (Standard Webhooks), and the secrets that make them."""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook

PREFIX: Final = "whsec_"
_SHORTEST: Final = 24
_LONGEST: Final = 64


def new_secret() -> str:
    """Return a new secret of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def is_secret(text: str) -> bool:
    """Return whether a text is `whsec_` and the base64 of 24 to 64 bytes."""
    if not text.startswith(PREFIX):
        return False
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return _SHORTEST <= len(key) <= _LONGEST


def signed_headers(secrets_: Sequence[str], message_id: str, body: bytes) -> dict[str, str]:
    """Return the headers of a message that is sent now, with a signature for each secret."""
    now = int(time.time())
    # The library takes the fields of a time for UTC.
    at = datetime.fromtimestamp(now, UTC).replace(tzinfo=None)
    text = body.decode()
    signatures = (Webhook(each).sign(message_id, at, text) for each in secrets_)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(now),
        "webhook-signature": " ".join(signatures),
    }
