"""Translates a failed call into a tool error or a JSON-RPC error.

This module translates every exception that ends an MCP request. An exception that is not a
`StatusError` is a fault of the gateway. The gateway logs its traceback, and the client gets
INTERNAL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from lro_gateway.access.resource import is_insufficient_scope
from lro_gateway.errors import Code, StatusError, bounded, code_name, unexpected_error
from lro_gateway.mcp import words
from lro_gateway.mcp.answers import REQUEST_ID_META, json_text
from lro_gateway.mcp.next_steps import next_step
from lro_gateway.mcp.wire import is_modern
from lro_gateway.service.confirmation import NOT_CALLED
from lro_gateway.service.unanswered import UnansweredError
from lro_gateway.service.unshown import UnshownError

_MISSING: Final = frozenset({Code.NOT_FOUND, Code.INVALID_ARGUMENT, Code.PERMISSION_DENIED})
"""The codes that a backend or the router has for the name of a missing operation."""
_LEGACY_NOT_FOUND: Final = -32002


def tool_error(
    error: Exception, *, of_method: bool = False, lists_all: bool = False
) -> types.CallToolResult:
    """Return a tool error that carries the google.rpc.Status for programs, and a next step.

    `of_method` is True if the tool calls a backend's own method, and False if the tool calls a
    verb of google.longrunning.Operations. `lists_all` is as for `next_step`.
    """
    refused = _status_error(error)
    name = code_name(refused.status.code)
    status: dict[str, Any] = {
        "code": refused.status.code,
        "status": name,
        "message": refused.message,
    }
    if details := refused.details_json():
        status["details"] = details
    to_backend = f" to backend {refused.backend}" if refused.backend else ""
    step = next_step(refused, of_method=of_method, lists_all=lists_all)
    is_made = not step.startswith(NOT_CALLED)
    text = f"The call{to_backend} failed with {name}. {step}" if is_made else step
    return types.CallToolResult(
        content=[
            types.TextContent(type="text", text=json_text(status)),
            types.TextContent(type="text", text=text),
        ],
        is_error=True,
        _meta=_meta(refused),
    )


def _meta(error: StatusError) -> dict[str, Any] | None:
    """Return the `_meta` of a failed call, with its request_id if a caller needs it for a retry."""
    if not isinstance(error, UnansweredError | UnshownError) or not error.request_id:
        return None
    return {REQUEST_ID_META: error.request_id}


def task_error(error: Exception) -> MCPError:
    """Return the JSON-RPC error of a request about a task."""
    refused = _status_error(error)
    return unknown_task() if _is_missing(refused) else _internal(refused)


def _is_missing(error: StatusError) -> bool:
    """Return whether an error says that something is missing.

    A missing scope says nothing of that. The client must learn which scopes it needs.
    """
    return error.code in _MISSING and not is_insufficient_scope(error)


def cancel_error(error: StatusError) -> MCPError:
    """Return the JSON-RPC error of a refused cancellation.

    The caller may see the task, so the error does not hide that the task exists.
    """
    return _internal(error)


def unknown_task() -> MCPError:
    """Return the error for an unknown task id.

    The error is the same whether the id is invalid, belongs to another caller, or has expired, so
    that a caller cannot find out which ids exist.
    """
    return MCPError(types.INVALID_PARAMS, "Unknown task: it may have expired, or never existed")


@contextmanager
def task_errors() -> Iterator[None]:
    """Translate an exception from a request about a task into a JSON-RPC error."""
    with _translated(task_error):
        yield


@contextmanager
def resource_errors(context: ServerRequestContext[Any, Any], uri: str) -> Iterator[None]:
    """Translate an exception from a request about one resource into a JSON-RPC error."""

    def translate(error: Exception) -> MCPError:
        refused = _status_error(error)
        if _is_missing(refused):
            return resource_not_found(context, uri)
        return _internal(refused, uri=bounded(uri))

    with _translated(translate):
        yield


def resource_not_found(context: ServerRequestContext[Any, Any], uri: str) -> MCPError:
    """Return the error for the URI of a missing resource.

    Its code is -32602 on 2026-07-28 and later revisions, and -32002 on earlier ones.
    """
    code = types.INVALID_PARAMS if is_modern(context) else _LEGACY_NOT_FOUND
    return MCPError(code, "Resource not found", {"uri": bounded(uri)})


@contextmanager
def list_errors() -> Iterator[None]:
    """Translate an exception from a request for a list or a completion into a JSON-RPC error."""

    def translate(error: Exception) -> MCPError:
        refused = _status_error(error)
        if refused.code is Code.INVALID_ARGUMENT:
            return MCPError(types.INVALID_PARAMS, words.describe_error(refused))
        return _internal(refused)

    with _translated(translate):
        yield


@contextmanager
def _translated(translate: Callable[[Exception], MCPError]) -> Iterator[None]:
    try:
        yield
    except MCPError:
        raise
    except Exception as error:
        raise translate(error) from error


def _internal(error: StatusError, **data: str) -> MCPError:
    status = {"code": error.status.code, "status": code_name(error.status.code)}
    return MCPError(types.INTERNAL_ERROR, words.describe_error(error), {**data, **status})


def _status_error(error: Exception) -> StatusError:
    """Return a `StatusError` unchanged. Log any other exception, and return INTERNAL instead."""
    if isinstance(error, StatusError):
        return error
    return unexpected_error("an MCP request", error)
