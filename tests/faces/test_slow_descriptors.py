"""A backend whose reflection is slow, hangs or is endless delays nobody but its own callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from lro_gateway.service.catalog import VERB_NAMES
from tests.descriptors.test_source_list import service_file
from tests.gateways import serving
from tests.mcp.wire import Wire, wire
from tests.reflecting import ReflectingBackend, key_of

LIST = "list_services *"
DONE = operations_pb2.Operation(name="jobs/1", done=True).SerializeToString()
VERBS = VERB_NAMES


@dataclass
class SlowBackend(ReflectingBackend):
    """A server of reflection that answers no request whose text begins with one in `held`."""

    held: tuple[str, ...] = ()
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @asynccontextmanager
    async def slow(
        cls, files: list[FileDescriptorProto], services: list[str], held: tuple[str, ...]
    ) -> AsyncIterator[SlowBackend]:
        """Serve these files and services."""
        async with cls.open(files, *services, held=held) as backend:
            assert isinstance(backend, cls)
            yield backend

    async def _answer(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            if key_of(request).startswith(self.held):
                await self.let_go.wait()
            async for answer in super()._answer(_only(request), context):
                yield answer


async def _only(request: Any) -> AsyncIterator[Any]:
    yield request


async def _start(_request: bytes, _context: Any) -> bytes:
    return bytes(DONE)


@dataclass
class Neighbours:
    """A gateway to a sound backend and a slow one, and its clients."""

    slow: SlowBackend
    rest: httpx.AsyncClient
    mcp: Wire

    async def tools(self) -> list[str]:
        """Return the names of the tools of methods."""
        listed = (await self.mcp("tools/list"))["tools"]
        return [tool["name"] for tool in listed if tool["name"] not in VERBS]


@asynccontextmanager
async def neighbours(*held: str, services: int = 3, wait: str = "2s") -> AsyncIterator[Neighbours]:
    """Run the gateway until the context ends. `wait` is the slow backend's `discovery_wait`."""
    files = [service_file(f"{number}.proto", f"slow{number}") for number in range(services)]
    names = [f"slow{number}.Builds" for number in range(services)]
    sound_file = service_file("sound.proto", "sound")
    sound_file.service[0].method[0].name = "Make"
    async with AsyncExitStack() as stack:
        slow = await stack.enter_async_context(SlowBackend.slow(files, names, held))
        stack.callback(slow.let_go.set)
        sound = await stack.enter_async_context(
            ReflectingBackend.open(
                [sound_file], "sound.Builds", methods={"sound.Builds/Make": _start}
            )
        )
        url = await stack.enter_async_context(
            serving(
                {"name": "sound", "target": sound.target},
                {"name": "slow", "target": slow.target, "discovery_wait": wait, "deadline": "100s"},
            )
        )
        rest = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60))
        mcp = await stack.enter_async_context(wire(f"{url}/mcp"))
        yield Neighbours(slow, rest, mcp)


HELD = [(LIST,), ("file_containing_symbol",), ("file_by_filename",)]


@pytest.mark.parametrize("held", HELD, ids=lambda held: held[0])
async def test_a_backend_whose_reflection_hangs_delays_no_start_of_another(
    held: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds for the first call after the start of the gateway, over both faces."""
    monkeypatch.setattr("lro_gateway.config.backends._REFLECTION_DEADLINE", timedelta(seconds=100))
    async with neighbours(*held, wait="100s") as found, asyncio.timeout(60):
        started = await found.rest.post("/v1/sound.Builds/Make", json={"title": "t"})
        tool = await found.mcp("tools/call", name="make", arguments={"title": "t"})
    assert started.json()["name"] == tool["structuredContent"]["name"] == "//sound/jobs/1"


@pytest.mark.parametrize("held", HELD, ids=lambda held: held[0])
async def test_lists_wait_for_a_slow_backend_only_for_its_discovery_wait(
    held: tuple[str, ...],
) -> None:
    """The tools and the OpenAPI document then have what is known, and the log says so later."""
    async with neighbours(*held) as found:
        assert await found.tools() == ["make"]
        document = (await found.rest.get("/openapi.json")).json()
        assert [path for path in document["paths"] if "Builds" in path] == ["/v1/sound.Builds/Make"]


async def test_the_services_that_are_known_by_then_are_served_and_the_others_follow() -> None:
    """Clients learn of the others by tools/list_changed."""
    held = "file_containing_symbol slow1"
    async with neighbours(held, services=2) as found:
        async with asyncio.timeout(60):
            # A busy machine may need longer for the first service than the time of discovery.
            while await found.tools() != ["build", "make"]:
                pass
        asked = {"notifications": {"toolsListChanged": True}}
        async with found.mcp.stream("subscriptions/listen", **asked) as events:
            await anext(events)
            found.slow.let_go.set()
            async for event in events:
                if event.get("method") == "notifications/tools/list_changed":
                    break
        assert await found.tools() == ["make", "slow0_builds_build", "slow1_builds_build"]


@pytest.mark.parametrize("held", HELD[:2], ids=lambda held: held[0])
async def test_a_method_that_a_slow_backend_may_have_is_unavailable(
    held: tuple[str, ...],
) -> None:
    """The answer is 503 with the backend's name, and not that the path or the tool is unknown."""
    async with neighbours(*held) as found:
        for _ in range(2):
            started = await found.rest.post("/v1/slow0.Builds/Build", json={})
            error = started.json()["error"]
            assert (started.status_code, error["status"]) == (503, "UNAVAILABLE")
            assert error["details"][0]["reason"] == "METHODS_NOT_KNOWN"
            assert "backend 'slow'" in error["message"]
        called = await found.mcp("tools/call", name="build", arguments={})
        assert called["isError"]
        assert "METHODS_NOT_KNOWN" in called["content"][0]["text"]
        found.slow.let_go.set()
        path = "/v1/slow0.Builds/Build"
        while (started := await found.rest.post(path, json={})).status_code == 503:
            assert "METHODS_NOT_KNOWN" in started.text
        assert started.json()["error"]["details"][0]["reason"] == "RPC_UNIMPLEMENTED"
