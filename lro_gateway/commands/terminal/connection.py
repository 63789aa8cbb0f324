"""Opens the client of a gateway that runs, or of one that this process opens for its command."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

import httpx2

from lro_gateway.commands.terminal.failures import CommandError
from lro_gateway.commands.terminal.gateway_client import Agree, GatewayClient

DEFAULT_URL: Final = "http://127.0.0.1:8080"
_CURE: Final = (
    "Start one with `lro-gateway serve`, name another with --gateway or LRO_GATEWAY_URL, or ask a"
    " backend with --backend HOST:PORT"
)
_TLS_CURE: Final = (
    ". If an authority of your own signed its certificate, set SSL_CERT_FILE to the authority's"
    " PEM file"
)
_KEYRING: Final = "lro-gateway"
"""The service under which the keyring has the token of a gateway's URL."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Which gateway to ask. With `targets`, this process opens a gateway to those backends."""

    url: str = DEFAULT_URL
    targets: Sequence[str] = ()
    token_file: Path | None = None
    keyring: bool = False


@asynccontextmanager
async def connected(connection: Connection, agree: Agree) -> AsyncIterator[GatewayClient]:
    """Yield a client. Raises `CommandError` if the settings of the connection cannot work."""
    if connection.targets:
        # It is imported only now, because to import the server takes two seconds.
        private = import_module("lro_gateway.commands.terminal.private_gateway")
        async with (
            private.private_gateway(connection.targets) as (transport, where),
            httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http,
        ):
            cure = "Check that it runs, and that the address is right"
            yield GatewayClient(http, where=where, cure=cure, agree=agree)
        return
    headers = {"authorization": f"Bearer {token}"} if (token := _token(connection)) else {}
    url = with_scheme(connection.url)
    # Without TLS the certificates of the system are not needed, which take 0.1 s to load.
    has_tls = not url.startswith("http://")
    verify = _tls() if has_tls else False
    cure = _CURE + (_TLS_CURE if has_tls else "")
    async with httpx2.AsyncClient(base_url=url, headers=headers, verify=verify) as http:
        yield GatewayClient(http, where=url, cure=cure, agree=agree)


def _tls() -> ssl.SSLContext:
    """Return the TLS of the client, with the files that the environment names."""
    try:
        # This reads SSL_CERT_FILE and SSL_CERT_DIR too.
        context = httpx2.create_ssl_context()
        if certificate := os.environ.get("LRO_GATEWAY_CERT_FILE"):
            # Without a password here, OpenSSL would ask for it at the terminal.
            key = os.environ.get("LRO_GATEWAY_KEY_FILE") or certificate
            context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        problem = error.strerror or str(error)
        raise CommandError(
            "a file of SSL_CERT_FILE, LRO_GATEWAY_CERT_FILE or LRO_GATEWAY_KEY_FILE cannot be"
            f" used: {problem}"
        ) from error
    return context


def with_scheme(url: str) -> str:
    """Return a URL as it is, or an address as a URL."""
    return url if "://" in url else f"http://{url}"


def _token(connection: Connection) -> str:
    """Return the bearer token, or an empty text if there is none."""
    if token := os.environ.get("LRO_GATEWAY_TOKEN"):
        return token
    if connection.token_file is not None:
        try:
            return connection.token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"cannot read the token file: {error}") from error
    if not connection.keyring:
        return ""
    try:
        keyring = import_module("keyring")
    except ImportError:
        problem = "--keyring needs the package keyring: pip install 'lro-gateway[keyring]'"
        raise CommandError(problem) from None
    try:
        token = keyring.get_password(_KEYRING, connection.url)
    except keyring.errors.KeyringError as error:
        # A machine without a desktop has none, and a person may refuse to unlock one.
        cure = "use --token-file or LRO_GATEWAY_TOKEN here"
        raise CommandError(f"the keyring gives no token: {error}; {cure}") from error
    if not token:
        cure = f"store one with `keyring set {_KEYRING} {connection.url}`"
        raise CommandError(f"the keyring has no token for {connection.url}: {cure}")
    return str(token)
