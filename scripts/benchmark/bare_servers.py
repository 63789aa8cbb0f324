"""Programs: minimal hand-written servers, which the gateway is compared with.

`rest` has two FastAPI routes with one gRPC call each. `mcp` has three tools on the lowlevel server
of the MCP SDK: two make one gRPC call each, and one makes none.
`sse` sends one event to each client, and then nothing more.
All servers run on uvicorn, as the gateway does.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc.aio
import mcp_types as types
import uvicorn
import uvloop
from fastapi import FastAPI
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.json_format import MessageToDict, ParseDict
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from lro_gateway.demo.v1 import database_admin_pb2, database_admin_pb2_grpc
from scripts.benchmark.processes import Message, answer_lines
from scripts.benchmark.requests import CANNED, GET, START

_NAME: Final = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
_DATABASE: Final = {
    "type": "object",
    "properties": {"databaseId": {"type": "string"}, "rowCount": {"type": "integer"}},
    "required": ["databaseId"],
}
_TOOLS: Final = [
    types.Tool(name=name, input_schema=schema, output_schema={"type": "object"})
    for name, schema in ((GET.tool, _NAME), (START.tool, _DATABASE), (CANNED.tool, _NAME))
]
_CANNED: Final = MessageToDict(CANNED.operation(CANNED.subject(0)))


class Calls:
    """The two gRPC calls; each takes JSON values and returns JSON values."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._operations: Any = operations_pb2_grpc.OperationsStub(channel)
        self._databases: Any = database_admin_pb2_grpc.DatabaseAdminStub(channel)

    async def get(self, name: str) -> dict[str, Any]:
        """Get an operation."""
        request = operations_pb2.GetOperationRequest(name=name)
        return MessageToDict(await self._operations.GetOperation(request, timeout=10))

    async def start(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Create a database."""
        request = ParseDict(arguments, database_admin_pb2.CreateDatabaseRequest())
        return MessageToDict(await self._databases.CreateDatabase(request, timeout=10))


def rest_app(calls: Calls) -> ASGIApp:
    """Return the application with the two routes."""
    app = FastAPI()

    @app.post("/v1/databases")
    async def create_database(body: dict[str, Any]) -> dict[str, Any]:
        return await calls.start(body)

    @app.get("/v1/{name:path}")
    async def get_operation(name: str) -> dict[str, Any]:
        return await calls.get(name)

    return app


def mcp_app(calls: Calls) -> ASGIApp:
    """Return the application with the tools, on Streamable HTTP without sessions."""

    async def list_tools(_ctx: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=_TOOLS)

    async def call_tool(_ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        arguments = params.arguments or {}
        if params.name == CANNED.tool:
            answer = _CANNED
        elif params.name == START.tool:
            answer = await calls.start(arguments)
        else:
            answer = await calls.get(arguments["name"])
        text = types.TextContent(type="text", text=json.dumps(answer))
        return types.CallToolResult(content=[text], structured_content=answer)

    server: Server[Any] = Server(
        "bare",
        # Without this argument the SDK runs tools/list before each call. The gateway sets it too.
        get_tool_input_schema=lambda _name: None,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_subscriptions_listen=_listen,
    )
    return server.streamable_http_app(stateless_http=True)


async def _listen(
    ctx: Any, params: types.SubscriptionsListenRequestParams
) -> types.SubscriptionsListenResult:
    """Acknowledge a subscription, and send nothing more."""
    meta = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
    acknowledged = types.SubscriptionsAcknowledgedNotificationParams(
        notifications=params.notifications, _meta=meta
    )
    await ctx.session.send_notification(
        types.SubscriptionsAcknowledgedNotification(params=acknowledged),
        related_request_id=ctx.request_id,
    )
    await asyncio.get_running_loop().create_future()
    return types.SubscriptionsListenResult(_meta=meta)


def sse_app(_calls: Calls) -> ASGIApp:
    """Return an application that answers each request with a stream of server-sent events."""

    async def events() -> AsyncIterator[bytes]:
        yield b"data: {}\n\n"
        await asyncio.get_running_loop().create_future()

    async def stream(_request: Request) -> StreamingResponse:
        return StreamingResponse(events(), media_type="text/event-stream")

    return Starlette(routes=[Route("/", stream)])


async def main(protocol: str, target: str) -> None:
    """Serve one of the servers in front of the backend at `target` until stdin closes."""
    async with grpc.aio.insecure_channel(target) as channel:
        app = {"rest": rest_app, "mcp": mcp_app, "sse": sse_app}[protocol](Calls(channel))
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await answer_lines(_no_orders, address=f"127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            await serving


async def _no_orders(order: Message) -> Message:
    return order


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
