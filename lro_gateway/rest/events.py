"""Server-sent events for the changes of operations, for `curl -N` and a browser's EventSource."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lro_gateway.access.expiry import until_expiry
from lro_gateway.background import Slices
from lro_gateway.errors import StatusError
from lro_gateway.operations.elapsed import running
from lro_gateway.operations.operation import Operation
from lro_gateway.operations.rendering import JsonText
from lro_gateway.principal import Principal
from lro_gateway.rest.caller import caller_of
from lro_gateway.rest.disconnection import UntilLeft, unless_disconnected
from lro_gateway.rest.parameters import Presentation
from lro_gateway.rest.responses import error_body, rendered, warning_headers
from lro_gateway.service.list_watch import ListChange
from lro_gateway.service.watch import Sighting

_T = TypeVar("_T")

KEEPALIVE_INTERVAL: Final = 15.0
"""After this many seconds without an event, the gateway sends a comment.

Proxies close streams that are idle.
"""

_RETRY_MS: Final = 1000
"""Milliseconds that an EventSource waits before it connects again."""

_HEADERS: Final = {
    "cache-control": "no-store",
    # Without this header nginx would buffer the events.
    "x-accel-buffering": "no",
}
_NO_CHANGE: Final = b": no change\n\n"
_LAST_EVENT_ID: Final = "last-event-id"


async def operation_events(
    request: Request, sightings: AsyncGenerator[Sighting], presentation: Presentation
) -> Response:
    """Return a stream with an event `operation` for each state, until the operation is done.

    If the first poll fails, this function raises the error. A client whose Last-Event-ID names
    the final state gets 204, because an EventSource does not connect again after a 204.
    """
    first = await unless_disconnected(request.scope, _first(sightings))
    known = request.headers.get(_LAST_EVENT_ID, "")
    if first.operation.done and known == (await rendered(first.operation, presentation)).tag:
        await sightings.aclose()
        return Response(status_code=204)
    events = _events(first, sightings, presentation, known)
    caller = caller_of(request)
    return EventStream(events, sightings, warning_headers(first.operation), caller=caller)


async def list_events(
    request: Request, changes: AsyncGenerator[ListChange], presentation: Presentation
) -> Response:
    """Return a stream with an event `operation` for each change of an operation in a list.

    An operation that is no longer on the list has an event `left`. If the first listing fails, this
    function raises the error.
    """
    first = await unless_disconnected(request.scope, _first(changes))
    events = _list_events(first, changes, presentation)
    warnings = warning_headers(*first.operations)
    return EventStream(events, changes, warnings, caller=caller_of(request))


async def _first(items: AsyncGenerator[_T]) -> _T:
    return await anext(items)


async def _list_events(
    first: ListChange, changes: AsyncGenerator[ListChange], presentation: Presentation
) -> AsyncGenerator[bytes]:
    try:
        yield await _changed(first, presentation)
        async for change in changes:
            yield await _changed(change, presentation)
    except StatusError as error:
        yield _failure(error)


async def _changed(change: ListChange, presentation: Presentation) -> bytes:
    events = [b"event: left\ndata: %b\n\n" % orjson.dumps({"name": each}) for each in change.left]
    slices = Slices()
    for each in change.operations:
        await slices.pause()
        events.append(_operation(await rendered(each, presentation)))
    return b"".join(events) or _NO_CHANGE


async def _events(
    first: Sighting,
    sightings: AsyncGenerator[Sighting],
    presentation: Presentation,
    known: str,
) -> AsyncGenerator[bytes]:
    sighting, shown = first, known
    with suppress(StopAsyncIteration):
        while True:
            body = await rendered(sighting.operation, presentation)
            if body.tag != shown:
                yield _archived(sighting.operation) + _operation(body)
            elif sighting is not first:
                yield _comment(sighting)
            shown = body.tag
            try:
                sighting = await anext(sightings)
            except StatusError as error:
                # The status line is sent already, so the error becomes an event.
                yield _failure(error)
                return


def _archived(operation: Operation) -> bytes:
    """Return a comment if an operation is from the archive, because its JSON cannot tell it."""
    if operation.archived is None:
        return b""
    return f": archived {operation.archived.timestamp}\n\n".encode()


def _operation(body: JsonText) -> bytes:
    return b"event: operation\nid: %b\ndata: %b\n\n" % (body.tag.encode(), body.content)


def _failure(error: StatusError) -> bytes:
    body = orjson.dumps(error_body(error))
    return f"retry: {_RETRY_MS}\nevent: status\ndata: ".encode() + body + b"\n\n"


def _comment(sighting: Sighting) -> bytes:
    if not sighting.problem:
        return f": no change; {running(sighting.operation)}\n\n".encode()
    return f": the backend {sighting.problem}; the gateway retries\n\n".encode()


class EventStream(Response):
    """A response of events, which ends after the last event or when the client disconnects.

    It also ends when the credentials of the caller end. The last event then says so, and when to
    connect again.

    When the response ends, it closes `events` and `source`, even if it has sent no event yet.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes],
        source: AsyncGenerator[Any],
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        caller: Principal,
    ) -> None:
        super().__init__(headers={**_HEADERS, **headers})
        del self.headers["content-length"]
        self._events = events
        self._source = source
        self._caller = caller

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the events. HEAD gets only the headers, so its client waits for no event."""
        # Measured: `aclosing` for both, and the headers for as long as the stream lasts, would take
        # 1.0 KB.
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            self.raw_headers = self._headers = None  # type: ignore[assignment]
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                with UntilLeft(scope):
                    await self._send(send)
        finally:
            try:
                await self._events.aclose()
            finally:
                await self._source.aclose()

    async def _send(self, send: Send) -> None:
        try:
            async with until_expiry(self._caller):
                async for event in self._events:
                    await send({"type": "http.response.body", "body": event, "more_body": True})
                    del event  # The next one may come in hours.
        except StatusError as error:
            await send({"type": "http.response.body", "body": _failure(error), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
