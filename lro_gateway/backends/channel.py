"""From an endpoint to a gRPC channel."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

OPERATIONS: Final = "google.longrunning.Operations"

Channel = grpc.aio.Channel
"""A connection to a backend, for code that must not know gRPC."""

_RETRIED: Final = ("GetOperation", "ListOperations", "WaitOperation")
_SERVICE_CONFIG: Final = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": OPERATIONS, "method": method} for method in _RETRIED],
                # AIP-194: UNAVAILABLE alone, and only what is safe to repeat.
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to a backend: `ca` verifies it (else the system's roots); `cert` and `key` are mTLS."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a backend is, and how to speak to it.

    `target` is a gRPC name (`host:port`, `dns:///...`, `unix:...`); `metadata` goes with every
    call, reflection and health included; `deadline` bounds every call but WaitOperation.
    """

    name: str
    target: str
    tls: Tls | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    deadline: timedelta = timedelta(seconds=10)
    keepalive: timedelta = timedelta(seconds=60)
    max_message_bytes: int = 4 * 1024 * 1024


def _options(endpoint: Endpoint) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", endpoint.max_message_bytes),
        ("grpc.max_send_message_length", endpoint.max_message_bytes),
        ("grpc.keepalive_time_ms", int(endpoint.keepalive.total_seconds() * 1000)),
        ("grpc.keepalive_timeout_ms", 10_000),
        # The default grows to two minutes: too long for a backend that was only restarted.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.enable_retries", 1),
        # Backends are configured by address; a proxy of the environment is for the web.
        ("grpc.enable_http_proxy", 0),
    ]
    if endpoint.tls and endpoint.tls.server_name:
        options.append(("grpc.ssl_target_name_override", endpoint.tls.server_name))
    return options


def open_channel(endpoint: Endpoint) -> Channel:
    """Make a channel, which connects at the first call; `OSError` if a TLS file cannot be read."""
    if endpoint.tls is None:
        return grpc.aio.insecure_channel(endpoint.target, options=_options(endpoint))
    tls = endpoint.tls
    credentials = grpc.ssl_channel_credentials(
        root_certificates=tls.ca.read_bytes() if tls.ca else None,
        private_key=tls.key.read_bytes() if tls.key else None,
        certificate_chain=tls.cert.read_bytes() if tls.cert else None,
    )
    return grpc.aio.secure_channel(endpoint.target, credentials, options=_options(endpoint))
