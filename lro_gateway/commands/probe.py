"""Asks the process at an address whether it is a gateway."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lro_gateway.config.models import ServerConfig
from lro_gateway.config.server_tls import ServerTlsConfig

_TIME_LIMIT: Final = 2.0
"""Seconds that the process at the address has to answer as a gateway."""


async def gateway_answers(server: ServerConfig) -> bool:
    """Return whether a gateway with these settings listens at the address already."""
    try:
        if server.tls is not None and server.tls.client_ca and server.tls.client_cert == "required":
            return await _shows_certificate(server, server.tls)
        return await _is_alive(server)
    except (httpx2.HTTPError, OSError, ValueError):
        return False


async def _is_alive(server: ServerConfig) -> bool:
    # The name in the certificate need not be the address. The answer is no secret.
    client = httpx2.AsyncClient(timeout=_TIME_LIMIT, trust_env=False, verify=False)
    async with client:
        answer = await client.get(f"{server.scheme}://{server.address}/livez")
        return bool(answer.json() == {"status": "ok"})


async def _shows_certificate(server: ServerConfig, tls: ServerTlsConfig) -> bool:
    """Return whether the process shows the certificate of the gateway.

    The check has no client certificate, so it gets no answer.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    content = await asyncio.to_thread(tls.cert.read_bytes)
    own = x509.load_pem_x509_certificate(content).public_bytes(Encoding.DER)
    async with asyncio.timeout(_TIME_LIMIT):
        _, writer = await asyncio.open_connection(server.host, server.port, ssl=context)
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return bool(shown == own)
    finally:
        writer.transport.abort()
