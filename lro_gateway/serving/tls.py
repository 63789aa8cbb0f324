"""TLS of the HTTP server: its certificate, and the certificates that clients show."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from lro_gateway.backends.reloading import INTERVAL, Reloaded
from lro_gateway.backends.tls_files import read_pair, read_pem
from lro_gateway.config.loading import ConfigError
from lro_gateway.config.server_tls import ServerTlsConfig
from lro_gateway.serving.client_trust import ClientTrust, Withdrawn

_TABLE: Final = "server.tls"
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_FAREWELL: Final = 2.0
"""Seconds that a client has to confirm the end of a connection."""
_SOON: Final = dt.timedelta(days=7)


@dataclass(frozen=True, slots=True)
class _Contents:
    """The contents of the files, and the settings of TLS that are made of them."""

    files: tuple[bytes, ...] = field(repr=False)
    clients: ClientTrust
    ends: dt.datetime
    context: ssl.SSLContext = field(compare=False)


class ServerTls:
    """The certificate of the server, which is replaced when its files change.

    A connection keeps the certificate with which it began. `distrust` is called if certificates of
    clients, which connections may have shown, are trusted no longer.
    """

    def __init__(
        self, config: ServerTlsConfig, distrust: Callable[[Withdrawn], None] | None = None
    ) -> None:
        """Read the files. Raises `ConfigError` if one of them cannot be used."""
        self._distrust = distrust
        try:
            self._files = Reloaded(_TABLE, config.files, partial(_read, config))
        except ValueError as error:
            raise ConfigError([str(error)]) from error

    def options(self, handshake: float) -> dict[str, Any]:
        """Return the options of a new connection whose handshake may take so many seconds."""
        return {
            "ssl": self._files.current.context,
            "ssl_handshake_timeout": handshake,
            "ssl_shutdown_timeout": _FAREWELL,
        }

    async def keep_current(self) -> None:
        """Look at the files again and again, and use new ones for new connections."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.refresh()

    async def refresh(self) -> None:
        """Use the files if they have changed. The present ones stay if the new ones are broken."""
        before = self._files.current.clients
        if not await self._files.refresh() or self._distrust is None:
            return
        withdrawn = self._files.current.clients.withdrawn_since(before)
        if withdrawn is not None:
            self._distrust(withdrawn)

    def warning(self) -> str:
        """Return a sentence if the certificate has ended or ends soon, or an empty text."""
        ends, now = self._files.current.ends, dt.datetime.now(dt.UTC)
        if ends - now > _SOON:
            return ""
        word = "ended" if ends <= now else "ends"
        return f"{_TABLE}.cert: the certificate {word} at {ends:%Y-%m-%d %H:%M} UTC; renew it"


def has_expired(certificate: bytes) -> bool:
    """Return whether a certificate in DER has expired, or cannot be parsed."""
    try:
        ends = x509.load_der_x509_certificate(certificate).not_valid_after_utc
    except ValueError:
        return True
    return ends <= dt.datetime.now(dt.UTC)


def _read(config: ServerTlsConfig) -> _Contents:
    """Read the files. Raises `ValueError`, whose text names the setting and the file."""
    chain, key = read_pair(_TABLE, config.cert, config.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    contents, clients = [chain, key], ClientTrust()
    try:
        # Without a password here, OpenSSL would ask for it at the terminal.
        context.load_cert_chain(config.cert, config.key, password="")
        if config.client_ca is not None:
            trusted = _trust_clients(context, config, config.client_ca)
            contents += trusted
            clients = ClientTrust.of(*trusted)
    except OSError as error:
        raise ValueError(f"{_TABLE}: the files cannot be used: {error.strerror}") from error
    ends = x509.load_pem_x509_certificate(chain).not_valid_after_utc
    return _Contents(tuple(contents), clients, ends, context)


def _trust_clients(context: ssl.SSLContext, config: ServerTlsConfig, ca: Path) -> list[bytes]:
    """Ask clients for certificates that `ca` has signed. Return the contents of the files."""
    required = config.client_cert == "required"
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    # An authority in the file is trusted although the authority that signed it may not be.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # A resumed session would not verify the certificate again. Sessions of TLS 1.2 without tickets
    # are kept with the context, so new files end them. `has_expired` is for the rest.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    trusted, _ = read_pem(f"{_TABLE}.client_ca", ca, x509.load_pem_x509_certificates)
    context.load_verify_locations(ca)
    if config.client_crl is None:
        return [trusted]
    revoked, _ = read_pem(f"{_TABLE}.client_crl", config.client_crl, x509.load_pem_x509_crl)
    context.load_verify_locations(config.client_crl)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return [trusted, revoked]
