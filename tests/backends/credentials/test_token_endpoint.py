"""Client credentials at a real authorization server over TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from lro_gateway.backends.credentials.failures import CredentialsError
from lro_gateway.backends.credentials.token_endpoint import OAuthClient, TokenEndpoint
from tests.access.authorization_server import AuthorizationServer

FORM = {"grant_type": "client_credentials", "scope": "read start"}
SECRET = SecretStr("let-me-in")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AuthorizationServer]:
    """Yield a running authorization server."""
    async with AuthorizationServer.open(tmp_path) as running:
        yield running


def client(**settings: Any) -> OAuthClient:
    """Return the client that the server knows."""
    return OAuthClient(**{"client_id": "backend-caller", "secret": SECRET, **settings})


async def failure(endpoint: TokenEndpoint) -> CredentialsError:
    """Return why the endpoint issues no token."""
    with pytest.raises(CredentialsError) as caught:
        await endpoint.grant(FORM)
    await endpoint.close()
    assert "let-me-in" not in f"{caught.value!r} {endpoint!r}"
    return caught.value


@pytest.mark.parametrize("method", ["basic", "post"])
@pytest.mark.parametrize("how", ["url", "issuer"])
async def test_a_token_is_issued_to_a_client_with_its_secret(
    server: AuthorizationServer, method: Any, how: str
) -> None:
    """The URL of the endpoint is configured, or discovered once."""
    place: Any = {"url": f"{server.issuer}/token"} if how == "url" else {"issuer": server.issuer}
    endpoint = TokenEndpoint(client(method=method), ca=server.ca, **place)
    server.life = 600
    first, second = await endpoint.grant(FORM), await endpoint.grant(FORM)
    await endpoint.close()
    assert first.value != "" != second.value
    assert (first.renewed_in, first.ends_in) == (540, 598)
    claims = jwt.decode(first.value, options={"verify_signature": False})
    assert (claims["client_id"], claims["scope"]) == ("backend-caller", "read start")
    assert server.count("/.well-known/openid-configuration") == (how == "issuer")


async def test_a_wrong_secret_is_told_with_its_cure(server: AuthorizationServer) -> None:
    """The text has the error of OAuth, and not the secret."""
    url = f"{server.issuer}/token"
    error = await failure(TokenEndpoint(client(secret=SecretStr("let-me-out")), url, ca=server.ca))
    cure = "correct client_id and client_secret"
    assert str(error) == f"{url} refused to issue a token (invalid_client): {cure}"
    assert not error.passes


async def test_an_endpoint_that_is_down_may_come_back(server: AuthorizationServer) -> None:
    """So the gateway tries again, and callers may too."""
    server.is_down = True
    url = f"{server.issuer}/token"
    error = await failure(TokenEndpoint(client(), url, ca=server.ca))
    assert (str(error), error.passes) == (f"{url} answered HTTP status 503", True)
    error = await failure(TokenEndpoint(client(), issuer=server.issuer, ca=server.ca))
    assert error.passes


async def test_an_endpoint_whose_certificate_is_not_trusted_gets_no_secret(
    server: AuthorizationServer,
) -> None:
    """The system's authorities have not signed the certificate of the test."""
    error = await failure(TokenEndpoint(client(), f"{server.issuer}/token"))
    assert "cannot be reached" in str(error)
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert not server.asked


async def test_a_url_that_is_no_token_endpoint_is_told(server: AuthorizationServer) -> None:
    """A page that answers anything else must not be taken for a token."""
    for path, text in (
        ("/jwks", "HTTP status 405, and no error of OAuth"),
        ("/none", "HTTP status 404, and no error of OAuth"),
    ):
        error = await failure(TokenEndpoint(client(), server.issuer + path, ca=server.ca))
        assert text in str(error)


async def test_a_compressed_answer_is_not_read(server: AuthorizationServer) -> None:
    """Its bytes could be decompressed to gigabytes before anybody counts them."""
    server.is_bomb = True
    for endpoint in (
        TokenEndpoint(client(), f"{server.issuer}/token", ca=server.ca),
        TokenEndpoint(client(), issuer=server.issuer, ca=server.ca),
    ):
        assert "answered in 'gzip', which was not asked for" in str(await failure(endpoint))


async def test_the_metadata_of_another_issuer_is_not_used(server: AuthorizationServer) -> None:
    """Otherwise the owner of one path of a host would get the secret for another."""
    error = await failure(TokenEndpoint(client(), issuer=f"{server.issuer}/", ca=server.ca))
    assert "belongs to another issuer" in str(error)


def test_a_client_with_a_key_signs_an_assertion() -> None:
    """The server verifies it by the public key, so no secret is sent (RFC 7523)."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    signer = OAuthClient("me", key=SecretStr(pem), key_id="k1", algorithm="ES256")
    headers, form = signer.proof("https://login.test/token")
    assert not headers
    assertion = form["client_assertion"]
    claims = jwt.decode(
        assertion, key.public_key(), algorithms=["ES256"], audience="https://login.test/token"
    )
    assert (claims["iss"], claims["sub"]) == ("me", "me")
    assert claims["exp"] - claims["iat"] == 60
    assert jwt.get_unverified_header(assertion)["kid"] == "k1"
    assert pem not in repr(signer)


def test_a_client_id_and_a_secret_are_encoded_before_they_are_joined() -> None:
    """A colon in the client id would otherwise end it (RFC 6749, section 2.3.1)."""
    headers, _ = OAuthClient("a:b", SecretStr("c d%")).proof("https://login.test/token")
    assert headers == {"authorization": "Basic YSUzQWI6YytkJTI1"}
