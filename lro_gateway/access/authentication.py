"""From a request to its caller: the only place that makes a `Principal`."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Protocol, cast

from lro_gateway.principal import ANONYMOUS, Principal

_CALLER: Final = "lro_gateway.caller"
"""The key of an ASGI scope under which a request carries its caller."""

Scope = Mapping[str, Any]
"""An ASGI connection scope."""


class Authenticator(Protocol):
    """Identifies callers."""

    async def of_request(self, scope: Scope) -> Principal:
        """Return the caller of an HTTP request.

        Raises a `StatusError` with UNAUTHENTICATED if its credentials are missing or wrong.
        """

    def of_process(self) -> Principal:
        """Return the caller that speaks MCP on stdin, which is whoever started the process."""


class NobodyIdentified:
    """Takes every caller for anonymous."""

    async def of_request(self, _scope: Scope) -> Principal:
        """Return the anonymous principal."""
        return ANONYMOUS

    def of_process(self) -> Principal:
        """Return the anonymous principal."""
        return ANONYMOUS


def set_caller(scope: MutableMapping[str, Any], caller: Principal) -> None:
    """Have a request carry its caller to the face that answers it."""
    scope[_CALLER] = caller


def caller_in(scope: Scope) -> Principal:
    """Return the caller that a request carries; `KeyError` if nobody authenticated it."""
    return cast("Principal", scope[_CALLER])
