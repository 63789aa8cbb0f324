"""The table `[limits]`: what HTTP clients may take of one process, and what the process keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field, PlainSerializer, PlainValidator

from lro_gateway.access.policy import Verb
from lro_gateway.config.tables import Table
from lro_gateway.config.values import PositiveDuration, parse_duration
from lro_gateway.service.rates import Rate
from lro_gateway.service.reads import MAX_BYTES

_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/(\S+)")
_LONGEST: Final = timedelta(days=1)

Count = Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)]
"""A number of things or of bytes."""


def _rate(value: object) -> Rate:
    """Parse a rate such as `10/1m`, which is ten calls in a minute."""
    if isinstance(value, Rate):
        return value
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a rate is needed, such as "10/1m" for ten calls in a minute')
    period = parse_duration(found[2])
    if not timedelta(milliseconds=1) <= period <= _LONGEST:
        raise ValueError("the period of a rate must be at least 1ms and at most 24h")
    return Rate(int(found[1]), period, found[0])


CallRate = Annotated[
    Rate, PlainValidator(_rate), PlainSerializer(lambda rate: rate.text, return_type=str)
]


class RatesConfig(Table):
    """The rates at which one caller may call each verb. A verb without a rate has no limit.

    No verb has a rate by default, because only the operator knows what a backend can bear, and
    because all callers without an identity behind one address share a rate.
    """

    get: CallRate | None = None
    list: CallRate | None = None
    cancel: CallRate | None = None
    delete: CallRate | None = None
    start: CallRate | None = None
    call: CallRate | None = None
    approve: CallRate | None = None

    @property
    def by_verb(self) -> Mapping[Verb, Rate]:
        """The verbs that have a rate, and their rates."""
        return {Verb(verb): rate for verb, rate in self if rate is not None}


class LimitsConfig(Table):
    """The limits for HTTP clients. Each process counts on its own.

    An address is that of the client, or the /64 network of an IPv6 address. The limits for each
    address must leave room for many clients, because all clients of a machine share its address.
    """

    max_connections: Count = 10_000
    max_connections_per_address: Count = 5_000
    max_requests: Count = 10_000
    max_requests_per_address: Count = 5_000
    max_requests_per_principal: Count = 2_500
    max_requests_per_connection: Count = 32
    max_streams: Count = 10_000
    max_streams_per_address: Count = 5_000
    max_streams_per_principal: Count = 2_000
    max_watches: Count = 20_000
    max_watches_per_principal: Count = 5_000
    max_subscriptions_per_stream: Count = 100
    max_headers: Count = 200
    max_header_bytes: Annotated[int, Field(ge=1024, le=2**31 - 1, strict=True)] = 64 * 1024
    max_target_bytes: Annotated[int, Field(ge=256, le=2**16 - 1, strict=True)] = 32 * 1024
    header_timeout: PositiveDuration = timedelta(seconds=10)
    body_timeout: PositiveDuration = timedelta(seconds=60)
    send_timeout: PositiveDuration = timedelta(seconds=60)
    idle_timeout: PositiveDuration = timedelta(seconds=5)
    rates: RatesConfig = RatesConfig()
    kept_bytes: Annotated[int, Field(ge=0, strict=True)] = MAX_BYTES
