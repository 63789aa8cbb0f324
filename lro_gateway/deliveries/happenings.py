"""Which event a new state of an operation is, and what receivers learn from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import orjson

from lro_gateway.errors import JSON, StatusError
from lro_gateway.operations.operation import Operation
from lro_gateway.operations.summary import summary
from lro_gateway.records.entries import EntryState
from lro_gateway.records.event_entries import LARGEST_EVENT, Event, Tracked

STARTED: Final = "operation.started"
PROGRESS: Final = "operation.progress"
DONE: Final = "operation.done"
STALLED: Final = "operation.stalled"
KINDS: Final = (STARTED, PROGRESS, DONE, STALLED)


@dataclass(frozen=True, slots=True)
class Happening:
    """An event that has not been written yet, and the next knowledge of the tracker."""

    event: Event
    known: Tracked


async def happening(
    known: Tracked, operation: Operation, percent: float | None, *, is_due: bool
) -> Happening | None:
    """Return what a state of an operation is after what is known, or None if it is nothing new.

    A change of the percentage alone counts only if progress `is_due`. `percent` never falls.
    """
    stage = operation.status_text or ""
    if operation.done:
        kind = DONE
    elif known.number == 0:
        kind = STARTED
    elif stage != known.stage or (is_due and percent != known.percent):
        kind = PROGRESS
    else:
        return None
    data = await _data(known, operation, percent)
    state = operation.state.value
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
    if percent is not None:
        data["percent"] = round(percent, 1)
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
