"""What both wires of tasks share: which one a request is on, and how times are written."""

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
"""The one revision whose core has tasks."""


def is_modern(context: ServerRequestContext[Any]) -> bool:
    """Tell whether a request is of 2026-07-28 or later, where tasks are an extension."""
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS


def is_core(context: ServerRequestContext[Any]) -> bool:
    """Tell whether a request is of the revision whose core has tasks."""
    return context.protocol_version == CORE_VERSION


def declares_extension(context: ServerRequestContext[Any]) -> bool:
    """Tell whether this very request declares the tasks extension."""
    capabilities = context.session.client_capabilities
    extensions = capabilities.extensions if capabilities is not None else None
    return is_modern(context) and EXTENSION in (extensions or {})


def require_extension(context: ServerRequestContext[Any]) -> None:
    """Refuse a request that does not declare the extension."""
    if not declares_extension(context):
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            f"the request must declare the extension {EXTENSION}",
            {"requiredCapabilities": {"extensions": {EXTENSION: {}}}},
        )


def no_such_method(context: ServerRequestContext[Any]) -> MCPError:
    """Return the refusal of a method that this request's revision lacks, as the SDK words it."""
    return MCPError(types.METHOD_NOT_FOUND, "Method not found", context.method)


def timestamp(moment: dt.datetime) -> str:
    """Return ISO 8601 in UTC with milliseconds."""
    utc = moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")
    return utc.replace("+00:00", "Z")
