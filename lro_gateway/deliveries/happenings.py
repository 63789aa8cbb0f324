"""Which event a new state of an operation is, and what receivers learn from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

import orjson

from lro_gateway.errors import JSON, StatusError
from lro_gateway.operations.operation import Operation
from lro_gateway.operations.progress import rounded
from lro_gateway.operations.stall import Stall
from lro_gateway.operations.summary import summary
from lro_gateway.records.approval import Approval
from lro_gateway.records.entries import EntryState
from lro_gateway.records.event_entries import (
    LARGEST_EVENT,
    OF_WEBHOOK,
    Event,
    Subscription,
    SubscriptionState,
    Target,
    Tracked,
)
from lro_gateway.records.owners import Owner
from lro_gateway.service.approval_handles import name_of

STARTED: Final = "operation.started"
PROGRESS: Final = "operation.progress"
DONE: Final = "operation.done"
STALLED: Final = "operation.stalled"
APPROVAL: Final = "approval.requested"
KINDS: Final = (STARTED, PROGRESS, DONE, STALLED, APPROVAL, OF_WEBHOOK)


@dataclass(frozen=True, slots=True)
class Happening:
    """An event that has not been written yet, and the next knowledge of the tracker."""

    event: Event
    known: Tracked


def kind_of(
    known: Tracked,
    operation: Operation,
    percent: float | None,
    stall: Stall | None,
    *,
    is_due: bool,
    may_hurry: bool,
) -> str | None:
    """Return which event a state of an operation is after what is known, or None if it is none.

    A change of the percentage alone counts only if progress `is_due`, and one of the stage also if
    it `may_hurry`. `percent` never falls. `stall` is what has not been told yet of an operation
    that has stalled.
    """
    if operation.done:
        return DONE
    if known.number == 0:
        return STARTED
    is_next = (operation.status_text or "") != known.stage
    if (is_next and (is_due or may_hurry)) or (is_due and percent != known.percent):
        return PROGRESS
    return STALLED if stall is not None else None


async def happening(
    kind: str,
    known: Tracked,
    operation: Operation,
    percent: float | None,
    stall: Stall | None,
    public_url: str = "",
) -> Happening:
    """Return the event of this kind that a state of an operation is after what is known.

    With the public URL of the gateway, an event whose result is too large has the `url` of the
    operation.
    """
    data = await _data(known, operation, percent)
    if data.get("truncated") and public_url:
        target = known.target
        which = urlencode({"name": target.name, "backend": target.backend})
        data["url"] = f"{public_url}/v1/-?{which}"
    if kind == STALLED and stall is not None:
        data |= stall.to_json()
    state, stage = operation.state.value, operation.status_text or ""
    return _happening(replace(known, state=state, stage=stage, percent=percent), kind, data)


def lost(known: Tracked, error: StatusError) -> Happening:
    """Return the end of an operation that its backend no longer has."""
    state = EntryState.UNKNOWN.value
    data: JSON = {
        **_head(known),
        "state": state,
        "error": {"code": int(error.status.code), "message": error.message},
    }
    return _happening(replace(known, state=state), DONE, data)


def asked(approval: Approval, public_url: str = "") -> Event:
    """Return the event of a call that waits for an approval. It does not have the request.

    With the public URL of the gateway, `url` is where the call can be read. The same URL with
    `:approve` or `:refuse` at its end decides by POST.
    """
    of = approval.asked
    name = name_of(approval.id)
    data = {
        "operation": name,
        "backend": of.backend,
        "number": 1,
        "method": of.method,
        "state": approval.state.value,
        "requester": str(approval.caller),
        "expireTime": of.expires.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if public_url:
        data["url"] = f"{public_url}/v1/{name}"
    target, owner = Target(of.backend, name), Owner.of(approval.caller)
    text = orjson.dumps(data).decode()
    return Event(APPROVAL, target, of.method, owner, 1, approval.state.value, text)


def stopped(webhook: Subscription, state: SubscriptionState, reason: str) -> Event:
    """Return the event that the gateway has suspended or disabled a webhook."""
    data = {"webhook": webhook.id, "state": state.value, "reason": reason}
    text = orjson.dumps(data).decode()
    return Event(OF_WEBHOOK, Target("", webhook.id), "", webhook.owner, 1, state.value, text)


def _happening(known: Tracked, kind: str, data: JSON) -> Happening:
    text = orjson.dumps(data).decode()
    event = Event(
        kind, known.target, known.method, known.owner, known.number + 1, known.state, text
    )
    return Happening(event, replace(known, number=event.number))


def _head(known: Tracked) -> JSON:
    head: JSON = {
        "operation": known.target.name,
        "backend": known.target.backend,
        "number": known.number + 1,
    }
    return {**head, "method": known.method} if known.method else head


async def _data(known: Tracked, operation: Operation, percent: float | None) -> JSON:
    """Return the data of an event: at most 256 KiB, and without the result if it is larger."""
    data: JSON = {**_head(known), **await summary(operation)}
    if known.method:
        # The metadata may have another name than the method, which is known here.
        data["kind"] = known.method.rpartition("/")[2]
    if percent is not None:
        data["percent"] = rounded(percent)
    if not operation.done:
        return data
    if operation.size > LARGEST_EVENT:
        return {**data, "truncated": True}
    printed = await operation.json()
    result: JSON = {key: printed[key] for key in ("error", "response") if key in printed}
    whole = {**data, **result}
    if len(orjson.dumps(whole)) > LARGEST_EVENT - 4096:
        return {**data, "truncated": True}
    return whole
