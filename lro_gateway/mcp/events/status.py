"""The `deliveryStatus` of a subscription of MCP Events."""

from __future__ import annotations

import datetime as dt
import math
from typing import Final

from lro_gateway.errors import JSON
from lro_gateway.mcp.wire import timestamp
from lro_gateway.records.entries import now
from lro_gateway.records.event_entries import Subscription, SubscriptionState

_ERRORS: Final = {
    "refused_address": "connection_refused",
    "protocol_error": "connection_refused",
    "http_1xx": "http_5xx",
    "http_3xx": "http_4xx",
}
_WORDS: Final = frozenset(
    {"connection_refused", "timeout", "tls_error", "http_4xx", "http_5xx", "challenge_failed"}
)


def error_word(kind: str) -> str | None:
    """Return the word of SEP-3415 for the kind of a failure, or None if the receiver did not fail.

    It has no words of its own for some kinds, such as redirects.
    """
    word = _ERRORS.get(kind, kind)
    return word if word in _WORDS else None


def delivery_status(before: Subscription) -> JSON:
    """Return how the deliveries of a subscription were before it was renewed.

    A suspended one is not `active`, which tells the client that this renewal has resumed it. One
    whose receiver wants no message now is `throttled`.
    """
    status: JSON = {
        "active": before.state is SubscriptionState.ACTIVE,
        "lastDeliveryAt": _text(before.delivered),
        "lastError": error_word(before.error),
    }
    if before.failing is not None:
        status["failedSince"] = _text(before.failing)
    pause = dt.timedelta() if before.throttled_until is None else before.throttled_until - now()
    if pause > dt.timedelta():
        status |= {
            "throttled": True,
            "retryAfterMs": math.ceil(pause / dt.timedelta(milliseconds=1)),
        }
    return status


def _text(moment: dt.datetime | None) -> str | None:
    return None if moment is None else timestamp(moment)
