"""Every name that a backend gives to an operation can be given back to the gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import grpc
import grpc.aio
import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty
from mcp import Client

from tests.contrary import Answer, ContraryBackend, Handler
from tests.gateways import FACES, FaceName, face, serving
from tests.mcp.wire import Wire, wire

pytestmark = pytest.mark.anyio

NAMES = (
    "/uploads/1",
    "a//b",
    "a/",
    "//",
    "/",
    "https://builds.test/operations/1",
    "//b/operations/1",
    "//other/operations/1",
    "-/backends/b/operations/1",
    "-",
    "b/operations/1",
    "operations",
    "projects/p/operations",
    "operations/operations/",
    "..",
    "a/../b",
    "./a",
    "x:cancel",
    "x:wait",
    "x:watch",
    "projects/p:cancel",
    ":cancel",
    "operations:watch",
    "a?b=c&name=d",
    "a#b",
    "a%2Fb",
    "%",
    "%2e%2e/a",
    "a b",
    " ",
    "a+b",
    "a\\b",
    "{name}",
    "*",
    "a\nb",
    "a\r\nb",
    "a\0b",
    "\x1b[31m",
    "a\u2028b",
    "é/日本/😀",
    "e\u0301",
    "\u202ea",
    "a" * 10_000,
    "😀/" * 1000,
)


@dataclass
class Given:
    """A backend with one operation for each name. `touched` has the names that it was asked for."""

    names: tuple[str, ...] = NAMES
    touched: list[str] = field(default_factory=list)
    done: bool = True

    def handlers(self) -> dict[str, Handler]:
        """Return handlers of the five RPCs."""
        return {
            "GetOperation": self._one,
            "WaitOperation": self._one,
            "ListOperations": self._all,
            "CancelOperation": self._acknowledged,
            "DeleteOperation": self._acknowledged,
        }

    async def _one(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Answer:
        self.touched.append(request.name)
        if request.name not in self.names:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such operation")
        answer: Answer = operations_pb2.Operation(name=request.name, done=self.done)
        return answer

    async def _all(self, _request: Any, _context: Any) -> Answer:
        operations = [operations_pb2.Operation(name=name, done=True) for name in self.names]
        answer: Answer = operations_pb2.ListOperationsResponse(operations=operations)
        return answer

    async def _acknowledged(self, request: Any, context: Any) -> Answer:
        await self._one(request, context)
        return Empty()


SETTINGS: Mapping[str, list[Mapping[str, Any]]] = {
    "one backend": [{"name": "b"}],
    "two backends": [{"name": "b"}, {"name": "other"}],
    "patterns": [{"name": "b", "operations": ["**"]}, {"name": "other"}],
    "a pair": [
        {"name": "b", "operations": {"{id}": "jobs/{id}"}},
        {"name": "other", "operations": {"{a}/{id}": "others/{a}/{id}"}},
    ],
}


@asynccontextmanager
async def gateway(kind: str) -> AsyncIterator[tuple[str, Given]]:
    """Serve a gateway whose backend `b` has the operations; yield its URL and the backend."""
    given, other = Given(), Given(())
    async with (
        ContraryBackend.open(given.handlers()) as backend,
        ContraryBackend.open(other.handlers()) as second,
        serving(
            *(
                {**each, "target": backend.target if each["name"] == "b" else second.target}
                for each in SETTINGS[kind]
            )
        ) as url,
    ):
        yield url, given


async def listed(url: str) -> list[str]:
    """Return the names that a list returns, in the order of `NAMES`."""
    async with httpx.AsyncClient(base_url=url) as client:
        page = (await client.get("/v1/operations")).json()
    return [operation["name"] for operation in page["operations"]]


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("era", FACES[1:])
async def test_a_tool_takes_every_name_that_a_list_has_returned(kind: str, era: FaceName) -> None:
    """The call reaches the operation, also if the caller names the backend too."""
    async with gateway(kind) as (url, given), face(era, url) as client:
        for name, returned in zip(NAMES, await listed(url), strict=True):
            given.touched.clear()
            assert (await client.get(returned))["name"] == returned
            assert (await client.wait(returned, backend="b"))["name"] == returned
            await client.cancel(returned)
            await client.delete(returned, backend="b")
            assert set(given.touched) == {name}


@pytest.mark.parametrize("kind", SETTINGS)
async def test_a_path_takes_every_name_that_a_list_has_returned(kind: str) -> None:
    """Where a path cannot have the name, the parameter `name` of the path `/v1/-` can."""
    async with gateway(kind) as (url, given), httpx.AsyncClient(base_url=url) as client:
        for name, returned in zip(NAMES, await listed(url), strict=True):
            given.touched.clear()
            query, body = {"name": returned}, json.dumps({"name": returned})
            answers = [
                await client.get("/v1/-", params=query),
                await client.delete("/v1/-", params=query),
                await client.post("/v1/-:wait", content=body),
                await client.post("/v1/-:wait", params=query),
                await client.post("/v1/-:cancel", content=body),
                await client.get("/v1/-:watch", params=query),
            ]
            assert [answer.status_code for answer in answers] == [200] * len(answers), name
            assert answers[0].json()["name"] == returned
            assert json.loads(answers[5].text.partition("data: ")[2])["name"] == returned
            assert set(given.touched) == {name}


async def raw(url: str, target: str) -> httpx.Response:
    """Send GET with exactly this target, which a URL library would normalize."""
    request = httpx.Request("GET", url, extensions={"target": target.encode()})
    async with httpx.AsyncHTTPTransport() as transport:
        response = await transport.handle_async_request(request)
        await response.aread()
    return response


@pytest.mark.parametrize("kind", ["one backend", "two backends"])
@pytest.mark.parametrize("form", ["returned", "//", "-/backends/"])
async def test_a_path_can_have_nearly_every_name_itself(kind: str, form: str) -> None:
    """Percent-encode a name's characters except slashes. An end `/operations` makes a list."""
    async with gateway(kind) as (url, given):
        for name, returned in zip(NAMES, await listed(url), strict=True):
            if name.split("/")[-1] == "operations":
                continue
            given.touched.clear()
            sent = returned if form == "returned" else f"{form}b/{name}"
            response = await raw(url, f"/v1/{quote(sent, safe='/')}")
            assert (response.status_code, given.touched) == (200, [name]), (name, response.text)
            assert response.json()["name"] == returned


@pytest.mark.parametrize("kind", SETTINGS)
async def test_a_resource_is_read_by_the_uri_that_a_list_has_returned(kind: str) -> None:
    """The same holds after a client has normalized the URI, and for the names of completions."""
    async with gateway(kind) as (url, given), Client(f"{url}/mcp", mode="2026-07-28") as client:
        resources = (await client.list_resources()).resources
        for name, resource in zip(NAMES, resources, strict=True):
            given.touched.clear()
            uri = str(resource.uri)
            assert uri.isascii()
            assert not {"..", "."} & set(urlsplit(uri).path.split("/"))
            (content,) = (await client.read_resource(uri)).contents
            assert json.loads(getattr(content, "text", ""))["name"] == resource.name
            assert set(given.touched) == {name}


@pytest.mark.parametrize("kind", SETTINGS)
async def test_a_task_follows_an_operation_of_every_name(kind: str) -> None:
    """tools/call returns a task for the running operation, and tasks/get finds it."""
    async with gateway(kind) as (url, given):
        returned = await listed(url)
        given.done = False
        async with wire(f"{url}/mcp") as client:
            for name, public in zip(NAMES, returned, strict=True):
                task = await _task(client, public)
                given.touched.clear()
                state = await client("tasks/get", taskId=task)
                assert state["status"] == "working"
                await client("tasks/cancel", taskId=task)
                assert set(given.touched) == {name}


async def _task(client: Wire, name: str) -> str:
    arguments = {"name": name, "timeout": "0s"}
    created = await client("tools/call", name="wait_operation", arguments=arguments)
    return str(created["taskId"])


@pytest.mark.parametrize("name", ["projects/p/operations", "operations"])
async def test_an_encoded_end_of_a_path_is_part_of_a_name(name: str) -> None:
    """Only `/operations` without percent-encoding makes a path the path of a list."""
    path = f"/v1/{name.removesuffix('operations')}%6Fperations"
    async with gateway("patterns") as (url, given):
        one, event = await raw(url, path), await raw(url, f"{path}:watch")
        page = await raw(url, f"/v1/{name}")
    assert one.json() == {"name": name, "done": True}
    assert json.loads(event.text.partition("data: ")[2])["name"] == name
    assert len(page.json()["operations"]) == len(NAMES)
    assert given.touched == [name, name]
