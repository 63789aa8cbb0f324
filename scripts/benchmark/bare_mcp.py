"""A program: one tool of the SDK's lowlevel MCP server with one gRPC call."""

from __future__ import annotations

import json
from typing import Any, Final

import mcp_types as types
from google.longrunning import operations_pb2
from google.protobuf.json_format import MessageToDict
from mcp.server.lowlevel import Server
from starlette.applications import Starlette

from scripts.benchmark.answers import TOOL
from scripts.benchmark.bare import serve

_SCHEMA: Final = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}
_TOOL: Final = types.Tool(name=TOOL, input_schema=_SCHEMA, output_schema={"type": "object"})


def make_app(stub: Any) -> Starlette:
    """Return the app, whose lifespan runs the sessions."""

    async def list_tools(_ctx: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_TOOL])

    async def call_tool(_ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        request = operations_pb2.GetOperationRequest(name=(params.arguments or {})["name"])
        content = MessageToDict(await stub.GetOperation(request, timeout=10))
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=json.dumps(content))],
            structured_content=content,
        )

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
