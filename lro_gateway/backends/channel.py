"""gRPC channels: the address of a backend, its TLS, and the options of its connection."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import grpc.aio

from lro_gateway.backends.credentials.shown import Credentials
from lro_gateway.backends.tls_channel import TlsChannel
from lro_gateway.backends.tls_files import Tls

OPERATIONS: Final = "google.longrunning.Operations"

Channel = grpc.aio.Channel
"""A connection to a backend. Code that must not import gRPC uses this name for the type."""

_PING_SHARE: Final = 0.95
"""The share of `keepalive_timeout` that gRPC waits for a ping. The rest is for a new connection."""
_RETRIED: Final = ("GetOperation", "ListOperations", "WaitOperation")
_SERVICE_CONFIG: Final = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": OPERATIONS, "method": method} for method in _RETRIED],
                # AIP-194 allows a retry only after UNAVAILABLE, and only of a safe method.
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


class CallMetadata(tuple[tuple[str, str], ...]):
    """The metadata of calls, whose values may be secrets. Its `repr` shows only the keys."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the keys, with asterisks for each value."""
        return f"{type(self).__name__}({', '.join(f'{key}=***' for key, _ in self)})"


NO_METADATA: Final = CallMetadata()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a backend, and the settings of calls to it.

    `target` is a gRPC name (`host:port`, `dns:///...`, `unix:...`). `metadata` is sent with every
    call, including calls of reflection and of health checks. `deadline` limits every call except
    WaitOperation. `keepalive` is the time without an answer after which a ping tests the
    connection, and `keepalive_timeout` is the time that the backend has to answer the ping.
    At most `max_concurrent_calls` run at a time, of which one identified caller may have the
    fraction `max_call_share`, and at most `max_queued_calls` wait for a turn.
    `max_message_bytes` limits the size of every answer, and `max_metadata_bytes` the size of its
    headers and of its trailers. `baggage` are the keys of the callers' baggage that calls pass on.
    `credentials` are what else a call shows.
    """

    name: str
    target: str
    tls: Tls | None = None
    metadata: CallMetadata = NO_METADATA
    deadline: timedelta = timedelta(seconds=10)
    keepalive: timedelta = timedelta(seconds=60)
    keepalive_timeout: timedelta = timedelta(seconds=10)
    max_concurrent_calls: int = 1000
    max_queued_calls: int = 1000
    max_call_share: float = 0.5
    max_message_bytes: int = 4 * 1024 * 1024
    max_metadata_bytes: int = 4 * 1024 * 1024
    baggage: tuple[str, ...] = ()
    credentials: Credentials | None = field(default=None, repr=False, compare=False)


def _options(endpoint: Endpoint) -> list[tuple[str, Any]]:
    ping_timeout = int(endpoint.keepalive_timeout.total_seconds() * _PING_SHARE * 1000)
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", endpoint.max_message_bytes),
        # gRPC's default is 8 KiB. Details of errors are trailers, and are often larger. Between the
        # first limit and the second, gRPC refuses answers at random, so both are the same.
        ("grpc.max_metadata_size", endpoint.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", endpoint.max_metadata_bytes),
        # -1 means no limit. The HTTP server and the backend limit the size of requests already.
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", int(endpoint.keepalive.total_seconds() * 1000)),
        ("grpc.keepalive_timeout_ms", ping_timeout),
        # gRPC also sends pings of its own after answers, and waits for those by default for 60 s.
        # It sends no keepalive ping meanwhile.
        ("grpc.http2.ping_timeout_ms", ping_timeout),
        # By default, gRPC waits up to two minutes before it connects again. That is too long after
        # a restart of the backend.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # By default, all channels of a process share their connections, and what they know of an
        # address. A new channel would fail at once because another one, even if it is closed, could
        # not connect a moment ago.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.enable_retries", 1),
        # gRPC must ignore HTTP proxies in the environment, because backends are called directly.
        ("grpc.enable_http_proxy", 0),
    ]
    if endpoint.target.startswith("unix"):
        # Otherwise gRPC sends the percent-encoded path, which servers in Rust refuse.
        options.append(("grpc.default_authority", "localhost"))
    if endpoint.tls and endpoint.tls.server_name:
        options.append(("grpc.ssl_target_name_override", endpoint.tls.server_name))
    return options


def open_channel(endpoint: Endpoint) -> Channel:
    """Make a channel, which connects at the first call.

    Raises `ValueError` if a TLS file cannot be used. Its text names the setting and the file.
    """
    if endpoint.tls is None:
        return grpc.aio.insecure_channel(endpoint.target, options=_options(endpoint))
    return TlsChannel(
        endpoint.name,
        endpoint.tls,
        lambda files: grpc.aio.secure_channel(
            endpoint.target, files.credentials(), options=_options(endpoint)
        ),
    )
