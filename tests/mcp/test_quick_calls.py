"""A read of one operation needs no stream, and is otherwise as every call is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.longrunning import operations_pb2

from tests.contrary import Answer, ContraryBackend, answering
from tests.gateways import serving
from tests.mcp.wire import RpcError, wire

RUNNING = operations_pb2.Operation(name="jobs/1")
CALL: dict[str, Any] = {"name": "get_operation", "arguments": {"name": "jobs/1"}}


class Hanging:
    """A handler that answers nothing until its call is cancelled."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, _request: object, _context: object) -> Answer:
        self.called.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        raise AssertionError("unreachable: nothing sets the event")


@pytest.mark.parametrize("deadline", ["10s", "11s"])
async def test_a_read_has_the_same_answer_with_and_without_a_stream(deadline: str) -> None:
    """With a longer deadline the SDK may begin a stream, which keeps the connection open."""
    async with (
        ContraryBackend.open({"GetOperation": answering(RUNNING)}) as backend,
        serving({"name": "b", "target": backend.target, "deadline": deadline}) as url,
        wire(f"{url}/mcp") as client,
    ):
        result = await client("tools/call", **CALL)
        assert result["structuredContent"] == {"name": "jobs/1", "done": False}
        assert (result["resultType"], result["isError"]) == ("complete", False)
        failed = await client("tools/call", name="get_operation", arguments={})
        assert failed["isError"]


@pytest.mark.parametrize("deadline", ["10s", "60s"])
async def test_the_call_of_a_client_that_leaves_is_cancelled(deadline: str) -> None:
    """The gateway then goes on to answer others."""
    hanging = Hanging()
    async with (
        asyncio.timeout(60),
        ContraryBackend.open({"GetOperation": hanging}) as backend,
        serving({"name": "b", "target": backend.target, "deadline": deadline}) as url,
        wire(f"{url}/mcp") as client,
    ):
        async with wire(f"{url}/mcp") as leaving:
            call = asyncio.ensure_future(leaving("tools/call", **CALL))
            await hanging.called.wait()
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        await hanging.cancelled.wait()
        assert (await client("tools/list"))["tools"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Mcp-Name": "get_operation"}, 400),
        ({"Mcp-Method": "tools/call"}, 400),
        ({"Accept": "application/json"}, 406),
    ],
)
async def test_headers_that_differ_from_the_call_are_refused(
    headers: dict[str, str], status: int
) -> None:
    """Nothing reaches a backend."""
    other = {"name": "wait_operation", "arguments": {"name": "jobs/1"}}
    method = "tools/list" if "Mcp-Method" in headers else "tools/call"
    params = {} if method == "tools/list" else CALL if "Accept" in headers else other
    named = {"Mcp-Name": "get_operation", **headers}
    async with (
        ContraryBackend.open({"GetOperation": answering(RUNNING)}) as backend,
        serving({"name": "b", "target": backend.target}) as url,
        wire(f"{url}/mcp") as client,
    ):
        if status == 406:
            response = await client.http.post(
                client.url,
                headers={"MCP-Protocol-Version": client.version, "Mcp-Method": method, **named},
                json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params},
            )
            assert response.status_code == status
        else:
            with pytest.raises(RpcError) as refused:
                await client(method, headers=named, **params)
            assert refused.value.http_status == status
        assert backend.count("GetOperation") == 0
