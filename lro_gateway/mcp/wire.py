"""The protocol revision of a request, and functions that several methods share.

The two task protocols are the extension of 2026-07-28, and a part of the core of 2025-11-25.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

EXTENSION: Final = "io.modelcontextprotocol/tasks"
"""The identifier of the tasks extension (SEP-2663)."""

CORE_VERSION: Final = "2025-11-25"
"""The only revision whose core protocol has tasks."""


def is_modern(context: ServerRequestContext[Any]) -> bool:
    """Return whether a request has revision 2026-07-28 or later, where tasks are an extension."""
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS


def is_core(context: ServerRequestContext[Any]) -> bool:
    """Return whether a request has revision 2025-11-25, whose core protocol has tasks."""
    return context.protocol_version == CORE_VERSION


def declares_extension(context: ServerRequestContext[Any]) -> bool:
    """Return whether the request itself declares the tasks extension."""
    capabilities = context.session.client_capabilities
    extensions = capabilities.extensions if capabilities is not None else None
    return is_modern(context) and EXTENSION in (extensions or {})


def require_extension(context: ServerRequestContext[Any]) -> None:
    """Raise -32021 (missing required client capability) if the tasks extension is undeclared."""
    if not declares_extension(context):
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            f"the request must declare the extension {EXTENSION}",
            {"requiredCapabilities": {"extensions": {EXTENSION: {}}}},
        )


def no_such_method(context: ServerRequestContext[Any]) -> MCPError:
    """Return the SDK's error for a method that the request's revision does not have."""
    return MCPError(types.METHOD_NOT_FOUND, "Method not found", context.method)


def check_cursor(params: types.PaginatedRequestParams | None) -> None:
    """Raise -32602 if a request has the cursor of a page, for a list that has only one."""
    if params is not None and params.cursor:
        message = "this list has one page, so there is no such cursor; call it without one"
        raise MCPError(types.INVALID_PARAMS, message)


def timestamp(moment: dt.datetime) -> str:
    """Return a time in ISO 8601, in UTC, with milliseconds, such as 2026-01-02T03:04:05.678Z."""
    utc = moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")
    return utc.replace("+00:00", "Z")
