"""The table `[deliveries]`: events of operations, and the webhooks that get them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, PlainValidator

from lro_gateway.config.limits import Count
from lro_gateway.config.tables import Table
from lro_gateway.config.values import ExistingFile, PositiveDuration
from lro_gateway.deliveries.addresses import Address, parse_address


def _address(value: object) -> Address:
    if not isinstance(value, str):
        raise ValueError("text in quotes is needed")  # noqa: TRY004 - pydantic collects ValueError
    try:
        return parse_address(value)
    except ValueError:
        raise ValueError("one IP address is needed, without a port, a network or a zone") from None


AllowedAddress = Annotated[Address, PlainValidator(_address), PlainSerializer(str, return_type=str)]


class DeliveriesConfig(Table):
    """Events and webhooks. They need a store."""

    allowed_addresses: tuple[AllowedAddress, ...] = ()
    allow_http: bool = Field(default=False, strict=True)
    allow_anonymous: bool = Field(default=False, strict=True)
    proxy: str = ""
    ca: ExistingFile | None = None
    progress_interval: PositiveDuration = timedelta(seconds=10)
    max_webhooks_per_principal: Count = 1000
    error_codes: Literal["draft", "sketch"] = "draft"
    webhook_id: Literal["event", "message"] = "event"
