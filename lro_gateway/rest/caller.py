"""The caller of a REST request."""

from __future__ import annotations

from starlette.requests import Request

from lro_gateway.access.authentication import caller_in, has_caller
from lro_gateway.principal import Principal


def caller_of(request: Request) -> Principal:
    """Return the caller, as the guard authenticated it before the request was routed."""
    return caller_in(request.scope)


def is_refused(request: Request) -> bool:
    """Return whether a request has no valid caller, and was let through to a page without data."""
    return not has_caller(request.scope)
