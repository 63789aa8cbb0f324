"""Secrets of `metadata` that would go over a network without encryption."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import SecretStr

from lro_gateway.config.models import GatewayConfig
from lro_gateway.config.secrets import SecretEnvStr, SecretFileStr
from lro_gateway.config.targets import is_local

_CREDENTIALS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "x-goog-api-key"}
)
"""Keys whose values are secrets, wherever they are written."""


def plaintext_secrets(config: GatewayConfig) -> Iterator[str]:
    """Yield a sentence for each secret of `metadata` that goes to another machine without TLS.

    This is a warning and no mistake, because a mesh may encrypt the connection, which the gateway
    cannot see, and because a value from a variable may be no secret.
    """
    for backend in config.backends:
        if backend.tls is not None or is_local(backend.target):
            continue
        for key, value in backend.metadata.items():
            if _is_secret(key, value):
                yield (
                    f"backend {backend.name}: metadata.{key} goes over the network without"
                    " encryption, and everyone on the path can use it; set tls = {}, unless a"
                    " proxy on this machine encrypts the connection"
                )


def _is_secret(key: str, value: SecretStr) -> bool:
    return key in _CREDENTIALS or isinstance(value, SecretFileStr | SecretEnvStr)
