"""The errors of MCP Events, in the set of codes that the configuration chooses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import mcp_types as types
from mcp.shared.exceptions import MCPError

from lro_gateway.deliveries.messages import FORBIDDEN
from lro_gateway.errors import Code, StatusError, unexpected_error
from lro_gateway.mcp import words
from lro_gateway.mcp.events.status import error_word

_REASONS: Final[Mapping[str, str]] = {
    "RECEIVER_NOT_VERIFIED": "callback",
    "WEBHOOK_NEEDS_IDENTITY": "forbidden",
    "TOO_MANY_WEBHOOKS": "exhausted",
    "TOO_MANY_CHALLENGES": "exhausted",
    "TOO_MANY_SELECTIONS": "exhausted",
    "NO_EVENTS": "unsupported",
    "NO_OPERATION_OF_HANDLE": "invalid",
}
_LIMITS: Final[Mapping[str, str]] = {
    "TOO_MANY_WEBHOOKS": "subscriptions",
    "TOO_MANY_SELECTIONS": "selections",
    "TOO_MANY_CHALLENGES": "challenges",
}
_UNVERIFIED: Final = "challenge_failed"
_BY_CODE: Final[Mapping[Code, str]] = {
    Code.INVALID_ARGUMENT: "invalid",
    Code.NOT_FOUND: "not_found",
    Code.PERMISSION_DENIED: "forbidden",
    Code.UNAUTHENTICATED: "forbidden",
    Code.RESOURCE_EXHAUSTED: "exhausted",
    Code.UNIMPLEMENTED: "unsupported",
}


@dataclass(frozen=True, slots=True)
class Codes:
    """A set of JSON-RPC codes."""

    not_found: int
    forbidden: int
    exhausted: int
    unsupported: int
    callback: int
    invalid: int = types.INVALID_PARAMS

    def error(self, kind: str, message: str, /, **data: Any) -> MCPError:
        """Return the error of a kind, which is an attribute's name."""
        return MCPError(getattr(self, kind), message, data)

    @contextmanager
    def translated(self, *, missing: str = "operation") -> Iterator[None]:
        """Translate an exception of a request about events into a JSON-RPC error.

        `missing` is what a request means that is not found.
        """
        try:
            yield
        except MCPError:
            raise
        except Exception as error:
            raise self.error_of(error, missing=missing) from error

    def error_of(self, error: Exception, *, missing: str = "operation") -> MCPError:
        """Return the JSON-RPC error of an exception, with the data of SEP-3415."""
        found = error if isinstance(error, StatusError) else unexpected_error("events", error)
        kind = _REASONS.get(found.reason or "") or _BY_CODE.get(found.code)
        details = dict(found.info.metadata) if found.info is not None else {}
        data: dict[str, Any] = {"reason": found.reason}
        if kind is None:
            return MCPError(types.INTERNAL_ERROR, words.describe_error(found), data)
        if kind == "callback":
            data["reason"] = error_word(details.get("reason", "")) or _UNVERIFIED
        if kind == "not_found":
            data["kind"] = missing
        if kind == "exhausted":
            data |= _limit(found.reason or "", details)
        if kind == "unsupported":
            data |= {"feature": "backend", "value": found.backend or details.get("backend")}
        return self.error(kind, words.describe_error(found), **data)


def _limit(reason: str, details: Mapping[str, str]) -> dict[str, Any]:
    """Return the name of a limit that is reached, and how much it allows."""
    name = _LIMITS.get(reason, reason)
    most = details.get("limit", "")
    return {"limit": name, "max": int(most)} if most.isdecimal() else {"limit": name}


SETS: Final[Mapping[str, Codes]] = {
    "draft": Codes(-32023, FORBIDDEN["draft"], -32025, -32026, -32027),
    "sketch": Codes(-32011, FORBIDDEN["sketch"], -32013, -32014, -32015),
}
"""The draft of SEP-3415, and the sketch before it, which some clients expect."""
