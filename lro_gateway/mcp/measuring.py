"""The metric of MCP requests, with the names of OpenTelemetry's conventions for MCP."""

from __future__ import annotations

import time
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError

from lro_gateway.telemetry import metrics

_METHODS: Final = frozenset(
    {
        *("initialize", "ping", "server/discover", "subscriptions/listen"),
        *("tools/list", "tools/call"),
        *("tasks/get", "tasks/update", "tasks/result", "tasks/cancel", "tasks/list"),
        *("resources/list", "resources/read", "resources/templates/list"),
        *("resources/subscribe", "resources/unsubscribe"),
        *("notifications/initialized", "notifications/cancelled", "notifications/progress"),
    }
)
_OTHER: Final = "_OTHER"
"""All other methods. A caller could otherwise make any number of labels."""


async def measured(ctx: ServerRequestContext[Any], call_next: CallNext) -> HandlerResult:
    """Record the duration of a request, and the kind of its error.

    The kind is the code of a JSON-RPC error, `tool_error` if a tool has failed, or empty.
    """
    method = ctx.method if ctx.method in _METHODS else _OTHER
    started = time.perf_counter()
    error = "cancelled"
    try:
        result = await call_next(ctx)
        error = "tool_error" if isinstance(result, dict) and result.get("isError") else ""
    except MCPError as failure:
        error = str(failure.error.code)
        raise
    finally:
        metrics.MCP.record(time.perf_counter() - started, method, error)
    return result
