"""The table `[limits]`: what HTTP clients may take of one process, and what the process keeps."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from lro_gateway.config.tables import Table
from lro_gateway.config.values import PositiveDuration
from lro_gateway.service.reads import MAX_BYTES

Count = Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)]
"""A number of things or of bytes."""


class LimitsConfig(Table):
    """The limits for HTTP clients. Each process counts on its own.

    An address is that of the client, or the /64 network of an IPv6 address. The limits for each
    address must leave room for many clients, because all clients of a machine share its address.
    """

    max_connections: Count = 10_000
    max_connections_per_address: Count = 5_000
    max_requests: Count = 10_000
    max_requests_per_address: Count = 5_000
    max_requests_per_connection: Count = 32
    max_streams: Count = 10_000
    max_streams_per_address: Count = 5_000
    max_subscriptions_per_stream: Count = 100
    max_headers: Count = 200
    max_header_bytes: Annotated[int, Field(ge=1024, le=2**31 - 1, strict=True)] = 64 * 1024
    max_target_bytes: Annotated[int, Field(ge=256, le=2**31 - 1, strict=True)] = 32 * 1024
    header_timeout: PositiveDuration = timedelta(seconds=10)
    body_timeout: PositiveDuration = timedelta(seconds=60)
    send_timeout: PositiveDuration = timedelta(seconds=60)
    idle_timeout: PositiveDuration = timedelta(seconds=5)
    kept_bytes: Annotated[int, Field(ge=0, strict=True)] = MAX_BYTES
