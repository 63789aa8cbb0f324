"""The state of a question that a tool asks before it acts.

The gateway seals the state and sends it to the client, so the gateway does not store the state.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from mcp.server.context import ServerRequestContext
from mcp.server.request_state import (
    InvalidRequestState,
    RequestStateBoundary,
    RequestStateSecurity,
)

from lro_gateway.access.sealing import Sealer, UnsealError
from lro_gateway.mcp.caller import CallerOf

_PURPOSE: Final = "mcp_request_state"


class _SealedState:
    """Seals the SDK's request states with the gateway's keys.

    The SDK itself adds the expiry of the state, and binds the state to the request.
    """

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, payload: bytes) -> str:
        return self._sealer.seal(payload, _PURPOSE)

    def unseal(self, token: str) -> bytes:
        try:
            return self._sealer.unseal(token, _PURPOSE)
        except UnsealError as error:
            raise InvalidRequestState("this gateway's keys did not seal the state") from error


def request_state_boundary(sealer: Sealer, caller_of: CallerOf) -> RequestStateBoundary:
    """Return the middleware that seals the state of a question for one caller."""

    def identity(context: ServerRequestContext[Any, Any]) -> str:
        # The SDK binds the state to one string. A JSON list keeps the parts of an identity apart.
        return orjson.dumps(caller_of(context).identity).decode()

    security = RequestStateSecurity(codec=_SealedState(sealer), bind_principal=identity)
    return RequestStateBoundary(security, default_audience="lro-gateway")
