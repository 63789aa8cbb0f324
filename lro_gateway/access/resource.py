"""The gateway as a protected resource (RFC 9728): its address, its metadata, and its challenges.

The address is `auth.resource`, or the one by which the client reached the gateway. MCP clients take
`/mcp` under it for the resource, and REST clients the address itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lro_gateway.errors import Code, StatusError

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
MCP_PATH: Final = "/mcp"
_KEY: Final = "lro_gateway.resource"
_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]{1,300}\Z")
_NOT_QUOTABLE: Final = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
_NO_ERROR: Final = "CREDENTIALS_MISSING"
_BAD_REQUESTS: Final = frozenset({"CREDENTIALS_MALFORMED", "TOKEN_IN_QUERY"})
INSUFFICIENT_SCOPE: Final = "INSUFFICIENT_SCOPE"

Scope = Mapping[str, Any]
"""An ASGI connection scope."""


@dataclass(frozen=True, slots=True)
class Resource:
    """The gateway as the clients of authorization servers see it.

    `uri` is its configured address, without `/mcp` and without a slash at its end, or empty.
    `issuers` are the authorization servers, and `scopes` are those that a client may ask for.
    """

    uri: str = ""
    issuers: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    def address(self, scope: Scope) -> str:
        """Return the address of the gateway for a request, or an empty text if it has none."""
        if self.uri:
            return self.uri
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        text = host.decode("latin-1").lower()
        if not _HOST.match(text):
            return ""
        return f"{scope['scheme']}://{text}{scope.get('root_path', '')}"

    def audiences(self, address: str) -> frozenset[str]:
        """Return the audiences of tokens that are for the gateway at this address (RFC 8707)."""
        return frozenset((address, f"{address}/", address + MCP_PATH)) if address else frozenset()

    def metadata(self, scope: Scope, path: str) -> dict[str, Any]:
        """Return the metadata of the resource at a path of the gateway."""
        described: dict[str, Any] = {
            "resource": self.address(scope) + path,
            "authorization_servers": [*self.issuers],
            "bearer_methods_supported": ["header"],
            "resource_name": "lro-gateway",
        }
        if self.scopes:
            described["scopes_supported"] = [*self.scopes]
        return described

    def challenge(self, scope: Scope, error: StatusError) -> dict[str, str]:
        """Return the header WWW-Authenticate of an error, or nothing if the error needs none.

        An error about credentials gets a challenge (RFC 6750, section 3), and so does an error
        about scopes. That names all scopes that the call needs, in `metadata["scopes"]`.
        """
        info = error.info
        reason = info.reason if info is not None else ""
        if error.is_backends:
            return {}
        parameters = {}
        if error.code is Code.UNAUTHENTICATED:
            if reason != _NO_ERROR:
                kind = "invalid_request" if reason in _BAD_REQUESTS else "invalid_token"
                parameters = {"error": kind, "error_description": error.message}
            if self.scopes:
                parameters["scope"] = " ".join(self.scopes)
        elif reason == INSUFFICIENT_SCOPE and info is not None:
            parameters = {
                "error": "insufficient_scope",
                "scope": info.metadata["scopes"],
                "error_description": error.message,
            }
        else:
            return {}
        address = self.address(scope)
        if self.issuers and address:
            path = MCP_PATH if _is_mcp(scope) else ""
            parameters["resource_metadata"] = f"{address}{WELL_KNOWN}{path}"
        return {"www-authenticate": _bearer(parameters)}


def _is_mcp(scope: Scope) -> bool:
    raw: bytes = scope.get("raw_path", b"")
    return raw.rstrip(b"/") == MCP_PATH.encode()


def _bearer(parameters: Mapping[str, str]) -> str:
    """Return a challenge of the scheme Bearer. Characters that cannot be quoted are replaced."""
    texts = (f'{name}="{_NOT_QUOTABLE.sub("_", text)}"' for name, text in parameters.items())
    return f"Bearer {', '.join(texts)}".rstrip()


def put_resource(scope: Any, resource: Resource) -> None:
    """Keep the resource in the scope of a request, for the challenges of its errors."""
    scope[_KEY] = resource


def may_challenge(scope: Scope) -> bool:
    """Return whether the errors of a request may get a challenge."""
    return _KEY in scope


def challenge_of(scope: Scope, error: StatusError) -> dict[str, str]:
    """Return the header WWW-Authenticate of an error of a request, if it needs one."""
    resource: Resource | None = scope.get(_KEY)
    return resource.challenge(scope, error) if resource is not None else {}


def is_insufficient_scope(error: BaseException | None) -> bool:
    """Return whether an error of the gateway says that a call needs other scopes."""
    return (
        isinstance(error, StatusError)
        and not error.is_backends
        and error.code is Code.PERMISSION_DENIED
        and error.reason == INSUFFICIENT_SCOPE
    )
