"""The bodies and headers of webhooks."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import orjson

from lro_gateway.records.event_entries import Delivery, Event, Subscription

MCP_ID: Final = "x-mcp-subscription-id"
_JSON: Final = "application/json"
FORBIDDEN: Final = {"draft": -32024, "sketch": -32012}
"""The code of the end of a webhook, in each set of error codes of MCP Events."""
_SELF: Final = "/v1/webhooks"
"""The source of an event that is not of an operation."""
_AUTHORITY: Final = re.compile(r"[^:]*(?::[0-9]*)?")
"""The names of backends that are a host, or a host and a port, such as `jobs:50051`."""
_CLOUD_EVENT: Final = "application/cloudevents+json"


def occurrence(event: Event) -> dict[str, object]:
    """Return an event as MCP Events and our webhooks show it."""
    return {
        "eventId": event.id,
        "name": event.kind,
        "timestamp": _time(event),
        "data": json.loads(event.data),
    }


def message(
    subscription: Subscription, event: Event, cursor: str = ""
) -> tuple[dict[str, str], bytes]:
    """Return the headers, without the signature, and the body of a webhook.

    What a webhook of MCP had not got before this event is after the cursor, which others have not.
    """
    if subscription.format == "cloudevents":
        return {"content-type": _CLOUD_EVENT}, orjson.dumps(_cloud_event(event))
    if subscription.face == "mcp":
        headers = {"content-type": _JSON, MCP_ID: subscription.id}
        return headers, orjson.dumps({**occurrence(event), "cursor": cursor})
    return {"content-type": _JSON}, orjson.dumps(occurrence(event))


def _id_of_event(_subscription: Subscription, delivery: Delivery) -> str:
    return delivery.event.id


def _id_of_message(subscription: Subscription, delivery: Delivery) -> str:
    """Return an id that no other webhook gets. It is the same in each attempt."""
    is_mcp = subscription.face == "mcp"
    return f"msg_event_{delivery.id}" if is_mcp else delivery.event.id


IdOf = Callable[[Subscription, Delivery], str]
"""Returns the header `webhook-id` of a delivery."""
IDS: Final[Mapping[str, IdOf]] = {"event": _id_of_event, "message": _id_of_message}
"""The ids of each setting. Both are in use for webhooks of MCP."""


def gap(subscription: Subscription, cursor: str) -> tuple[dict[str, str], str, bytes]:
    """Return the headers, the id and the body of the message that events were lost.

    All later events come after the cursor.
    """
    return _control(subscription, {"type": "gap", "cursor": cursor})


def terminated(
    subscription: Subscription, code: int, reason: str
) -> tuple[dict[str, str], str, bytes]:
    """Return the headers, the id and the body of the message that a webhook has ended."""
    error = {"code": code, "message": reason, "data": {"reason": "PERMISSION_DENIED"}}
    return _control(subscription, {"type": "terminated", "error": error})


def _control(
    subscription: Subscription, body: dict[str, object]
) -> tuple[dict[str, str], str, bytes]:
    headers = {"content-type": _JSON, MCP_ID: subscription.id}
    return headers, f"msg_{body['type']}_{secrets.token_hex(12)}", orjson.dumps(body)


def _cloud_event(event: Event) -> dict[str, object]:
    """Return an event in the structured mode of CloudEvents 1.0."""
    # A subject must not be empty. The event of a webhook has none.
    subject = {"subject": event.target.name} if event.target.name else {}
    return {
        "specversion": "1.0",
        "id": event.id,
        "type": f"lro-gateway.{event.kind}",
        "source": _source(event.target.backend),
        **subject,
        "time": _time(event),
        "datacontenttype": _JSON,
        "sequence": f"{event.number:010d}",
        "data": json.loads(event.data),
    }


def _source(backend: str) -> str:
    """Return the URI reference of a backend, where a colon begins a port, or of the gateway."""
    if not backend:
        return _SELF
    return f"//{backend if _AUTHORITY.fullmatch(backend) else quote(backend, safe='')}"


def _time(event: Event) -> str:
    return event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
