"""Calls that need other scopes: HTTP answers them with 403, so that a client can ask for them.

The MCP specification calls this step-up authorization. Only the endpoint knows HTTP, and only the
handlers know the error, so a mark in the scope of the HTTP request connects them.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

import mcp_types as types
import orjson
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError

from lro_gateway.access.resource import is_insufficient_scope
from lro_gateway.errors import StatusError, code_name

_KEY: Final = "lro_gateway.step_up"


async def stepping_up(ctx: ServerRequestContext[Any], call_next: CallNext) -> HandlerResult:
    """Mark the HTTP request of a call that needs other scopes, whatever the method of the call."""
    try:
        return await call_next(ctx)
    except MCPError as failure:
        cause = failure.__cause__
        if ctx.request is not None and is_insufficient_scope(cause):
            ctx.request.scope[_KEY] = cause
        raise


def refuse_call(ctx: ServerRequestContext[Any], error: Exception) -> None:
    """Raise the JSON-RPC error of a tool call over HTTP that needs other scopes.

    For any other error, and over stdio, this does nothing. The model then gets a tool error.
    """
    if ctx.request is not None and is_insufficient_scope(error):
        raise MCPError(types.INVALID_REQUEST, str(error)) from error


def needed_scopes(scope: MutableMapping[str, Any]) -> StatusError | None:
    """Return the error of an HTTP request whose call needs other scopes, if it does."""
    error: StatusError | None = scope.get(_KEY)
    return error


def step_up_body(body: bytes, error: StatusError) -> bytes:
    """Return the JSON-RPC error for the body of a request whose call needs other scopes."""
    data = {
        "code": error.status.code,
        "status": code_name(error.status.code),
        "details": error.details_json(),
    }
    failure = {"code": types.INVALID_REQUEST, "message": error.message, "data": data}
    answer = {"jsonrpc": "2.0", "id": orjson.loads(body).get("id"), "error": failure}
    return orjson.dumps(answer)
