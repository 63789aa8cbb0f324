"""The gateway as a protected resource: its addresses and its challenges."""

from __future__ import annotations

from typing import Any

import pytest

from lro_gateway.access.resource import (
    Resource,
    challenge_of,
    is_insufficient_scope,
    put_resource,
)
from lro_gateway.errors import Code, StatusError, status_error


def scope(host: bytes = b"gw.test", path: bytes = b"/v1/jobs/1", **others: Any) -> dict[str, Any]:
    """Return the scope of a request."""
    headers = [(b"host", host)]
    return {"scheme": "https", "headers": headers, "raw_path": path, "root_path": "", **others}


def unauthenticated(reason: str) -> StatusError:
    """Return an error of the gateway about credentials."""
    return status_error(Code.UNAUTHENTICATED, 'no "good" \u00e9', reason)


@pytest.mark.parametrize(
    ("resource", "host", "root_path", "address"),
    [
        (Resource("https://lro.test/x"), b"gw.test", "/lro", "https://lro.test/x"),
        (Resource(), b"GW.test:8443", "/lro", "https://gw.test:8443/lro"),
        (Resource(), b"[::1]:80", "", "https://[::1]:80"),
        (Resource(), b'gw.test", error="', "", ""),
        (Resource(), b"", "", ""),
    ],
)
def test_the_address_is_configured_or_that_of_the_request(
    resource: Resource, host: bytes, root_path: str, address: str
) -> None:
    """A Host that is no host gives no address, and so no audience."""
    found = resource.address(scope(host, root_path=root_path))
    assert found == address
    expected = {address, f"{address}/", f"{address}/mcp"} if address else set()
    assert resource.audiences(found) == expected


def test_metadata_names_the_issuers_and_scopes() -> None:
    """The resource is the address of which the well-known place is (RFC 9728, section 3.3)."""
    resource = Resource("https://lro.test", ("https://login.test",), ("read",))
    assert resource.metadata(scope(), "/mcp") == {
        "resource": "https://lro.test/mcp",
        "authorization_servers": ["https://login.test"],
        "bearer_methods_supported": ["header"],
        "resource_name": "lro-gateway",
        "scopes_supported": ["read"],
    }
    assert "scopes_supported" not in Resource("https://lro.test").metadata(scope(), "")


_ASKING = 'error_description="no _good_ _", scope="read start"'
WHERE = 'resource_metadata="https://lro.test/.well-known/oauth-protected-resource'


@pytest.mark.parametrize(
    ("error", "path", "challenge"),
    [
        (unauthenticated("CREDENTIALS_MISSING"), b"/v1/x", f'Bearer scope="read start", {WHERE}"'),
        (
            unauthenticated("CREDENTIALS_MISSING"),
            b"/mcp/",
            f'Bearer scope="read start", {WHERE}/mcp"',
        ),
        (
            unauthenticated("TOKEN_EXPIRED"),
            b"/mcp",
            f'Bearer error="invalid_token", {_ASKING}, {WHERE}/mcp"',
        ),
        (
            unauthenticated("TOKEN_IN_QUERY"),
            b"/v1/x",
            f'Bearer error="invalid_request", {_ASKING}, {WHERE}"',
        ),
        (
            status_error(
                Code.PERMISSION_DENIED, "x", "INSUFFICIENT_SCOPE", metadata={"scopes": "a b"}
            ),
            b"/mcp",
            f'Bearer error="insufficient_scope", scope="a b", error_description="x", {WHERE}/mcp"',
        ),
        (status_error(Code.PERMISSION_DENIED, "x", "OTHER"), b"/mcp", None),
        (status_error(Code.UNAVAILABLE, "x", "ISSUER_UNAVAILABLE"), b"/mcp", None),
    ],
)
def test_a_challenge_says_what_is_wrong_and_where_the_metadata_is(
    error: StatusError, path: bytes, challenge: str | None
) -> None:
    """Characters that a quoted text cannot have are replaced."""
    request = scope(path=path)
    put_resource(request, Resource("https://lro.test", ("https://login.test",), ("read", "start")))
    assert challenge_of(request, error).get("www-authenticate") == challenge
    assert challenge_of(scope(path=path), error) == {}


def test_without_issuers_there_is_no_metadata() -> None:
    """A static token is nothing that a client could ask an authorization server for."""
    request = scope()
    put_resource(request, Resource("https://lro.test"))
    found = challenge_of(request, unauthenticated("CREDENTIALS_MISSING"))
    assert found == {"www-authenticate": "Bearer"}


def test_a_backend_cannot_make_a_challenge() -> None:
    """Its error is about its own credentials, and may imitate the gateway's."""
    error = status_error(
        Code.PERMISSION_DENIED, "x", "INSUFFICIENT_SCOPE", metadata={"scopes": "a"}
    )
    assert is_insufficient_scope(error)
    error.is_backends = True
    request = scope()
    put_resource(request, Resource("https://lro.test"))
    assert not is_insufficient_scope(error)
    assert challenge_of(request, error) == {}
    assert not is_insufficient_scope(None)
    assert not is_insufficient_scope(unauthenticated("INSUFFICIENT_SCOPE"))
