"""The MCP server: finds the tool, calls it, and turns a failed call into a tool error, once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette

from lro_gateway.errors import JSON, Code, StatusError, code_name, quote, status_error
from lro_gateway.mcp import words
from lro_gateway.mcp.tools import TOOLS, OperationTool, tool_result
from lro_gateway.principal import ANONYMOUS
from lro_gateway.service import OperationService

logger: Final = logging.getLogger(__name__)

_INSTRUCTIONS: Final = (
    "Follow long-running operations of the services behind this gateway. A running operation has"
    " done=false: call wait_operation until it is done, then read response or error. Use names"
    " exactly as they were returned."
)
_LIST_TTL_MS: Final = 300_000


class McpServer:
    """The MCP face over one `OperationService`; serves 2026-07-28 and every legacy era."""

    def __init__(self, service: OperationService, *, version: str) -> None:
        self._service = service
        self._tools: Mapping[str, OperationTool] = {tool.name: tool for tool in TOOLS}
        self._listed = [tool.to_tool(service.backends) for tool in TOOLS]
        self.server: Server[Any] = Server(
            "lro-gateway",
            version=version,
            title="lro-gateway",
            instructions=_INSTRUCTIONS,
            cache_hints={"tools/list": CacheHint(ttl_ms=_LIST_TTL_MS, scope="public")},
            # No tool takes an argument in a header; unless told so, the SDK looks before each call.
            get_tool_input_schema=lambda _name: None,
            on_list_tools=self._list_tools,
        )
        self.server.add_request_handler("tools/call", types.CallToolRequestParams, self._call_tool)

    def http_app(self) -> Starlette:
        """Return the app of Streamable HTTP at `/mcp`; enter `session_manager.run()` first.

        Answers in SSE, which carries progress and ends a call when its caller leaves. Host and
        Origin are checked for every face at once, before this app.
        """
        return self.server.streamable_http_app(
            stateless_http=True,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )

    async def serve_stdio(self) -> None:
        """Serve one client on stdin and stdout until it closes them."""
        async with stdio_server() as (reader, writer):
            await self.server.run(reader, writer, self.server.create_initialization_options())

    async def _list_tools(
        self, _ctx: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=self._listed)

    async def _call_tool(
        self, _ctx: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> JSON:
        tool = self._tools.get(params.name)
        if tool is None:
            known = ", ".join(self._tools)
            message = f"there is no tool {quote(params.name)}; there are: {known}"
            raise MCPError(types.INVALID_PARAMS, message)
        try:
            answer = await tool.call(self._service, ANONYMOUS, params.arguments or {})
            return answer.to_result()
        except StatusError as error:
            return _failure(error)
        except Exception:
            # A mistake of the gateway's own must reach the model as an error that it can report.
            logger.exception("tool %s failed", tool.name)
            return _failure(
                status_error(Code.INTERNAL, "the gateway failed; its log says why", "INTERNAL")
            )


def _failure(error: StatusError) -> JSON:
    """Return a tool error that carries the google.rpc.Status and a next step."""
    status: dict[str, Any] = {
        "code": error.status.code,
        "status": code_name(error.status.code),
        "message": error.message,
    }
    if details := error.details_json():
        status["details"] = details
    return {**tool_result(status, words.describe_failure(error)), "isError": True}
