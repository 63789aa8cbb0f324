"""MCP over stdio, with the real command in a subprocess."""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from google.longrunning import operations_pb2
from mcp import Client, StdioServerParameters

from lro_gateway.demo.pace import Gate
from lro_gateway.demo.server import DemoServer
from tests import factory
from tests.contrary import ContraryBackend, answering

COMMAND = str(Path(sys.executable).with_name("lro-gateway"))
DONE = operations_pb2.Operation(name="jobs/1", done=True)


@pytest.fixture
async def backend() -> AsyncIterator[ContraryBackend]:
    """Serve a backend with one operation."""
    async with ContraryBackend.open({"GetOperation": answering(DONE)}) as opened:
        yield opened


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy", "auto"])
async def test_a_client_calls_tools_over_stdio(mode: str, backend: ContraryBackend) -> None:
    """The tools and the answers are the same as over HTTP, in every protocol version."""
    server = StdioServerParameters(
        command=COMMAND, args=["serve", "--stdio", "--backend", backend.target]
    )
    with anyio.fail_after(60):
        async with Client(server, mode=mode) as client:
            listed = await client.list_tools()
            result = await client.call_tool("get_operation", {"name": "jobs/1"})
    assert [tool.name for tool in listed.tools] == [
        "get_operation",
        "list_operations",
        "wait_operation",
        "cancel_operation",
        "delete_operation",
    ]
    assert result.structured_content == {"name": "jobs/1", "done": True}


async def test_stdout_has_only_messages_and_the_command_ends_with_stdin() -> None:
    """This is so with a backend that is down and a line that is not JSON; the status is 0."""
    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    lines = ["not json", json.dumps(request)]
    with anyio.fail_after(60):
        done = await anyio.run_process(
            [COMMAND, "serve", "--stdio", "--backend", "127.0.0.1:1"],
            input="".join(line + "\n" for line in lines).encode(),
            env=dict(os.environ),
        )
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(message["jsonrpc"] == "2.0" for message in messages)
    assert messages[-1]["result"]["serverInfo"]["name"] == "lro-gateway"
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"lro-gateway: MCP on stdin and stdout; version") == 1


class Session:
    """A session of protocol version 2025-11-25 with the real command, line by line."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._stdout = BufferedByteReceiveStream(process.stdout)
        self.notifications: list[Any] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, *arguments: str) -> AsyncIterator[Session]:
        async with await anyio.open_process([COMMAND, "serve", "--stdio", *arguments]) as process:
            yield cls(process)
            assert process.stdin is not None
            await process.stdin.aclose()
            assert await process.wait() == 0

    async def send(self, **message: Any) -> None:
        await self._stdin.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def receive(self) -> Any:
        return json.loads(await self._stdout.receive_until(b"\n", 2**20))

    async def request(self, method: str, **params: Any) -> Any:
        """Send a request and return its result; keep the notifications that come before it."""
        await self.send(id=1, method=method, params=params)
        while "result" not in (message := await self.receive()):
            self.notifications.append(message)
        return message["result"]

    async def initialize(self) -> Any:
        info = {"name": "test", "version": "1"}
        result = await self.request(
            "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=info
        )
        await self.send(method="notifications/initialized")
        return result


async def test_a_session_is_notified_of_the_statuses_of_its_tasks(
    tmp_path: Path,
) -> None:
    """The gateway can send notifications over stdio, because the session stays open."""
    gate = Gate()
    async with (
        DemoServer.open(tmp_path, pace=gate) as demo,
        gate,
        Session.open("--backend", demo.target) as session,
    ):
        with anyio.fail_after(60):
            capabilities = (await session.initialize())["capabilities"]
            assert capabilities["tools"] == {"listChanged": True}
            assert capabilities["tasks"]["requests"] == {"tools": {"call": {}}}
            arguments = {"databaseId": "orders"}
            call = {"name": "create_database", "arguments": arguments, "task": {}}
            task = (await session.request("tools/call", **call))["task"]
            assert task["status"] == "working"
            gate.release()
            statuses = [task["status"]]
            while statuses[-1] == "working":
                notification = await session.receive()
                assert notification["method"] == "notifications/tasks/status"
                assert notification["params"]["taskId"] == task["taskId"]
                statuses.append(notification["params"]["status"])
            assert statuses[-1] == "completed"


async def test_a_session_is_notified_when_the_tools_have_changed(tmp_path: Path) -> None:
    """The tools change because the descriptors of the backend do."""
    files = copy.deepcopy(factory.descriptor_set())
    descriptors = anyio.Path(tmp_path) / "factory.binpb"
    await descriptors.write_bytes(files.SerializeToString())
    config = anyio.Path(tmp_path) / "gateway.toml"
    await config.write_text(
        '[[backends]]\nname = "b"\ntarget = "127.0.0.1:1"\n'
        'descriptors = ["factory.binpb"]\ndescriptor_refresh = "0.1s"\n'
    )
    async with Session.open("--config", str(config)) as session:
        with anyio.fail_after(60):
            await session.initialize()
            before = {tool["name"] for tool in (await session.request("tools/list"))["tools"]}
            files.file[-1].service[0].method[0].name = "Assemble"
            await descriptors.write_bytes(files.SerializeToString())
            assert (await session.receive())["method"] == "notifications/tools/list_changed"
            after = {tool["name"] for tool in (await session.request("tools/list"))["tools"]}
    assert (before - after, after - before) == ({"build_machine"}, {"assemble"})


async def test_a_session_subscribes_to_an_operation(tmp_path: Path) -> None:
    """It is notified at once and at each change, until it unsubscribes."""
    gate = Gate()
    async with (
        DemoServer.open(tmp_path, pace=gate) as demo,
        gate,
        Session.open("--backend", f"demo={demo.target}") as session,
    ):
        with anyio.fail_after(60):
            capabilities = (await session.initialize())["capabilities"]
            assert capabilities["resources"] == {"subscribe": True, "listChanged": False}
            call = {"name": "create_database", "arguments": {"databaseId": "orders"}}
            started = (await session.request("tools/call", **call))["structuredContent"]
            uri = f"operation://demo/{started['name']}"
            assert await session.request("resources/subscribe", uri=uri) == {}
            updated = {"method": "notifications/resources/updated", "params": {"uri": uri}}
            assert await session.receive() == {"jsonrpc": "2.0", **updated}
            gate.release()
            assert await session.receive() == {"jsonrpc": "2.0", **updated}
            read = await session.request("resources/read", uri=uri)
            assert json.loads(read["contents"][0]["text"])["metadata"]["progressPercent"] > 0
            assert await session.request("resources/unsubscribe", uri=uri) == {}
