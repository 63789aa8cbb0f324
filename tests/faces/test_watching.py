"""Who waits is told meanwhile: progress notifications over MCP, events over REST."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import httpx
import mcp_types as types
import pytest
from google.longrunning import operations_pb2
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated

from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.serving.http import serve_http
from tests.contrary import Answer, ContraryBackend, Handler, refusing
from tests.gateways import serving
from tests.shapes import message as made
from tests.shapes import pool

ERAS = ("2026-07-28", "legacy")


class Steps:
    """An operation that goes a step further whenever a test says so."""

    def __init__(self) -> None:
        self.percent = 0
        self.instead: Handler | None = None

    async def __call__(self, request: Any, context: Any) -> Answer:
        if self.instead is not None:
            return await self.instead(request, context)
        operation: Any = operations_pb2.Operation(name="jobs/1", done=self.percent == 100)
        operation.metadata.Pack(made("progress.v1.Percent", progress_percent=self.percent))
        answer: Answer = operation
        return answer

    async def list(self, request: Any, context: Any) -> Answer:
        """List the one operation."""
        page: Answer = operations_pb2.ListOperationsResponse(
            operations=[await self(request, context)]
        )
        return page


@pytest.fixture
def steps() -> Steps:
    """Return the one operation."""
    return Steps()


@pytest.fixture
async def url(steps: Steps) -> AsyncIterator[str]:
    """Serve a gateway to it, that looks often."""
    async with (
        ContraryBackend.open(
            {"GetOperation": steps, "ListOperations": steps.list},
            reflection_versions=("v1",),
            pool=pool(),
        ) as backend,
        serving(
            {"name": "b", "target": backend.target, "poll_intervals": ["0.02s"] * 3},
        ) as url,
    ):
        yield url


@pytest.mark.parametrize("era", ERAS)
async def test_a_wait_reports_every_change(url: str, steps: Steps, era: Any) -> None:
    """In percent and in words of under 200 characters; the value never falls."""
    reports: list[tuple[float, float | None, str | None]] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, total, message))
        # Each report has the operation go on; at one point it seems to go back.
        steps.percent = {0: 30, 30: 10, 10: 60, 60: 100, 100: 100}[steps.percent]

    async with Client(f"{url}/mcp", mode=era) as client:
        result = await client.call_tool(
            "wait_operation", {"name": "jobs/1"}, progress_callback=report
        )
    assert result.structured_content is not None
    assert result.structured_content["done"]
    assert [(round(value), total, said) for value, total, said in reports] == [
        (0, 100, "Running, 0% done."),
        (30, 100, "Running, 30% done."),
        (30, 100, "Running, 30% done."),
        (60, 100, "Running, 60% done."),
        (100, 100, "Done: it succeeded, without a result."),
    ]
    values = [value for value, *_ in reports]
    assert values == sorted(set(values))


@pytest.mark.parametrize("era", ERAS)
async def test_a_wait_that_brings_nothing_new_says_that_it_goes_on(
    url: str, steps: Steps, era: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client's clock would run out otherwise."""
    monkeypatch.setattr("lro_gateway.service.waiting.PROGRESS_INTERVAL", 0.05)
    reports: list[str | None] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        assert total == 100
        reports.append(message if progress < 1 else None)
        if len(reports) == 4:
            steps.percent = 100

    async with Client(f"{url}/mcp", mode=era) as client:
        await client.call_tool("wait_operation", {"name": "jobs/1"}, progress_callback=report)
    assert reports[:4] == ["Running, 0% done."] * 4


@asynccontextmanager
async def events(url: str, **headers: str) -> AsyncIterator[AsyncIterator[dict[str, str]]]:
    """Read the operation's events; a comment comes as a field without a name."""
    async with (
        httpx.AsyncClient(timeout=30) as client,
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
    """Return the percent and whether it is done."""
    assert event["event"] == "operation"
    operation = json.loads(event["data"])
    return operation["metadata"].get("progressPercent", 0), operation["done"]


async def test_each_state_is_an_event_and_the_stream_ends_with_the_operation(
    url: str, steps: Steps
) -> None:
    """The current one at once."""
    async with events(url) as stream:
        seen = [state(await anext(stream))]
        steps.percent = 50
        seen.append(state(await anext(stream)))
        steps.percent = 100
        seen.append(state(await anext(stream)))
        assert [event async for event in stream] == []
    assert seen == [(0, False), (50, False), (100, True)]


async def test_who_comes_back_gets_only_what_is_new(url: str, steps: Steps) -> None:
    """By Last-Event-ID; who has seen the end gets 204, on which an EventSource stays away."""
    async with events(url) as stream:
        first = await anext(stream)
    async with events(url, **{"Last-Event-ID": first["id"]}) as stream:
        steps.percent = 100
        last = await anext(stream)
        assert state(last) == (100, True)
    async with httpx.AsyncClient() as client:
        again = await client.get(f"{url}/v1/jobs/1:watch", headers={"Last-Event-ID": last["id"]})
    assert (again.status_code, again.content) == (204, b"")


async def test_a_stream_that_brings_nothing_new_says_so(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By comments, which no EventSource shows."""
    monkeypatch.setattr("lro_gateway.rest.operation_routes.KEEPALIVE_INTERVAL", 0.05)
    async with events(url) as stream:
        await anext(stream)
        assert [await anext(stream) for _ in range(2)] == [{"": "it goes on"}] * 2


async def test_a_backend_out_of_reach_is_a_comment_and_a_missing_name_an_end(
    url: str, steps: Steps
) -> None:
    """The status line has been sent by then."""
    async with events(url) as stream:
        await anext(stream)
        steps.instead = refusing(grpc.StatusCode.UNAVAILABLE, "restarting")
        assert await anext(stream) == {"": "its backend is out of reach, and asked again"}
        steps.instead = refusing(grpc.StatusCode.NOT_FOUND, "no such job")
        end = await anext(stream)
        assert [event async for event in stream] == []
    assert (end["retry"], end["event"]) == ("1000", "status")
    assert json.loads(end["data"])["error"]["message"] == "no such job"


async def test_what_the_first_look_meets_is_an_error_as_of_any_request(
    url: str, steps: Steps
) -> None:
    """An EventSource gives up on it."""
    steps.instead = refusing(grpc.StatusCode.NOT_FOUND, "no such job")
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{url}/v1/jobs/1:watch")
    assert (response.status_code, response.json()["error"]["message"]) == (404, "no such job")


@pytest.mark.parametrize("path", ["/v1/jobs/1:watch", "/v1/operations:watch"])
async def test_head_of_a_stream_is_its_headers_and_an_end(url: str, path: str) -> None:
    """The connection is free for the next request."""
    async with asyncio.timeout(10), httpx.AsyncClient(base_url=url) as client:
        head = await client.head(path)
        assert (head.status_code, head.headers["content-type"]) == (
            200,
            "text/event-stream; charset=utf-8",
        )
        assert (await client.get("/livez")).status_code == 200


async def test_readers_share_one_watch(url: str, steps: Steps) -> None:
    """What one sees, all see, in the same words."""
    async with events(url) as one, events(url) as two:
        firsts = [await anext(one), await anext(two)]
        steps.percent = 100
        lasts = [await anext(one), await anext(two)]
    assert firsts[0] == firsts[1]
    assert lasts[0] == lasts[1]


async def test_an_operation_is_a_resource(url: str, steps: Steps) -> None:
    """Listed, read as ProtoJSON, and completed by the names that there are."""
    del steps
    async with Client(f"{url}/mcp", mode="2026-07-28") as client:
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "operation://{backend}/{+name}"
        read = await client.read_resource("operation://b/jobs/1")
        (content,) = read.contents
        assert json.loads(getattr(content, "text", "")) == {
            "name": "jobs/1",
            "metadata": {"@type": "type.googleapis.com/progress.v1.Percent"},
            "done": False,
        }
        (listed,) = (await client.list_resources()).resources
        assert (str(listed.uri), listed.name) == ("operation://b/jobs/1", "jobs/1")
        assert listed.description == "Running, 0% done."
        reference = types.ResourceTemplateReference(uri=template.uri_template)
        values = [
            (await client.complete(reference, {"name": name, "value": begun})).completion.values
            for name, begun in (("backend", ""), ("backend", "x"), ("name", "jo"), ("name", "k"))
        ]
        assert values == [["b"], [], ["jobs/1"], []]


@pytest.mark.parametrize(("era", "code"), [("2026-07-28", -32602), ("legacy", -32002)])
@pytest.mark.parametrize(
    "uri",
    ["operation://b/none", "operation://b", "operation:///x", "a://b/c"],
)
async def test_what_is_no_resource_is_not_found(
    url: str, steps: Steps, era: Any, code: int, uri: str
) -> None:
    """In the words of each era."""
    steps.instead = refusing(grpc.StatusCode.NOT_FOUND, "no such job")
    async with Client(f"{url}/mcp", mode=era) as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
    assert (caught.value.code, caught.value.error.data) == (code, {"uri": uri})


async def test_a_uri_that_is_not_utf_8_is_of_no_operation(url: str, steps: Steps) -> None:
    """Its backend is not asked for something like it."""
    del steps
    async with Client(f"{url}/mcp", mode="2026-07-28") as client:
        with pytest.raises(MCPError, match="Resource not found"):
            await client.read_resource("operation://b/%FF")


async def test_whoever_listens_hears_of_each_change_of_a_resource(url: str, steps: Steps) -> None:
    """What changed is read anew; the first word comes at once, as it may have changed already."""
    uri = "operation://b/jobs/1"
    async with (
        asyncio.timeout(20),
        Client(f"{url}/mcp", mode="2026-07-28") as client,
        client.listen(resource_subscriptions=[uri]) as changes,
    ):
        told = 0
        async for change in changes:
            assert isinstance(change, ResourceUpdated)
            assert str(change.uri) == uri
            told += 1
            if told == 3:
                break
            steps.percent += 50


async def test_a_list_is_watched_too(url: str, steps: Steps, monkeypatch: Any) -> None:
    """Each operation at once, and then whenever it changes; there is no end."""
    monkeypatch.setattr("lro_gateway.service.list_watch._INTERVAL", 0.02)
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", f"{url}/v1/operations:watch?fields=name,metadata") as response,
    ):
        stream = parsed(response.aiter_lines())
        seen = []
        for percent in (0, 50, 100):
            steps.percent = percent
            event = await anext(stream)
            seen.append(json.loads(event["data"])["metadata"].get("progressPercent", 0))
    assert seen == [0, 50, 100]


async def test_a_list_that_cannot_be_had_is_an_error_as_of_any_request(
    url: str, steps: Steps
) -> None:
    """Before a stream begins."""
    steps.instead = refusing(grpc.StatusCode.PERMISSION_DENIED, "not yours")
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{url}/v1/operations:watch")
    assert (response.status_code, response.json()["error"]["message"]) == (403, "not yours")


async def test_a_stream_ends_with_the_gateway_and_says_when_to_come_back(steps: Steps) -> None:
    """The operation goes on, and nobody has to wait for those who listen."""
    async with ContraryBackend.open(
        {"GetOperation": steps}, reflection_versions=("v1",), pool=pool()
    ) as backend:
        config = GatewayConfig.model_validate(
            {"server": {"port": 0}, "backends": [{"name": "b", "target": backend.target}]}
        )
        async with (
            asyncio.timeout(20),
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


async def test_a_change_outside_of_what_is_asked_for_is_no_event(url: str, steps: Steps) -> None:
    """The same event, with the same id, would tell nothing."""
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", f"{url}/v1/jobs/1:watch?fields=done") as response,
    ):
        stream = parsed(response.aiter_lines())
        told = [await anext(stream)]
        for percent in (30, 60, 100):
            steps.percent = percent
            told.append(await anext(stream))
    shown = [event.get("data", event.get("")) for event in told]
    assert shown == ['{"done":false}', "it goes on", "it goes on", '{"done":true}']
