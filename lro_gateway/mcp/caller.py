"""The caller of an MCP request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcp.server.context import ServerRequestContext

from lro_gateway.access.authentication import Authenticator, caller_in
from lro_gateway.principal import Principal

CallerOf = Callable[[ServerRequestContext[Any, Any]], Principal]
"""Returns the caller of a request."""


def caller_of(authenticator: Authenticator) -> CallerOf:
    """Return the function that finds the caller of a request, over HTTP or stdio."""

    def of_request(context: ServerRequestContext[Any, Any]) -> Principal:
        # Over stdio there is no HTTP request. The caller is the user that started the process.
        if context.request is None:
            return authenticator.of_process()
        return caller_in(context.request.scope)

    return of_request
