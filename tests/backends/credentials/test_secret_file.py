"""A secret in a file is read again for each token."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lro_gateway.backends.credentials.failures import CredentialsError
from lro_gateway.backends.credentials.secret_file import SecretFile
from lro_gateway.backends.credentials.token_endpoint import OAuthClient, TokenEndpoint
from lro_gateway.config.models import GatewayConfig
from lro_gateway.gateway import Gateway
from lro_gateway.operations.names import BackendName
from lro_gateway.principal import ANONYMOUS
from tests.access.authorization_server import AuthorizationServer
from tests.backends.credentials.recording import oauth
from tests.certificates import DONE
from tests.contrary import ContraryBackend, answering


def test_the_last_secret_stays_while_the_file_cannot_be_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An editor may empty or remove the file for a moment. No text has the secret."""
    file = tmp_path / "secret"
    secret = SecretFile(file, "first")
    assert secret.get_secret_value() == "first"
    assert f"{file} cannot be read" in caplog.text
    file.write_text("second\r\n")
    assert secret.get_secret_value() == "second"
    file.write_text("")
    assert secret.get_secret_value() == "second"
    file.write_bytes(b"\xff")
    assert secret.get_secret_value() == "second"
    assert "second" not in caplog.text + repr(secret)
    assert {each.levelno for each in caplog.records} == {logging.WARNING}


async def test_a_changed_secret_needs_no_restart(tmp_path: Path) -> None:
    """The next token is fetched with it."""
    file = tmp_path / "secret"
    file.write_text("let-me-out\n")
    async with AuthorizationServer.open(tmp_path) as server:
        client = OAuthClient("backend-caller", SecretFile(file, "let-me-out"))
        endpoint = TokenEndpoint(client, f"{server.issuer}/token", ca=server.ca)
        with pytest.raises(CredentialsError, match="invalid_client"):
            await endpoint.grant({"grant_type": "client_credentials"})
        file.write_text("let-me-in\n")
        assert (await endpoint.grant({"grant_type": "client_credentials"})).value
        await endpoint.close()


async def test_the_file_of_a_configuration_is_read_again(tmp_path: Path) -> None:
    """A backend is called with the new token after the old secret has failed."""
    (tmp_path / "secret").write_text("let-me-out")
    async with (
        AuthorizationServer.open(tmp_path) as server,
        ContraryBackend.open({"GetOperation": answering(DONE)}) as backend,
    ):
        settings = {
            "name": "b",
            "target": backend.target,
            "descriptors": [],
            "credentials": {
                "client_credentials": oauth(server, client_secret="file:secret")  # noqa: S106
            },
        }
        config = GatewayConfig.model_validate({"backends": [settings]}, context={"base": tmp_path})
        (tmp_path / "secret").write_text("let-me-in")
        async with Gateway.open(config) as gateway:
            found = gateway.service.backends["b"].for_caller(ANONYMOUS)
            assert (await found.get(BackendName("jobs/1"))).done


async def test_a_key_that_cannot_sign_is_told_without_its_text(tmp_path: Path) -> None:
    """The file may be half written, or of another kind."""
    file = tmp_path / "key.pem"
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(key[:60])
    client = OAuthClient("c", key=SecretFile(file, ""), algorithm="ES256")
    with pytest.raises(CredentialsError) as caught:
        client.proof("https://login.test/token")
    assert str(caught.value) == "client_key is no private key for ES256"
    file.write_bytes(key)
    assert client.proof("https://login.test/token")[1]["client_assertion"]
