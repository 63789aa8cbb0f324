"""The check of the trace context in the `_meta` of a request (W3C Trace Context, SEP-414)."""

from __future__ import annotations

from typing import Any, Final

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError

from lro_gateway.descriptors.scalars import shown

_KEYS: Final = ("traceparent", "tracestate", "baggage")


async def refuse_other_trace_context(
    ctx: ServerRequestContext[Any], call_next: CallNext
) -> HandlerResult:
    """Refuse a trace context that is no text, which OpenTelemetry would fail to read."""
    for key in _KEYS:
        value = (ctx.meta or {}).get(key)
        if value is not None and not isinstance(value, str):
            text = f"_meta.{key}: a string is needed, not {shown(value)}"
            raise MCPError(types.INVALID_PARAMS, text)
    return await call_next(ctx)
