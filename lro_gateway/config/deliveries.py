"""The table `[deliveries]`: events of operations, and the webhooks that get them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, PlainValidator

from lro_gateway.config.limits import CallRate, Count
from lro_gateway.config.tables import Table
from lro_gateway.config.values import ExistingFile, PositiveDuration
from lro_gateway.deliveries.addresses import Address, parse_address
from lro_gateway.deliveries.urls import check_url
from lro_gateway.service.rates import Rate


def _address(value: object) -> Address:
    if not isinstance(value, str):
        raise ValueError("text in quotes is needed")  # noqa: TRY004 - pydantic collects ValueError
    try:
        return parse_address(value)
    except ValueError:
        raise ValueError("one IP address is needed, without a port, a network or a zone") from None


AllowedAddress = Annotated[Address, PlainValidator(_address), PlainSerializer(str, return_type=str)]


def _receiver(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("text in quotes is needed")  # noqa: TRY004 - pydantic collects ValueError
    if problem := check_url(value, None):
        raise ValueError(f"a URL is needed, such as https://hooks.acme.example/mcp/: {problem}")
    if "?" in value:
        raise ValueError("a URL without a query is needed")
    return value


ReceiverUrl = Annotated[str, PlainValidator(_receiver)]


class DeliveriesConfig(Table):
    """Events and webhooks. They need a store."""

    allowed_addresses: tuple[AllowedAddress, ...] = ()
    allow_http: bool = Field(default=False, strict=True)
    allow_anonymous: bool = Field(default=False, strict=True)
    proxy: str = ""
    ca: ExistingFile | None = None
    verified_receivers: tuple[ReceiverUrl, ...] = ()
    receiver_documents: bool = Field(default=True, strict=True)
    challenge_rate: CallRate = Rate(120, timedelta(minutes=1), "120/1m")
    progress_interval: PositiveDuration = timedelta(seconds=10)
    max_webhooks_per_principal: Count = 1000
    error_codes: Literal["draft", "sketch"] = "draft"
    webhook_id: Literal["event", "message"] = "event"
