"""A failed call as a tool's error: the google.rpc.Status for programs, a next step for models."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import orjson

from lro_gateway.errors import StatusError, code_name
from lro_gateway.mcp import words


def failure(error: StatusError) -> types.CallToolResult:
    """Return a tool error that carries the google.rpc.Status and a next step."""
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
            types.TextContent(type="text", text=words.describe_failure(error)),
        ],
        is_error=True,
    )
