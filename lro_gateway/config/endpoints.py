"""Constructs the endpoint of each backend from its configuration."""

from __future__ import annotations

from lro_gateway.backends.channel import CallMetadata, Endpoint
from lro_gateway.backends.credentials.shown import Credentials
from lro_gateway.backends.tls_files import Tls
from lro_gateway.config.models import BackendConfig, TlsConfig


def endpoint_of(config: BackendConfig, credentials: Credentials | None) -> Endpoint:
    """Return the address of a backend, and the settings of calls to it."""
    return Endpoint(
        config.name,
        config.target,
        tls=_tls(config.tls),
        metadata=call_metadata(config),
        deadline=config.deadline,
        keepalive=config.keepalive,
        keepalive_timeout=config.keepalive_timeout,
        max_concurrent_calls=config.max_concurrent_calls,
        max_queued_calls=config.max_queued_calls,
        max_call_share=config.max_call_share,
        max_message_bytes=config.max_message_bytes,
        max_metadata_bytes=config.max_metadata_bytes,
        baggage=config.baggage,
        credentials=credentials,
    )


def call_metadata(config: BackendConfig) -> CallMetadata:
    """Return the metadata that every call to a backend has."""
    return CallMetadata((key, value.get_secret_value()) for key, value in config.metadata.items())


def _tls(config: TlsConfig | None) -> Tls | None:
    return Tls(config.ca, config.cert, config.key, config.server_name) if config else None
