"""Server-sent events: an operation as it changes, for `curl -N` and a browser's EventSource."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lro_gateway.background import race
from lro_gateway.errors import StatusError
from lro_gateway.operations.operation import Operation
from lro_gateway.operations.rendering import JsonText
from lro_gateway.rest.disconnection import disconnected
from lro_gateway.rest.parameters import Presentation
from lro_gateway.rest.responses import error_body, rendered
from lro_gateway.service.watch import Sighting

KEEPALIVE_INTERVAL: Final = 15.0
"""Seconds of silence after which a comment is sent, because proxies cut silent streams."""

_RETRY_MS: Final = 1000
_HEADERS: Final = {
    "cache-control": "no-store",
    # nginx would hold events back.
    "x-accel-buffering": "no",
}
_GOES_ON: Final = b": it goes on\n\n"
_LAST_EVENT_ID: Final = "last-event-id"


async def operation_events(
    request: Request, sightings: AsyncGenerator[Sighting], presentation: Presentation
) -> Response:
    """Return a stream of an operation's states, each as an event `operation`, to its end.

    What the first look meets is raised. A client that has seen the end already gets 204, on which
    an EventSource does not come back.
    """
    first = await anext(sightings)
    known = request.headers.get(_LAST_EVENT_ID, "")
    if first.operation.done and known == rendered(first.operation, presentation).tag:
        await sightings.aclose()
        return Response(status_code=204)
    return EventStream(_events(first, sightings, presentation, known), sightings)


async def list_events(
    changes: AsyncGenerator[tuple[Operation, ...]], presentation: Presentation
) -> Response:
    """Return a stream of a list's operations, each as an event `operation` whenever it changes.

    What the first look meets is raised.
    """
    first = await anext(changes)
    return EventStream(_list_events(first, changes, presentation), changes)


async def _list_events(
    first: tuple[Operation, ...],
    changes: AsyncGenerator[tuple[Operation, ...]],
    presentation: Presentation,
) -> AsyncGenerator[bytes]:
    try:
        yield _operations(first, presentation)
        async for news in changes:
            yield _operations(news, presentation)
    except StatusError as error:
        yield _failure(error)


def _operations(operations: tuple[Operation, ...], presentation: Presentation) -> bytes:
    events = [_operation(rendered(each, presentation)) for each in operations]
    return b"".join(events) or _GOES_ON


async def _events(
    first: Sighting,
    sightings: AsyncGenerator[Sighting],
    presentation: Presentation,
    known: str,
) -> AsyncGenerator[bytes]:
    sighting, shown = first, known
    with suppress(StopAsyncIteration):
        while True:
            body = rendered(sighting.operation, presentation)
            if body.tag != shown:
                yield _operation(body)
            elif sighting is not first:
                yield _comment(sighting)
            shown = body.tag
            try:
                sighting = await anext(sightings)
            except StatusError as error:
                # The stream is under way: its status line cannot tell any more.
                yield _failure(error)
                return


def _operation(body: JsonText) -> bytes:
    return b"event: operation\nid: %b\ndata: %b\n\n" % (body.tag.encode(), body.content)


def _failure(error: StatusError) -> bytes:
    body = orjson.dumps(error_body(error))
    return f"retry: {_RETRY_MS}\nevent: status\ndata: ".encode() + body + b"\n\n"


def _comment(sighting: Sighting) -> bytes:
    if sighting.outage is None:
        return _GOES_ON
    return b": its backend is out of reach, and asked again\n\n"


class EventStream(Response):
    """A response of events; it ends with them, or as soon as the client leaves.

    Then it closes them and their source, also where it has not come to the first.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], source: AsyncGenerator[Any]) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._events = events
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; of HEAD only the headers, which would else keep its client waiting."""
        async with aclosing(self._source), aclosing(self._events):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await race(self._send(send), disconnected(receive))

    async def _send(self, send: Send) -> None:
        async for event in self._events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
