"""The state of a question that a tool asks before it acts: sealed, so no store is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.server.request_state import (
    InvalidRequestState,
    RequestStateBoundary,
    RequestStateSecurity,
)

from lro_gateway.sealing import Sealer, UnsealError

_PURPOSE: Final = "mcp_request_state"


class _SealedState:
    """The SDK's codec over the gateway's ring of keys; the SDK adds expiry and the request."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, payload: bytes) -> str:
        return self._sealer.seal(payload, _PURPOSE)

    def unseal(self, token: str) -> bytes:
        try:
            return self._sealer.unseal(token, _PURPOSE)
        except UnsealError as error:
            raise InvalidRequestState("not sealed here") from error


def request_state_boundary(
    sealer: Sealer, caller: Callable[[ServerRequestContext[Any, Any]], str]
) -> RequestStateBoundary:
    """Return the middleware that seals what tools ask with, for the caller that was asked."""
    security = RequestStateSecurity(codec=_SealedState(sealer), bind_principal=caller)
    return RequestStateBoundary(security, default_audience="lro-gateway")
