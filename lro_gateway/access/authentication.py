"""Authentication: how the gateway identifies the caller of a request.

Only authenticators make a `Principal`.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Protocol, cast

from lro_gateway.errors import StatusError
from lro_gateway.principal import ANONYMOUS, Principal

_CALLER: Final = "lro_gateway.caller"
"""The key in an ASGI scope whose value is the caller."""

Scope = Mapping[str, Any]
"""An ASGI connection scope."""


class Authenticator(Protocol):
    """Identifies callers."""

    async def of_request(self, scope: Scope) -> Principal:
        """Return the caller of an HTTP request.

        Raises a `StatusError` with UNAUTHENTICATED if the request's credentials are missing or
        wrong.
        """

    def of_process(self) -> Principal:
        """Return the caller of MCP over stdio, which is the user that runs the process."""


class NobodyIdentified:
    """Identifies no caller, so every caller is anonymous."""

    async def of_request(self, _scope: Scope) -> Principal:
        """Return the anonymous principal."""
        return ANONYMOUS

    def of_process(self) -> Principal:
        """Return the anonymous principal."""
        return ANONYMOUS


def set_caller(scope: MutableMapping[str, Any], caller: Principal) -> None:
    """Store the caller in the scope of its request, with its connection if it has no identity."""
    is_anonymous = caller is ANONYMOUS or not any(caller.identity)
    scope[_CALLER] = (
        Principal(peer=scope.get("client"), passed=caller.passed) if is_anonymous else caller
    )


def set_refusal(scope: MutableMapping[str, Any], refusal: StatusError) -> None:
    """Store why a request has no caller, for a page that needs none. `caller_in` raises it."""
    scope[_CALLER] = refusal


def has_caller(scope: Scope) -> bool:
    """Return whether a request has a caller, who may be anonymous, and no refusal."""
    return isinstance(scope.get(_CALLER), Principal)


def caller_in(scope: Scope) -> Principal:
    """Return the caller in the scope of a request.

    Raises `KeyError` if no caller was set, and the `StatusError` of `set_refusal` if there is one.
    """
    caller = scope[_CALLER]
    if isinstance(caller, StatusError):
        raise caller
    return cast("Principal", caller)
