"""The check that the arguments of a tool are a JSON object, and the key beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError

from lro_gateway.descriptors.scalars import shown
from lro_gateway.errors import JSON, StatusError, invalid_argument
from lro_gateway.mcp.failures import tool_error
from lro_gateway.service.idempotency import FIELD, malformed_key


async def refuse_other_arguments(
    ctx: ServerRequestContext[Any], call_next: CallNext
) -> HandlerResult:
    """Answer a tools/call whose arguments are no object, for example a string that holds JSON.

    The SDK would answer with a JSON-RPC error that does not name the mistake, and a model does not
    see such an error. The answer is a tool error, by which the model corrects the call.
    """
    params = ctx.params or {}
    arguments = params.get("arguments")
    if ctx.method != "tools/call" or arguments is None or isinstance(arguments, dict):
        return await call_next(ctx)
    error = no_object(arguments)
    if params.get("task") is not None:
        raise MCPError(types.INVALID_PARAMS, error.message)
    result = tool_error(error, of_method=True)
    wire: JSON = result.model_dump(by_alias=True, exclude_none=True, mode="json")
    return {**wire, "resultType": "complete"}


def no_object(arguments: Any) -> StatusError:
    """Return the error for arguments that are no object."""
    problem = f"an object is needed, not {shown(arguments)}"
    return invalid_argument("arguments", problem, "INVALID_JSON")


def idempotency_key(meta: Mapping[str, Any] | None) -> str | None:
    """Return the idempotency key in the `_meta` of a request, or None if it has none."""
    key = (meta or {}).get(FIELD)
    if key is None or isinstance(key, str):
        return key
    raise malformed_key(f"a string is needed, not {shown(key)}")
