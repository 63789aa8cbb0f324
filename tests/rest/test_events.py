"""Server-sent events for an operation and for a list, and the closing of their source."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2
from starlette.types import Message

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.principal import Principal
from lro_gateway.rest.disconnection import DISCONNECTION
from lro_gateway.rest.events import EventStream
from lro_gateway.serving.http import serve_http
from tests.contrary import Answer, ContraryBackend, refusing
from tests.gateways import serving
from tests.shapes import pool
from tests.steps import Steps


class Source:
    """A source of one state that then waits forever, and the events made of its states."""

    def __init__(self) -> None:
        self.is_closed = False
        self.states = self._states()
        self.events = self._events()

    async def _states(self) -> AsyncGenerator[int]:
        try:
            yield 0
            await asyncio.Event().wait()
        finally:
            self.is_closed = True

    async def _events(self) -> AsyncGenerator[bytes]:
        yield b"data: first\n\n"
        async for state in self.states:
            yield b"data: %d\n\n" % state


class Client:
    """A client, which leaves when `leaves` is set."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    def scope(self, method: str) -> dict[str, Any]:
        """Return the scope of its request."""
        return {"type": "http", "method": method, DISCONNECTION: self}

    def when_left(self, left: Callable[[], None] | None) -> None:
        """Call this function once the client has left, or no function any more."""
        if self._telling is not None:
            self._telling.cancel()
        self._telling = asyncio.ensure_future(self._tell(left)) if left is not None else None

    async def _tell(self, left: Callable[[], None]) -> None:
        await self.leaves.wait()
        left()


async def never() -> Message:
    """Receive nothing, as from a client that stays connected."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable: nothing sets the event")


@pytest.mark.parametrize("left_at", ["http.response.start", "http.response.body"])
async def test_a_stream_closes_its_source_when_the_client_leaves(left_at: str) -> None:
    """The source is closed before the response returns, even before the first event."""
    source, client = Source(), Client()
    await anext(source.states)
    stream = EventStream(source.events, source.states, caller=Principal())

    async def send(message: Message) -> None:
        if message["type"] == left_at:
            client.leaves.set()
        if message["type"] == "http.response.body":
            # The client reads no further.
            await asyncio.Event().wait()

    async with asyncio.timeout(60):
        await stream(client.scope("GET"), never, send)
    assert source.is_closed


async def test_head_of_a_stream_closes_its_source() -> None:
    """The response has only headers, so no event is read."""
    source, sent = Source(), []
    await anext(source.states)
    stream = EventStream(source.events, source.states, caller=Principal())

    async def send(message: Message) -> None:
        sent.append((message["type"], message.get("body")))

    await stream(Client().scope("HEAD"), never, send)
    assert sent == [("http.response.start", None), ("http.response.body", b"")]
    assert source.is_closed


async def test_a_stream_that_is_cancelled_closes_its_source() -> None:
    """The server cancels its requests when it stops."""
    source, started = Source(), asyncio.Event()
    await anext(source.states)
    stream = EventStream(source.events, source.states, caller=Principal())

    async def send(_message: Message) -> None:
        started.set()

    streaming = asyncio.create_task(stream(Client().scope("GET"), never, send))
    await started.wait()
    streaming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await streaming
    assert source.is_closed


@asynccontextmanager
async def events(url: str, **headers: str) -> AsyncIterator[AsyncIterator[dict[str, str]]]:
    """Open a stream of the operation's events; a comment is a field with an empty name."""
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("GET", f"{url}/v1/jobs/1:watch", headers=headers) as response,
    ):
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield parsed(response.aiter_lines())


async def parsed(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, str]]:
    """Yield each event's fields."""
    event: dict[str, str] = {}
    async for line in lines:
        if line:
            field, _, value = line.partition(": ")
            event[field] = value
        else:
            yield event
            event = {}


def state(event: dict[str, str]) -> tuple[int, bool]:
    """Return an event's progress in percent, and whether its operation is done."""
    assert event["event"] == "operation"
    operation = json.loads(event["data"])
    return operation["metadata"].get("progressPercent", 0), operation["done"]


async def test_each_state_is_an_event_and_the_stream_ends_with_the_operation(
    steps_url: str, steps: Steps
) -> None:
    """The current state is sent at once."""
    async with events(steps_url) as stream:
        seen = [state(await anext(stream))]
        steps.percent = 50
        seen.append(state(await anext(stream)))
        steps.percent = 100
        seen.append(state(await anext(stream)))
        assert [event async for event in stream] == []
    assert seen == [(0, False), (50, False), (100, True)]


async def test_a_client_that_reconnects_gets_only_new_states(steps_url: str, steps: Steps) -> None:
    """Last-Event-ID names its last state. For a final state, a 204 stops an EventSource."""
    async with events(steps_url) as stream:
        first = await anext(stream)
    async with events(steps_url, **{"Last-Event-ID": first["id"]}) as stream:
        steps.percent = 100
        last = await anext(stream)
        assert state(last) == (100, True)
    async with httpx.AsyncClient() as client:
        again = await client.get(
            f"{steps_url}/v1/jobs/1:watch", headers={"Last-Event-ID": last["id"]}
        )
    assert (again.status_code, again.content) == (204, b"")


async def test_a_stream_without_changes_sends_comments(
    steps_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An EventSource ignores comments, and proxies keep the connection open."""
    monkeypatch.setattr("lro_gateway.rest.operation_routes.KEEPALIVE_INTERVAL", 0.05)
    async with events(steps_url) as stream:
        await anext(stream)
        assert [await anext(stream) for _ in range(2)] == [{"": "no change; running"}] * 2


@pytest.mark.usefixtures("_nothing_is_recent")
async def test_an_outage_is_a_comment_and_a_missing_operation_ends_the_stream(
    steps_url: str, steps: Steps
) -> None:
    """The error is an event, because the status line has been sent already."""
    async with events(steps_url) as stream:
        await anext(stream)
        steps.instead = refusing(grpc.StatusCode.UNAVAILABLE, "restarting")
        assert await anext(stream) == {"": "the backend cannot be reached; the gateway retries"}
        steps.instead = refusing(grpc.StatusCode.NOT_FOUND, "no such job")
        end = await anext(stream)
        assert [event async for event in stream] == []
    assert (end["retry"], end["event"]) == ("1000", "status")
    assert json.loads(end["data"])["error"]["message"] == "no such job"


async def test_an_error_of_the_first_poll_is_an_http_error(steps_url: str, steps: Steps) -> None:
    """An EventSource does not connect again after such a status."""
    steps.instead = refusing(grpc.StatusCode.NOT_FOUND, "no such job")
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{steps_url}/v1/jobs/1:watch")
    assert (response.status_code, response.json()["error"]["message"]) == (404, "no such job")


@pytest.mark.parametrize("path", ["/v1/jobs/1:watch", "/v1/operations:watch"])
async def test_head_of_a_stream_returns_its_headers_and_ends(steps_url: str, path: str) -> None:
    """The connection can then be used for the next request."""
    async with asyncio.timeout(60), httpx.AsyncClient(base_url=steps_url) as client:
        head = await client.head(path)
        assert (head.status_code, head.headers["content-type"]) == (
            200,
            "text/event-stream; charset=utf-8",
        )
        assert (await client.get("/livez")).status_code == 200


async def test_a_list_is_watched_too(steps_url: str, steps: Steps, monkeypatch: Any) -> None:
    """Each operation is sent at once, and again whenever it changes."""
    monkeypatch.setattr("lro_gateway.service.list_watch._INTERVAL", 0.02)
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("GET", f"{steps_url}/v1/operations:watch?fields=name,metadata") as response,
    ):
        stream = parsed(response.aiter_lines())
        seen = []
        for percent in (0, 50, 100):
            steps.percent = percent
            event = await anext(stream)
            seen.append(json.loads(event["data"])["metadata"].get("progressPercent", 0))
    assert seen == [0, 50, 100]


async def test_the_watch_of_a_list_sends_only_changes_of_the_selected_fields(
    steps_url: str, steps: Steps, monkeypatch: Any
) -> None:
    """A page of busy operations would otherwise be sent again at each poll."""
    monkeypatch.setattr("lro_gateway.service.list_watch._INTERVAL", 0.02)
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("GET", f"{steps_url}/v1/operations:watch?fields=name,done") as response,
    ):
        stream = parsed(response.aiter_lines())
        received = [await anext(stream)]
        for percent in (30, 60, 100):
            steps.percent = percent
            received.append(await anext(stream))
    shown = [event.get("data", event.get("")) for event in received]
    running, done = '{"name":"jobs/1","done":false}', '{"name":"jobs/1","done":true}'
    assert shown == [running, "no change", "no change", done]


async def test_the_operations_in_a_state_are_watched(
    steps_url: str, steps: Steps, monkeypatch: Any
) -> None:
    """An operation is sent when it is in the state, and once more when it leaves the state."""
    monkeypatch.setattr("lro_gateway.service.list_watch._INTERVAL", 0.02)
    watch = f"{steps_url}/v1/operations:watch?fields=name,done&state="
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("GET", f"{watch}running") as running,
        client.stream("GET", f"{watch}succeeded") as succeeded,
    ):
        started, ended = parsed(running.aiter_lines()), parsed(succeeded.aiter_lines())
        received = [await anext(started)]
        assert await anext(ended) == {"": "no change"}
        steps.percent = 100
        received += [await anext(started), await anext(ended)]
        refused = await client.get(f"{watch}finished")
    shown = [event.get("data", event.get("")) for event in received]
    running_, done = '{"name":"jobs/1","done":false}', '{"name":"jobs/1","done":true}'
    assert shown == [running_, done, done]
    assert (refused.status_code, "running" in refused.text) == (400, True)


async def test_an_operation_that_has_left_a_list_is_named(monkeypatch: Any) -> None:
    """It may have a name that is no part of a path."""
    monkeypatch.setattr("lro_gateway.service.list_watch._INTERVAL", 0.02)
    listed = [operations_pb2.Operation(name=name) for name in ("jobs/1", 'a "name"\n')]

    async def page(_request: Any, _context: Any) -> Answer:
        answer: Answer = operations_pb2.ListOperationsResponse(operations=listed)
        return answer

    async with (
        ContraryBackend.open({"ListOperations": page}) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        httpx.AsyncClient(timeout=60) as client,
        client.stream("GET", f"{url}/v1/operations:watch") as response,
    ):
        stream = parsed(response.aiter_lines())
        first, second = [json.loads((await anext(stream))["data"])["name"] for _ in listed]
        listed.pop()
        left = await anext(stream)
    assert (first, left["event"]) == ("jobs/1", "left")
    assert json.loads(left["data"]) == {"name": second}


async def test_an_unchanged_list_sends_nothing(
    steps_url: str, steps: Steps, monkeypatch: Any
) -> None:
    """Polls without a change wake no reader, so the next event is the next change."""
    monkeypatch.setattr("lro_gateway.service.list_watch._INTERVAL", 0.01)
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("GET", f"{steps_url}/v1/operations:watch") as response,
    ):
        stream = parsed(response.aiter_lines())
        await anext(stream)
        await steps.next_lists(5)
        steps.percent = 100
        assert state(await anext(stream)) == (100, True)


async def test_an_error_of_the_first_listing_is_an_http_error(steps_url: str, steps: Steps) -> None:
    """The status shows the error, because no stream has begun."""
    steps.instead = refusing(grpc.StatusCode.PERMISSION_DENIED, "not yours")
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{steps_url}/v1/operations:watch")
    assert (response.status_code, response.json()["error"]["message"]) == (403, "not yours")


async def test_a_stream_ends_with_the_gateway_and_sends_a_time_to_reconnect(steps: Steps) -> None:
    """The gateway stops while the operation runs and a client is connected."""
    async with ContraryBackend.open(
        {"GetOperation": steps}, reflection_versions=("v1",), pool=pool()
    ) as backend:
        config = GatewayConfig.model_validate(
            {"server": {"port": 0}, "backends": [{"name": "b", "target": backend.target}]}
        )
        async with (
            asyncio.timeout(60),
            Gateway.open(config) as gateway,
            AsyncExitStack() as server_stack,
        ):
            server = await server_stack.enter_async_context(serve_http(gateway))
            async with events(f"http://{server.address}") as stream:
                await anext(stream)
                closing = asyncio.create_task(server_stack.aclose())
                end = await anext(stream)
                assert [event async for event in stream] == []
            await closing
    assert (end["retry"], end["event"]) == ("1000", "status")
    (info,) = json.loads(end["data"])["error"]["details"]
    assert info["reason"] == "GATEWAY_SHUTTING_DOWN"


async def test_a_change_of_a_field_that_is_not_selected_is_no_event(
    steps_url: str, steps: Steps
) -> None:
    """A comment is sent, because the event would equal the previous event."""
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("GET", f"{steps_url}/v1/jobs/1:watch?fields=done") as response,
    ):
        stream = parsed(response.aiter_lines())
        received = [await anext(stream)]
        for percent in (30, 60, 100):
            steps.percent = percent
            received.append(await anext(stream))
    shown = [event.get("data", event.get("")) for event in received]
    assert shown == [
        '{"done":false}',
        *["no change; running"] * 2,
        '{"done":true}',
    ]


async def test_readers_share_one_watch(steps_url: str, steps: Steps) -> None:
    """All readers of an operation receive the same events."""
    async with events(steps_url) as one, events(steps_url) as two:
        firsts = [await anext(one), await anext(two)]
        steps.percent = 100
        lasts = [await anext(one), await anext(two)]
    assert firsts[0] == firsts[1]
    assert lasts[0] == lasts[1]
