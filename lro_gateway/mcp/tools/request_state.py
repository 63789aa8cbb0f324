"""The state of a question that a tool asks before it acts: sealed, so no store is needed."""

from __future__ import annotations

from typing import Any, Final

import orjson
from mcp.server.context import ServerRequestContext
from mcp.server.request_state import (
    InvalidRequestState,
    RequestStateBoundary,
    RequestStateSecurity,
)

from lro_gateway.mcp.caller import CallerOf
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


def request_state_boundary(sealer: Sealer, caller_of: CallerOf) -> RequestStateBoundary:
    """Return the middleware that seals what tools ask with, for the caller that was asked."""

    def identity(context: ServerRequestContext[Any, Any]) -> str:
        # The SDK binds a single text. A JSON list keeps the parts of an identity apart.
        return orjson.dumps(caller_of(context).identity).decode()

    security = RequestStateSecurity(codec=_SealedState(sealer), bind_principal=identity)
    return RequestStateBoundary(security, default_audience="lro-gateway")
