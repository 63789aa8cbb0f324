"""Opens the client of a gateway that runs, or of one that this process opens for its command."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies

import httpx2

from lro_gateway.commands.terminal.failures import CommandError
from lro_gateway.commands.terminal.gateway_client import Agree, GatewayClient

_C = TypeVar("_C")
DEFAULT_URL: Final = "http://127.0.0.1:8080"
_CURE: Final = (
    "Start one with `lro-gateway serve`, name another with --gateway or LRO_GATEWAY_URL, or ask a"
    " backend with --backend HOST:PORT"
)
_TLS_CURE: Final = (
    ". If an authority of your own signed its certificate, set SSL_CERT_FILE to the authority's"
    " PEM file"
)
_PROXY_CURE: Final = (
    ". The request may have gone to the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names;"
    " NO_PROXY names hosts that need none"
)
_KEYRING: Final = "lro-gateway"
"""The service under which the keyring has the token of a gateway's URL."""
_FACE: Final = re.compile(r"(/v1|/mcp)?/*\Z")
"""The end of a URL that names a face of a gateway."""
_TOKEN: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Connection:
    """Which gateway to ask. With `targets`, this process opens a gateway to those backends.

    With `backend`, only that backend of the gateway is asked.
    """

    url: str = DEFAULT_URL
    targets: Sequence[str] = ()
    token_file: Path | None = None
    keyring: bool = False
    backend: str = ""


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
    # The keyring finds a token by the URL, and its errors have the URL.
    url = url_of(connection.url)
    headers = {"authorization": f"Bearer {token}"} if (token := token_of(connection)) else {}
    cure = _CURE if url.startswith("http://") else _CURE + _TLS_CURE
    cure += _PROXY_CURE if has_proxy(url) else ""
    async with http_client(httpx2.AsyncClient, url, base_url=url, headers=headers) as http:
        backend = connection.backend
        yield GatewayClient(http, where=url, cure=cure, agree=agree, backend=backend)


def has_proxy(url: str) -> bool:
    """Return whether the environment names a proxy, and the URL is not one of this machine."""
    host = urlsplit(url).hostname or ""
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    return bool(getproxies().keys() - {"no"}) and not is_here


def http_client(kind: Callable[..., _C], url: str, **options: Any) -> _C:
    """Return a client of a kind for a URL, with the TLS and the proxy of the environment.

    A gateway on this machine is reached without a proxy, for which the machine may be another one.
    """
    # Without TLS the certificates of the system are not needed, which take 0.1 s to load.
    verify = False if url.startswith("http://") else tls()
    try:
        return kind(verify=verify, trust_env=has_proxy(url), **options)
    except (ImportError, ValueError, httpx2.InvalidURL):
        if not has_proxy(url):
            raise
        # The text of the error may have the password of the proxy.
        raise CommandError(
            "the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names cannot be used, because only"
            " HTTP proxies can; correct the variable, or name the host of the gateway in NO_PROXY"
        ) from None


def tls() -> ssl.SSLContext:
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


def url_of(given: str) -> str:
    """Return the URL of a gateway. The text may also be an address, or the URL of a face.

    The errors do not repeat the text, because it may have a password.
    """
    text = given.strip()
    url = text if "://" in text else f"http://{text}"
    example = f"write one such as {DEFAULT_URL}"
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        raise CommandError(f"the URL of the gateway has a wrong host or port; {example}") from None
    if parts.username is not None or parts.password is not None:
        raise CommandError(
            "the URL of the gateway has a user or a password, which a gateway does not take; pass a"
            " token by LRO_GATEWAY_TOKEN or --token-file"
        )
    if not is_usable or parts.query or parts.fragment:
        raise CommandError(f"the URL of the gateway is no http or https URL of a host; {example}")
    # `serve` prints the addresses of the faces.
    return urlunsplit(parts._replace(path=_FACE.sub("", parts.path)))


def token_of(connection: Connection) -> str:
    """Return the bearer token, or an empty text if there is none."""
    if token := os.environ.get("LRO_GATEWAY_TOKEN"):
        return _checked(token, "LRO_GATEWAY_TOKEN")
    if connection.token_file is not None:
        try:
            token = connection.token_file.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"cannot read the token file: {error}") from error
        return _checked(token, str(connection.token_file))
    return _checked(_from_keyring(connection), "the keyring") if connection.keyring else ""


def _checked(text: str, source: str) -> str:
    """Return a token without blanks around it. The error for a wrong one does not repeat it."""
    token = text.strip()
    if "\n" in token:
        raise CommandError(f"{source} has several lines; leave only the one with the token")
    if token and not _TOKEN.fullmatch(token):
        raise CommandError(f"the token in {source} has a blank or a character that no token has")
    return token


def _from_keyring(connection: Connection) -> str:
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
