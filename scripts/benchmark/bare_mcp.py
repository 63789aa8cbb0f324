"""A program: tools of the SDK's lowlevel MCP server, two with one gRPC call each, one with none."""

from __future__ import annotations

import json
from typing import Any, Final

import grpc.aio
import mcp_types as types
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.json_format import MessageToDict, ParseDict
from mcp.server.lowlevel import Server
from starlette.applications import Starlette

from lro_gateway.demo.v1 import database_admin_pb2, database_admin_pb2_grpc
from scripts.benchmark.bare import serve
from scripts.benchmark.jobs import CANNED, GET, START

_NAME: Final = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}
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


def _result(content: dict[str, Any]) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=json.dumps(content))],
        structured_content=content,
    )


def make_app(channel: grpc.aio.Channel) -> Starlette:
    """Return the app, whose lifespan runs the sessions."""
    operations: Any = operations_pb2_grpc.OperationsStub(channel)
    databases: Any = database_admin_pb2_grpc.DatabaseAdminStub(channel)

    async def list_tools(_ctx: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=_TOOLS)

    async def call_tool(_ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        arguments = params.arguments or {}
        if params.name == CANNED.tool:
            return _result(_CANNED)
        if params.name == START.tool:
            request = ParseDict(arguments, database_admin_pb2.CreateDatabaseRequest())
            answer = await databases.CreateDatabase(request, timeout=10)
        else:
            request = operations_pb2.GetOperationRequest(name=arguments["name"])
            answer = await operations.GetOperation(request, timeout=10)
        return _result(MessageToDict(answer))

    server: Server[Any] = Server(
        "bare",
        # As the gateway does: without it the SDK runs tools/list before each call.
        get_tool_input_schema=lambda _name: None,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    return server.streamable_http_app(stateless_http=True)


if __name__ == "__main__":
    serve(make_app)
