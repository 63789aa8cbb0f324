"""The kinds of events, as events/list describes them."""

from __future__ import annotations

from typing import Any, Final

from lro_gateway.deliveries.happenings import APPROVAL, DONE, KINDS, PROGRESS, STALLED, STARTED
from lro_gateway.records.entries import ENTRY_STATES
from lro_gateway.records.event_entries import OF_WEBHOOK

_TEXTS: Final = {
    STARTED: "An operation is followed from now on.",
    PROGRESS: "The stage or the percentage of a running operation has changed.",
    DONE: "An operation has ended: it succeeded, failed, or was cancelled.",
    APPROVAL: "A call waits until somebody approves it. The operation is its handle.",
    STALLED: "A running operation has not changed for longer than its method usually takes.",
    OF_WEBHOOK: "The gateway has stopped one of your webhooks, because its deliveries fail.",
}
_INPUT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "operation": {"type": "string", "description": "The name of one operation."},
        "backend": {"type": "string", "description": "Only operations of this backend."},
        "method": {
            "type": "string",
            "description": (
                "Only operations of this method, such as CreateDatabase or */Create*. A name that"
                " matches no method is refused."
            ),
        },
        "mine": {"type": "boolean", "description": "Only what you or your tenant started."},
        "states": {"type": "array", "items": {"type": "string", "enum": list(ENTRY_STATES)}},
    },
    "additionalProperties": False,
}
_PAYLOAD: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "operation": {"type": "string"},
        "backend": {"type": "string"},
        "method": {"type": "string"},
        "number": {"type": "integer", "description": "Counts the events of the operation."},
        "state": {"type": "string"},
        "kind": {"type": "string", "description": "What the operation does."},
        "percent": {"type": "number"},
        "statusText": {"type": "string"},
        "createTime": {"type": "string", "format": "date-time"},
        "updateTime": {"type": "string", "format": "date-time"},
        "error": {"type": "object", "description": "A google.rpc.Status."},
        "response": {"type": "object"},
        "truncated": {
            "type": "boolean",
            "description": "The result is too large. Call get_operation for it.",
        },
        "url": {
            "type": "string",
            "description": "Where a result that is too large, or a call that waits, can be read.",
        },
    },
    "required": ["operation", "backend", "number", "state"],
}
_DURATION: Final[dict[str, Any]] = {"type": "string", "description": "Seconds, such as 90s."}
_MORE: Final[dict[str, dict[str, Any]]] = {
    STALLED: {"unchangedFor": _DURATION, "expectedTime": _DURATION},
    APPROVAL: {
        "requester": {"type": "string", "description": "Who asked for the call."},
        "expireTime": {"type": "string", "format": "date-time"},
    },
}
"""The fields that only events of one kind have."""


_OF_WEBHOOK: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "webhook": {"type": "string", "description": "The id of the webhook."},
        "state": {"type": "string", "enum": ["disabled", "suspended"]},
        "reason": {"type": "string"},
    },
    "required": ["webhook", "state", "reason"],
}


def described(*, with_webhooks: bool) -> list[dict[str, Any]]:
    """Return the entries of events/list, with webhooks for a caller that may have them."""
    delivery = ["poll", "push", *(["webhook"] if with_webhooks else [])]
    return [
        {
            "name": kind,
            "description": _TEXTS[kind],
            "delivery": delivery,
            "inputSchema": _INPUT,
            "payloadSchema": _payload(kind),
        }
        for kind in KINDS
    ]


def _payload(kind: str) -> dict[str, Any]:
    if kind == OF_WEBHOOK:
        return _OF_WEBHOOK
    return {**_PAYLOAD, "properties": {**_PAYLOAD["properties"], **_MORE.get(kind, {})}}
