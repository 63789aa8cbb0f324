"""A failed call as a tool's error: the google.rpc.Status for programs, a next step for models."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import orjson

from lro_gateway.errors import StatusError, code_name
from lro_gateway.mcp import words


def failure(error: StatusError, *, of_method: bool = False) -> types.CallToolResult:
    """Return a tool error that carries the google.rpc.Status and a next step.

    `of_method` is for a call of a backend's own method, not of an operation.
    """
    status: dict[str, Any] = {
        "code": error.status.code,
        "status": code_name(error.status.code),
        "message": error.message,
    }
    if details := error.details_json():
        status["details"] = details
    return types.CallToolResult(
        content=[
            types.TextContent(type="text", text=orjson.dumps(status).decode()),
            types.TextContent(type="text", text=words.describe_failure(error, of_method=of_method)),
        ],
        is_error=True,
    )
